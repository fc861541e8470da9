package vocab_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/gguf"
)

// peerCase is a tokenizer's files and what convert_hf_to_gguf.py makes of them. See
// testdata/README.md.
type peerCase struct {
	Size         int64
	Architecture string
	Files        map[string]any
	Want         [][2]any
}

// bytesModel is the model of byte-level cases: 256 bytes and what four merges make.
func bytesModel() object {
	tokens := object{}
	for b, r := range pretoken.ByteRunes {
		tokens[string(r)] = b
	}
	merges := []string{"Ġ t", "h e", "Ġt he", "i n"}
	for _, m := range merges {
		tokens[strings.ReplaceAll(m, " ", "")] = len(tokens)
	}
	return object{"type": "BPE", "ignore_merges": true, "vocab": tokens, "merges": merges}
}

func llama3PreTokenizer(expression string) object {
	return object{"type": "Sequence", "pretokenizers": []object{
		{"type": "Split", "pattern": object{"Regex": expression}, "behavior": "Isolated", "invert": false},
		{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
	}}
}

func (c peerCase) write(t *testing.T, dir, kind string) {
	sentencePiece, err := os.ReadFile("testdata/tokenizer.model")
	require.NoError(t, err)
	llama3, _ := pretoken.Find("llama-bpe")
	for name, content := range c.Files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if text, ok := content.(string); ok {
			if name == "tokenizer.model" {
				text = string(sentencePiece)
			}
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
			continue
		}
		if fast, ok := content.(object); ok && name == "tokenizer.json" {
			if fast["model"] == "bytes" {
				fast["model"], fast["decoder"] = bytesModel(), object{"type": "ByteLevel"}
				fast["pre_tokenizer"] = llama3PreTokenizer(llama3.Expressions[0])
			}
			if fast["added_tokens"] == nil && (kind == "p" || kind == "n") {
				added := []object{}
				for id, text := range []string{"<unk>", "<s>", "</s>", "<3>", "<4>"} {
					added = append(added, object{"id": id, "content": text, "special": true})
				}
				fast["added_tokens"] = added
			}
		}
		testmodel.WriteJSON(t, path, content)
	}
}

func peerCases(t *testing.T) (cases map[string]peerCase) {
	data, err := os.ReadFile("testdata/peer.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &cases))
	require.Len(t, cases, 227)
	return cases
}

// TestPeer compares with convert_hf_to_gguf.py.
func TestPeer(t *testing.T) {
	for name, c := range peerCases(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			kind := name[:1]
			c.write(t, dir, kind)
			v, err := vocab.Load(dir, vocab.Options{Size: c.Size, Rules: vocab.Rules{Llama: c.Architecture == "llama"}})
			require.NoError(t, err)
			skipped := []string{"model", "pre", "merges"}
			if strings.Contains("pnct", kind) {
				skipped = append(skipped, "tokens", "scores", "token_type")
			}
			got := [][2]any{}
			for _, kv := range v.Metadata {
				key := strings.TrimPrefix(strings.TrimPrefix(kv.Key, "tokenizer."), "ggml.")
				if !slices.Contains(skipped, key) {
					got = append(got, [2]any{key, kv.Value})
				}
			}
			require.Len(t, got, len(c.Want))
			for i, want := range c.Want {
				require.Equal(t, want[0], got[i][0])
				require.Equal(t, want[1], described(got[i][1], want[1]), want[0])
			}
		})
	}
}

// described returns a value in the form that the golden one has.
func described(got, want any) any {
	v := reflect.ValueOf(got)
	if v.Kind() != reflect.Slice {
		if n, ok := got.(uint32); ok {
			return float64(n)
		}
		return got
	}
	items := make([]any, v.Len())
	for i := range items {
		switch item := v.Index(i); item.Kind() {
		case reflect.String:
			items[i] = item.String()
		case reflect.Float32:
			items[i] = item.Float()
		default:
			items[i] = float64(item.Int())
		}
	}
	golden, ok := want.(object)
	if !ok {
		return items
	}
	short := object{"n": float64(len(items))}
	if tail, ok := golden["tail"].([]any); ok {
		short["tail"] = items[max(0, len(items)-len(tail)):]
		return short
	}
	hash := sha256.New()
	for _, item := range items {
		fmt.Fprintf(hash, "%v\x00", item)
	}
	short["sha256"] = hex.EncodeToString(hash.Sum(nil))[:16]
	return short
}

// What convert_hf_to_gguf.py cannot read, though other tools write it.
func TestSpecialTokensAsObjects(t *testing.T) {
	added := object{"content": "<w>", "lstrip": false, "normalized": false, "rstrip": false, "single_word": false}
	for name, files := range map[string]map[string]any{
		"additional_special_tokens": {"tokenizer_config.json": object{"additional_special_tokens": []object{added}}},
		"special_tokens_map.json":   {"special_tokens_map.json": object{"additional_special_tokens": []object{added}}},
		"pad_token":                 {"tokenizer_config.json": object{"pad_token": added}},
	} {
		t.Run(name, func(t *testing.T) {
			files["tokenizer.json"] = gpt2JSON()
			m, err := loadByteLevel(t, 8, files)
			require.NoError(t, err)
			require.Equal(t, "<w>", value[[]string](t, m, "tokenizer.ggml.tokens")[6])
			require.Equal(t, int32(gguf.TokenControl), value[[]int32](t, m, "tokenizer.ggml.token_type")[6])
		})
	}
}

// A token that only the class of the tokenizer has is left out where there is no room for it.
func TestTokenOfClass(t *testing.T) {
	files := map[string]any{"tokenizer.json": gpt2JSON(), "config.json": object{"model_type": "qwen2"}}
	m, err := loadByteLevel(t, 6, files)
	require.NoError(t, err)
	require.NotContains(t, value[[]string](t, m, "tokenizer.ggml.tokens"), "<|endoftext|>")
	m, err = loadByteLevel(t, 7, files)
	require.NoError(t, err)
	require.Equal(t, "<|endoftext|>", value[[]string](t, m, "tokenizer.ggml.tokens")[6])
}

// A token that is no text as bytes stays as it is written.
func TestAddedTokensInLatin1(t *testing.T) {
	file := gpt2JSON(object{"id": 6, "content": "<naïve>"}, object{"id": 7, "content": "<Ġé>"})
	file["decoder"] = object{"type": "Sequence", "decoders": []object{{"type": "ByteLevel"}}}
	m, err := loadByteLevel(t, 8, map[string]any{"tokenizer.json": file})
	require.NoError(t, err)
	require.Equal(t, []string{"<naïve>", "<Ġé>"}, value[[]string](t, m, "tokenizer.ggml.tokens")[6:])
}

// TestPre: what is not recognized gets the name of what cuts most alike, or that of --pre.
func TestPre(t *testing.T) {
	file := gpt2JSON()
	file["pre_tokenizer"] = llama3PreTokenizer("x+")
	dir := t.TempDir()
	testmodel.WriteJSON(t, filepath.Join(dir, "tokenizer.json"), file)
	v, err := vocab.Load(dir, vocab.Options{Size: 6})
	require.NoError(t, err)
	require.Len(t, v.Warnings, 1)
	require.Contains(t, v.Warnings[0], "no pre-tokenizer that is known cuts like this one")
	require.Contains(t, v.Warnings[0], "--pre")
	v, err = vocab.Load(dir, vocab.Options{Size: 6, Pre: "tekken"})
	require.NoError(t, err)
	require.Equal(t, "tekken", value[string](t, gguf.NewMetadata(v.Metadata...), "tokenizer.ggml.pre"))
	_, err = vocab.Load(dir, vocab.Options{Size: 6, Pre: "llama bpe"})
	require.ErrorContains(t, err, `"llama bpe" is not the name of a pre-tokenizer`)
}

// TestNearest has pre-tokenizers that are not known, and what is said of them.
func TestNearest(t *testing.T) {
	split := func(expression, behavior string, inverted bool) object {
		return object{"type": "Split", "pattern": object{"Regex": expression}, "behavior": behavior, "invert": inverted}
	}
	bytes := object{"type": "ByteLevel", "use_regex": false}
	gpt2 := object{"type": "ByteLevel"}
	qwen2, _ := pretoken.Find("qwen2")
	words := qwen2.Expressions[0]
	for name, tt := range map[string]struct {
		steps []object
		want  string
		says  string
	}{
		"digits by two":       {[]object{split(strings.Replace(words, `|\p{N}|`, `|\p{N}{1,2}|`, 1), "Isolated", false), bytes}, "llama-bpe", `"345" where this has "34"`},
		"a look behind":       {[]object{split(`(?<=\p{Ll})(?=\p{Lu})`, "Isolated", false), gpt2}, "gpt-2", `" CamelCaseHTTPServer" where this has " Camel"`},
		"not behind":          {[]object{split(`(?<!\p{L})\p{N}`, "Isolated", false), gpt2}, "starcoder", "alike and is taken"},
		"as few as possible":  {[]object{split(`\p{L}+?`, "Isolated", false), bytes}, "gpt-2", "where this has"},
		"an atomic group":     {[]object{split(`(?>`+words+`)`, "Isolated", false), bytes}, "qwen2", "alike and is taken"},
		"start of a line":     {[]object{split(`^#+`, "Isolated", false), gpt2}, "gpt-2", "alike and is taken"},
		"with what precedes":  {[]object{split(`\n`, "MergedWithPrevious", false), gpt2}, "gpt-2", "where this has"},
		"with what follows":   {[]object{split(`\n`, "MergedWithPrevious", true), gpt2}, "gpt-2", "where this has"},
		"runs":                {[]object{split(`\p{N}`, "Contiguous", false), gpt2}, "gpt-2", "where this has"},
		"spaces are dropped":  {[]object{{"type": "WhitespaceSplit"}, gpt2}, "default", "drops matches"},
		"all but words go":    {[]object{{"type": "Whitespace"}, bytes}, "default", "drops what is between words"},
		"a space before text": {[]object{{"type": "ByteLevel", "add_prefix_space": true}}, "gpt-2", "add_prefix_space"},
	} {
		t.Run(name, func(t *testing.T) {
			file := gpt2JSON()
			file["pre_tokenizer"] = object{"type": "Sequence", "pretokenizers": tt.steps}
			dir := t.TempDir()
			testmodel.WriteJSON(t, filepath.Join(dir, "tokenizer.json"), file)
			v, err := vocab.Load(dir, vocab.Options{Size: 6})
			require.NoError(t, err)
			require.Contains(t, strings.Join(v.Warnings, "\n"), tt.says)
			require.Equal(t, tt.want, value[string](t, gguf.NewMetadata(v.Metadata...), "tokenizer.ggml.pre"))
		})
	}
}

// TestPreTokenizers has pre-tokenizers that cut as Llama 3's or GPT-2's do, and some that do not.
func TestPreTokenizers(t *testing.T) {
	llama3, _ := pretoken.Find("llama-bpe")
	words := llama3.Expressions[0]
	split := func(expression, behavior string, invert bool) object {
		return object{"type": "Split", "pattern": object{"Regex": expression}, "behavior": behavior, "invert": invert}
	}
	bytes := object{"type": "ByteLevel", "use_regex": false}
	sequence := func(parts ...any) object { return object{"type": "Sequence", "pretokenizers": parts} }
	for name, tt := range map[string]struct {
		pre          any
		ignoreMerges any
		want         string // or an error
	}{
		"plain":                    {sequence(split(words, "Isolated", false), bytes), true, "llama-bpe"},
		"no ignore_merges":         {sequence(split(words, "Isolated", false), bytes), nil, "llama-bpe"},
		"ignore_merges false":      {sequence(split(words, "Isolated", false), bytes), false, "llama-bpe"},
		"nested":                   {sequence(sequence(split(words, "Isolated", false)), sequence(), sequence(bytes)), true, "llama-bpe"},
		"null":                     {sequence(nil, split(words, "Isolated", false), bytes), true, "llama-bpe"},
		"inverted":                 {sequence(split(words, "Isolated", true), bytes), true, "llama-bpe"},
		"what does not match goes": {sequence(split(words, "Removed", true), bytes), true, "llama-bpe"},
		"twice":                    {sequence(split(words, "Isolated", false), split(words, "Isolated", false), bytes), true, "llama-bpe"},
		"nothing left to cut":      {sequence(split(words, "Isolated", false), bytes, split(`\s+`, "Isolated", false)), true, "llama-bpe"},
		"GPT-2's":                  {object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false}, false, "gpt-2"},
		"GPT-2's as an expression": {sequence(split(pretoken.GPT2, "Isolated", false), bytes), false, "gpt-2"},
		"GPT-2's, merges ignored":  {object{"type": "ByteLevel", "use_regex": true}, true, "gpt-2"},
		"no bytes":                 {split(words, "Isolated", false), true, "without ByteLevel"},
		"digits after bytes":       {sequence(split(words, "Isolated", false), bytes, object{"type": "Digits"}), true, "falcon"},
		"bytes twice":              {sequence(split(words, "Isolated", false), bytes, bytes), true, "ByteLevel"},
		"a long expression":        {sequence(split(strings.Repeat("x", 1<<20), "Isolated", false), bytes), true, "an expression of"},
	} {
		t.Run(name, func(t *testing.T) {
			file := gpt2JSON()
			file["pre_tokenizer"] = tt.pre
			file["model"].(object)["ignore_merges"] = tt.ignoreMerges
			m, err := loadByteLevel(t, 6, map[string]any{"tokenizer.json": file})
			if strings.Contains("llama-bpe gpt-2 falcon", tt.want) {
				require.NoError(t, err)
				require.Equal(t, tt.want, value[string](t, m, "tokenizer.ggml.pre"))
				return
			}
			require.ErrorIs(t, err, gguf.ErrUnsupported)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "--pre")
			require.Less(t, len(err.Error()), 1000)
		})
	}
}
