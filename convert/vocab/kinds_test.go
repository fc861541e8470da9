package vocab_test

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/vocab"
)

// kindCase is a tokenizer's files, of a kind that is not byte-level BPE, and what convert_hf_to_gguf.py makes of
// them. See testdata/kinds.py.
type kindCase struct {
	Size  int64
	Files map[string]any
	Want  [][3]any // key, type, value
}

func kindCases(t *testing.T) (cases map[string]kindCase) {
	f, err := os.Open("testdata/kinds.json.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	require.NoError(t, json.NewDecoder(z).Decode(&cases))
	return cases
}

func (c kindCase) write(t *testing.T) (dir string) {
	dir = t.TempDir()
	for name, content := range c.Files {
		path := filepath.Join(dir, name)
		text, ok := content.(string)
		if !ok {
			testmodel.WriteJSON(t, path, content)
			continue
		}
		data := []byte(text)
		if strings.HasSuffix(name, ".model") {
			var err error
			data, err = base64.StdEncoding.DecodeString(text)
			require.NoError(t, err)
		}
		require.NoError(t, os.WriteFile(path, data, 0o644))
	}
	return dir
}

// options are what the class of a case says of its vocabulary.
func (c kindCase) options(name string) vocab.Options {
	opts := vocab.Options{Size: c.Size}
	config := c.Files["config.json"].(map[string]any)
	if n, ok := config["type_vocab_size"].(float64); ok {
		opts.Rules.TokenTypes = uint32(n)
	}
	switch {
	case strings.HasPrefix(name, "gemma4"):
		opts.Rules.Gemma4 = true
	case name == "mmbert":
		opts.Rules.Added = []vocab.RoleFlag{{Role: "bos", Add: true}, {Role: "eos", Add: true}, {Role: "sep", Add: true}}
		opts.Pre = name
	case name == "sarvam-moe":
		opts.Pre = name
	}
	return opts
}

// TestKinds compares with convert_hf_to_gguf.py.
func TestKinds(t *testing.T) {
	for name, c := range kindCases(t) {
		t.Run(name, func(t *testing.T) {
			v, err := vocab.Load(c.write(t), c.options(name))
			require.NoError(t, err)
			got := [][3]any{}
			for _, kv := range v.Metadata {
				typ, value := plain(kv.Value)
				got = append(got, [3]any{kv.Key, typ, value})
			}
			if last := len(got) - 1; noUnknown[name] { // which llama.cpp would look for where it is not
				require.Equal(t, "tokenizer.ggml.unknown_token_id", got[last][0])
				got = got[:last]
			}
			require.Equal(t, c.Want, got)
		})
	}
}

// noUnknown are cases whose files name no token for what is unknown.
var noUnknown = map[string]bool{"bert-no-config": true, "bert-text": true, "t5": true, "t5-bytes": true, "fairseq": true}

// plain returns a value as JSON has it, and its type, or that of its elements.
func plain(v any) (typ string, value any) {
	list := func(n int, at func(int) any) (l []any) {
		for i := range n {
			l = append(l, at(i))
		}
		return l
	}
	switch v := v.(type) {
	case bool:
		return "BOOL", v
	case uint32:
		return "UINT32", float64(v)
	case []uint8:
		return "UINT8", base64.StdEncoding.EncodeToString(v)
	case []int32:
		return "INT32", list(len(v), func(i int) any { return float64(v[i]) })
	case []float32:
		return "FLOAT32", list(len(v), func(i int) any { return float64(v[i]) })
	case []string:
		return "STRING", list(len(v), func(i int) any { return v[i] })
	}
	return "STRING", v
}
