package hf

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// FuzzCard: whatever README.md says, it becomes metadata or an error.
func FuzzCard(f *testing.F) {
	for _, card := range []string{
		"---\nlicense: mit\nlicense: apache-2.0\ntags: [a, no, 1]\n---\n# x", "---\nbase_model:\n- a/b-7B\n- https://huggingface.co/c/d\n- name: ''\n  url: 5\n---\n", "---\nname: ''\nversion: 1.10\nauthor: off",
		"---\r\nlanguage:\r\n- no\r\n---\r\n", "---\nx: &x {name: N}\n<<: *x\n---\n", "\ufeff---\nlicense: mit\n---\n", "---\na: b: c\n---\n",
	} {
		f.Add([]byte(card))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kvs, _, err := generalMetadata(Parts{Path: files.Directory("7B").Path, Tokenizer: files.Directory(t.TempDir()), Config: []byte("{}"), Card: data}, "", nil)
		require.NoError(t, err)
		for _, kv := range kvs {
			require.NotEmpty(t, gguf.TypeName(kv.Value), kv.Key)
		}
	})
}

// FuzzBesideTheModel: whatever the files of a checkpoint that are not needed say, they
// become metadata, a warning or an error.
func FuzzBesideTheModel(f *testing.F) {
	for _, text := range []string{
		`{"temperature": NaN, "top_k": 50, "top_p": "x", "sequence": "a;b", "min_length": -Infinity}`, `null`, `[{"type": "x.Pooling", "path": "1"}]`, `[{"type": "x.Pooling", "path": "../.."}]`,
		`{"pooling": "last_token"}`, `{"_name_or_path": "a/b-7B"}`, `{"_name_or_path": ""}`, `{`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		for _, name := range []string{"generation_config.json", "modules.json", "embedding_config.json"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
		}
		kvs, warnings, err := generalMetadata(Parts{Path: files.Directory(dir).Path, Tokenizer: files.Directory(dir), Config: data}, "", nil)
		if err == nil {
			require.NotEmpty(t, kvs)
			for _, warning := range warnings {
				require.Contains(t, warning, dir)
			}
		}
		if _, err := poolingMetadata("qwen3", files.Directory(dir)); err != nil {
			require.ErrorContains(t, err, dir)
		}
	})
}
