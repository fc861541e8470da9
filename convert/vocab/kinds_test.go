package vocab_test

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
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
	case name == "internlm3":
		opts.Rules.SpacePrefixFirst, opts.Rules.ChatEnd = true, "<|im_end|>"
	case name == "hunyuan":
		opts.Rules.IDs, opts.Rules.Pre = []vocab.RoleID{{Role: "bos", ID: 127959}}, map[string]string{"qwen2": name}
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

// TestCamembert: the ids of its pieces are three more than those of XLM-RoBERTa's, but for those in front.
func TestCamembert(t *testing.T) {
	c := kindCases(t)["fairseq"]
	tokens := func(more int64, rules vocab.Rules) []string {
		v, err := vocab.Load(c.write(t), vocab.Options{Size: c.Size + more, Rules: rules})
		require.NoError(t, err)
		return value[[]string](t, gguf.NewMetadata(v.Metadata...), "tokenizer.ggml.tokens")
	}
	want := tokens(0, vocab.Rules{})
	require.Equal(t, []string{"<s>", "<pad>", "</s>", "<unk>"}, want[:4])
	want = append([]string{"<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>"}, want[4:]...)
	require.Equal(t, want, tokens(3, vocab.Rules{Camembert: true}))
}

// What GGUF has no place for, or contradicts itself.
func TestKindsRefused(t *testing.T) {
	change := func(file string, path ...string) func(map[string]any, any) {
		return func(files map[string]any, to any) {
			at := files[file].(map[string]any)
			for _, key := range path[:len(path)-1] {
				at = at[key].(map[string]any)
			}
			at[path[len(path)-1]] = to
		}
	}
	const fast = "tokenizer.json"
	for name, tt := range map[string]struct {
		of     string
		change func(map[string]any, any)
		to     any
		pre    string
		is     error
		want   string
	}{
		"another prefix":      {"bert", change(fast, "model", "continuing_subword_prefix"), "@@", "", gguf.ErrUnsupported, `continuing_subword_prefix "@@"`},
		"longer words":        {"bert", change(fast, "model", "max_input_chars_per_word"), 200, "", gguf.ErrUnsupported, "max_input_chars_per_word 200"},
		"text not cleaned":    {"bert", change(fast, "normalizer", "clean_text"), false, "", gguf.ErrUnsupported, "clean_text false"},
		"Chinese words":       {"bert", change(fast, "normalizer", "handle_chinese_chars"), false, "", gguf.ErrUnsupported, "handle_chinese_chars false"},
		"text as it is":       {"bert", change(fast, "normalizer"), nil, "", gguf.ErrUnsupported, "BertNormalizer"},
		"other words":         {"bert", change(fast, "pre_tokenizer"), object{"type": "Whitespace"}, "", gguf.ErrUnsupported, "BertPreTokenizer"},
		"ids twice":           {"bert", change(fast, "model", "vocab", "a"), 5, "", gguf.ErrCorrupt, "both id 5"},
		"a name of bytes":     {"bert", nil, nil, "llama-bpe", gguf.ErrUnsupported, `WordPiece as "llama-bpe"`},
		"a name of words":     {"gemma4", nil, nil, "bert-bge", gguf.ErrUnsupported, `"bert-bge"`},
		"no bytes":            {"gemma4", change(fast, "model", "byte_fallback"), false, "", gguf.ErrUnsupported, "byte_fallback"},
		"a normalizer":        {"xlmr", change(fast, "normalizer"), object{"type": "NFKC"}, "", gguf.ErrUnsupported, "NFKC"},
		"a pre-tokenizer":     {"xlmr", change(fast, "pre_tokenizer"), object{"type": "Digits"}, "", gguf.ErrUnsupported, "Digits"},
		"a piece of words":    {"xlmr", change(fast, "model", "vocab"), [][]any{{"<unk>", 0}, {"a▁b", -1}}, "", gguf.ErrUnsupported, `"a▁b"`},
		"a piece twice":       {"xlmr", change(fast, "model", "vocab"), [][]any{{"a", 0}, {"a", -1}}, "", gguf.ErrCorrupt, "pieces 0 and 1"},
		"no score":            {"xlmr", change(fast, "model", "vocab"), [][]any{{"a"}}, "", gguf.ErrCorrupt, "piece 0"},
		"unknown beyond":      {"xlmr", change(fast, "model", "unk_id"), 1000, "", gguf.ErrCorrupt, "unk_id 1000"},
		"another pattern":     {"tekken", change("tekken.json", "config", "pattern"), "(?<=x+)y", "", gguf.ErrUnsupported, "(?<=x+)y"},
		"too many":            {"tekken", change("tekken.json", "config", "default_vocab_size"), 300, "", gguf.ErrCorrupt, "300 tokens"},
		"fewer than bytes":    {"tekken", change("tekken.json", "config", "default_vocab_size"), 200, "", gguf.ErrCorrupt, "190 are needed"},
		"no role":             {"tekken", change("tekken.json", "special_tokens"), []object{{"rank": 0, "token_str": "<s>"}}, "", gguf.ErrCorrupt, "role eos"},
		"special out of rank": {"tekken", change("tekken.json", "special_tokens"), []object{{"rank": 1, "token_str": "<s>"}}, "", gguf.ErrCorrupt, "rank 1"},
		"bytes out of rank":   {"tekken", change("tekken.json", "vocab"), slices.Repeat([]object{{"rank": 0, "token_bytes": "AA=="}}, 300), "", gguf.ErrCorrupt, "token 1 has rank 0"},
	} {
		t.Run(name, func(t *testing.T) {
			c := kindCases(t)[tt.of]
			if tt.change != nil {
				tt.change(c.Files, tt.to)
			}
			opts := c.options(tt.of)
			opts.Pre = tt.pre
			_, err := vocab.Load(c.write(t), opts)
			require.ErrorIs(t, err, tt.is)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func FuzzTekken(f *testing.F) {
	f.Add([]byte(`{"config": {"pattern": "\s+", "default_vocab_size": 258, "default_num_special_tokens": 1}, "vocab": [{"rank": 0, "token_bytes": "AA=="}], "special_tokens": [{"rank": 0, "token_str": "<s>"}]}`))
	f.Add([]byte(`{"config": {"default_vocab_size": -1, "default_num_special_tokens": 9223372036854775807}}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tekken.json"), data, 0o644))
		if _, err := vocab.Load(dir, vocab.Options{Size: 300, Pre: "tekken"}); err != nil {
			require.True(t, errors.Is(err, gguf.ErrCorrupt) || errors.Is(err, gguf.ErrUnsupported), err)
			require.ErrorContains(t, err, "tekken.json")
		}
	})
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
