package convert_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/convert/remote/hubtest"
	"github.com/ggufkit/ggufkit/gguf"
)

// open opens a model until the test ends.
func open(t *testing.T, path string, opts convert.Options) convert.Model {
	t.Helper()
	m, err := convert.OpenModel(t.Context(), path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// write writes a model as a file and returns its path and content.
func write(t *testing.T, m gguf.Source) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "m.gguf")
	_, err := gguf.Write(t.Context(), path, m, gguf.WriteOptions{})
	require.NoError(t, err)
	content, err = os.ReadFile(path)
	require.NoError(t, err)
	return path, content
}

// TestOpenModel: a directory and the file that it becomes are the same model.
func TestOpenModel(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mistral-a")
	writeDense(t, dir, "mistral")
	path, content := write(t, open(t, dir, convert.Options{}))
	_, again := write(t, open(t, path, convert.Options{}))
	require.True(t, string(content) == string(again))
}

func TestWhatIsNoModel(t *testing.T) {
	empty := t.TempDir()
	other := filepath.Join(empty, "config.json")
	_, err := convert.OpenModel(t.Context(), empty, convert.Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "a model is a .gguf file")
	require.NoError(t, os.WriteFile(other, []byte(`{"architectures": []}`), 0o644))
	_, err = convert.OpenModel(t.Context(), other, convert.Options{})
	require.ErrorIs(t, err, gguf.ErrNotGGUF)
	require.ErrorContains(t, err, "a model is a .gguf file")
	for _, absent := range []string{"absent", "absent.yaml"} {
		_, err = convert.OpenModel(t.Context(), filepath.Join(empty, absent), convert.Options{})
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	hub := hubtest.New()
	defer hub.Close()
	t.Setenv("HF_ENDPOINT", hub.URL)
	t.Setenv("HF_HOME", empty)
	_, err = convert.OpenModel(t.Context(), "mlabonne/Beyonder-4x7B-v2", convert.Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "there is no mlabonne/Beyonder-4x7B-v2 here, and on the hub")
}

// TestElsewhere: a model of the hub is the same as its directory, of whatever kind it is, and
// read when its rows are.
func TestElsewhere(t *testing.T) {
	hub := hubtest.New()
	defer hub.Close()
	t.Setenv("HF_ENDPOINT", hub.URL)
	t.Setenv("HF_HOME", t.TempDir())
	base := "../testdata/beyonder-mini/base"
	path, want := write(t, open(t, base, convert.Options{}))
	hub.Add("test/base", base)
	hub.Add("test/files", filepath.Dir(path))
	m := open(t, "test/base", convert.Options{})
	require.Less(t, hub.Sent(), int64(400_000), "headers and the tokenizer")
	for _, input := range m.Inputs() {
		require.False(t, input.IsLocal())
	}
	_, got := write(t, m)
	require.Equal(t, want, got)
	_, got = write(t, open(t, "hf://test/files/m.gguf", convert.Options{}))
	require.Equal(t, want, got)
	e, err := convert.OpenExport(t.Context(), "hf://test/base", convert.ExportOptions{})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.True(t, convert.IsElsewhere("test/base"))
	require.False(t, convert.IsElsewhere(base))
	require.Empty(t, convert.Files("hf://test/base"))
}

// TestElsewhereIsNamed: what is wrong with a file of the hub is said of its address.
func TestElsewhereIsNamed(t *testing.T) {
	hub := hubtest.New()
	defer hub.Close()
	t.Setenv("HF_ENDPOINT", hub.URL)
	t.Setenv("HF_HOME", t.TempDir())
	for name, content := range map[string]string{
		"config.json":                  `{"architectures": ["NobodyForCausalLM"]}`,
		"README.md":                    "---\na: [\n---\n",
		"generation_config.json":       "{",
		"tokenizer_config.json":        "{",
		"tokenizer.model":              "x",
		"model.safetensors.index.json": "x",
	} {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS("../testdata/beyonder-mini/base")))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666))
		hub.Add("test/broken", dir)
		m, err := convert.OpenModel(t.Context(), "hf://test/broken", convert.Options{})
		said := fmt.Sprint(err)
		if err == nil {
			said = fmt.Sprint(m.(*hf.Checkpoint).Warnings())
			require.NoError(t, m.Close())
		}
		require.Contains(t, said, "hf://test/broken/"+name)
	}
}

// TestPin: what a model is that lies elsewhere is known without reading its tensors, and the same when the cache has it.
func TestPin(t *testing.T) {
	hub := hubtest.New()
	defer hub.Close()
	t.Setenv("HF_ENDPOINT", hub.URL)
	t.Setenv("HF_HOME", t.TempDir())
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("../testdata/beyonder-mini/base")))
	path, _ := write(t, open(t, dir, convert.Options{}))
	hub.Add("test/base", dir)
	hub.Add("test/other", dir)
	hub.Add("test/files", filepath.Dir(path))
	pin := func(model string) string { return gguf.Pin(open(t, model, convert.Options{})) }
	require.Empty(t, pin(dir))
	require.Empty(t, pin(path))
	recipe := filepath.Join(t.TempDir(), "moe.yaml")
	require.NoError(t, os.WriteFile(recipe, []byte("base_model: test/base\ngate_mode: random\nexperts:\n- source_model: test/base\n- source_model: test/other\n"), 0o666))
	require.Empty(t, pin(recipe), "it depends on more")

	base, file := pin("hf://test/base"), pin("hf://test/files/m.gguf")
	require.NotEmpty(t, base)
	require.NotEmpty(t, file)
	require.NotEqual(t, base, file)
	for _, model := range []string{"hf://test/base", "hf://test/files/m.gguf"} {
		kept, err := convert.OpenModel(t.Context(), model, convert.Options{Remote: remote.New(t.Context(), remote.Options{Keep: true})})
		require.NoError(t, err)
		write(t, kept)
		require.NoError(t, kept.Close())
	}
	sent := hub.Sent()
	require.Equal(t, base, pin("hf://test/base"))
	require.Equal(t, file, pin("hf://test/files/m.gguf"))
	require.Less(t, hub.Sent()-sent, int64(10_000), "it is in the cache")
}
