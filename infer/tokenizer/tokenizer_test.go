package tokenizer_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

const (
	normal      int32 = 1
	unknown     int32 = 2
	control     int32 = 3
	userDefined int32 = 4
	unused      int32 = 5
	byteToken   int32 = 6
)

// vocabulary is tokens with their scores and types, and what the metadata says
// about them.
type vocabulary struct {
	Tokens   []string
	Scores   []float32
	Types    []int32
	Metadata map[string]any
}

func (v *vocabulary) add(token string, score float32, typ int32) {
	v.Tokens = append(v.Tokens, token)
	v.Scores = append(v.Scores, score)
	v.Types = append(v.Types, typ)
}

// withSpecial returns a vocabulary of <unk>, <s> and </s>, and byte tokens if asked for.
func withSpecial(bytes bool) vocabulary {
	var v vocabulary
	v.add("<unk>", 0, unknown)
	v.add("<s>", 0, control)
	v.add("</s>", 0, control)
	for b := range 256 {
		if bytes {
			v.add(fmt.Sprintf("<0x%02X>", b), 0, byteToken)
		}
	}
	return v
}

func (v *vocabulary) metadata() *gguf.Metadata {
	m := gguf.NewMetadata(
		gguf.KV{Key: "tokenizer.ggml.model", Value: "llama"},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: v.Tokens},
		gguf.KV{Key: "tokenizer.ggml.scores", Value: v.Scores},
		gguf.KV{Key: "tokenizer.ggml.token_type", Value: v.Types},
	)
	for key, value := range v.Metadata {
		if id, ok := value.(float64); ok { // a number in JSON
			value = uint32(id)
		}
		m.Set("tokenizer.ggml."+key, value)
	}
	return m
}

func (v *vocabulary) tokenizer(t require.TestingT) *tokenizer.Tokenizer {
	tok, err := tokenizer.New(v.metadata())
	require.NoError(t, err)
	return tok
}

// golden is a text and the ids that other programs give it.
type golden struct {
	Text   string
	Hex    string // instead of Text, if it is not UTF-8
	IDs    []int32
	Parsed []int32 // with ParseSpecial, if that differs
}

func (g golden) bytes(t *testing.T) string {
	if g.Hex == "" {
		return g.Text
	}
	b, err := hex.DecodeString(g.Hex)
	require.NoError(t, err)
	return string(b)
}

func readJSON[T any](t *testing.T, path string) T {
	var v T
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &v))
	return v
}

func checkGolden(t *testing.T, tok *tokenizer.Tokenizer, text string, ids, parsed []int32) {
	t.Helper()
	if parsed == nil {
		parsed = ids
	}
	require.Equal(t, ids, tok.Encode(text, tokenizer.Options{AddSpecial: true}), "%q", text)
	require.Equal(t, parsed, tok.Encode(text, tokenizer.Options{AddSpecial: true, ParseSpecial: true}), "%q, special tokens parsed", text)
	if utf8.ValidString(text) && !strings.Contains(text, "▁") {
		require.Equal(t, text, tok.Decode(ids))
	}
}

// Ids of awkward strings, from llama.cpp.
func TestAwkwardStrings(t *testing.T) {
	tok, err := tokenizer.New(beyonderMini(t))
	require.NoError(t, err)
	file := readJSON[struct{ Cases []golden }](t, "testdata/beyonder-mini.json")
	require.NotEmpty(t, file.Cases)
	for _, g := range file.Cases {
		checkGolden(t, tok, g.bytes(t), g.IDs, g.Parsed)
	}
}

// Ids of running text, from llama.cpp and SentencePiece.
func TestTexts(t *testing.T) {
	tok, err := tokenizer.New(beyonderMini(t))
	require.NoError(t, err)
	file := readJSON[struct{ Cases []golden }](t, "testdata/texts.json")
	require.Len(t, file.Cases, 5)
	for _, g := range file.Cases {
		t.Run(g.Text, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("../../testdata/texts", g.Text+".txt"))
			require.NoError(t, err)
			checkGolden(t, tok, string(text), g.IDs, g.Parsed)
		})
	}
}

// Small vocabularies with what the real one has not: user-defined tokens that
// contain one another, spaces and newlines, unused tokens, pieces across words,
// no space prefix, EOS, no byte tokens.
func TestVocabularies(t *testing.T) {
	type encoded struct {
		Text                   string
		Plain, Parsed, Special []int32
	}
	file := readJSON[struct {
		Vocabularies []struct {
			vocabulary
			Name  string
			Cases []encoded
		}
	}](t, "testdata/vocabularies.json")
	require.Len(t, file.Vocabularies, 4)
	for _, v := range file.Vocabularies {
		t.Run(v.Name, func(t *testing.T) {
			require.NotEmpty(t, v.Cases)
			vocab := v.vocabulary
			if v.Name != "no_bytes" {
				vocab = withSpecial(true)
				for i, token := range v.Tokens {
					vocab.add(token, v.Scores[i], v.Types[i])
				}
				vocab.Metadata = v.Metadata
			}
			tok := vocab.tokenizer(t)
			for _, c := range v.Cases {
				require.Equal(t, c.Plain, encode(tok, c.Text, tokenizer.Options{}), "%q", c.Text)
				require.Equal(t, c.Special, encode(tok, c.Text, tokenizer.Options{AddSpecial: true}), "%q, special added", c.Text)
				if v.Name != "no_bytes" {
					require.Equal(t, c.Parsed, encode(tok, c.Text, tokenizer.Options{ParseSpecial: true}), "%q, special parsed", c.Text)
					require.Equal(t, c.Text, tok.Decode(c.Plain))
				}
			}
		})
	}
}

// encode returns an empty list, as JSON has it, where Encode returns nil.
func encode(tok *tokenizer.Tokenizer, text string, opts tokenizer.Options) []int32 {
	return append([]int32{}, tok.Encode(text, opts)...)
}

func TestDecode(t *testing.T) {
	v := withSpecial(true)
	v.add("▁a", 0, normal)
	v.add("▁▁", 0, normal)
	v.add("<u>", 0, userDefined)
	v.add("▁spare", 0, unused)
	tok := v.tokenizer(t)
	const a, spaces, user, spare, newline = 259, 260, 261, 262, 3 + '\n'

	tests := map[string]struct {
		ids  []int32
		want string
	}{
		"nothing":                         {nil, ""},
		"space prefix removed":            {[]int32{a, a}, "a a"},
		"one space of two removed":        {[]int32{spaces, a}, "  a"},
		"also after BOS":                  {[]int32{1, a}, "a"},
		"also after a user-defined token": {[]int32{a, user, a}, "a<u>a"},
		"not after a byte":                {[]int32{newline, a}, "\n a"},
		"not after an unknown character":  {[]int32{0, a}, " a"},
		"control and unknown omitted":     {[]int32{1, 0, 2}, ""},
		"unused token":                    {[]int32{a, spare}, "a spare"},
		"bytes":                           {[]int32{3 + 0xC3, 3 + 0xA9}, "é"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, test.want, tok.Decode(test.ids))
		})
	}
}

func TestPieces(t *testing.T) {
	v := withSpecial(true)
	v.add("▁a▁", 0, normal)
	v.add("<u>▁", 0, userDefined)
	v.Metadata = map[string]any{"bos_token_id": uint32(2), "eos_token_id": int64(1), "add_bos_token": false, "add_eos_token": true}
	tok := v.tokenizer(t)
	require.Equal(t, 261, tok.VocabSize())
	require.Equal(t, int32(2), tok.BOS())
	require.Equal(t, int32(1), tok.EOS())
	require.False(t, tok.AddsBOS())
	require.True(t, tok.AddsEOS())
	for id, want := range map[int32][2]string{
		0:        {"<unk>", ""},
		1:        {"<s>", ""},
		3 + 0x0A: {"<0x0A>", "\n"},
		259:      {"▁a▁", " a "},
		260:      {"<u>▁", "<u>▁"},
	} {
		require.Equal(t, want[0], tok.Piece(id))
		require.Equal(t, ">"+want[1], string(tok.AppendBytes([]byte(">"), id)))
	}
}

func TestDefaults(t *testing.T) {
	v := withSpecial(true)
	tok := v.tokenizer(t)
	require.Equal(t, int32(1), tok.BOS())
	require.Equal(t, int32(2), tok.EOS())
	require.True(t, tok.AddsBOS())
	require.False(t, tok.AddsEOS())

	// As in llama.cpp, the default stands in for an id that no token has.
	v.Metadata = map[string]any{"bos_token_id": 259.0, "unknown_token_id": 1e9}
	require.Equal(t, int32(1), v.tokenizer(t).BOS())

	// Default ids that are not in the vocabulary are no ids.
	v = vocabulary{Metadata: map[string]any{"add_bos_token": false}}
	v.add("<unk>", 0, unknown)
	tok = v.tokenizer(t)
	require.Equal(t, int32(-1), tok.BOS())
	require.Equal(t, int32(-1), tok.EOS())
	require.Equal(t, []int32{0}, tok.Encode("anything", tokenizer.Options{AddSpecial: true}))
}

func TestRefused(t *testing.T) {
	set := func(key string, value any) func(*gguf.Metadata) {
		return func(m *gguf.Metadata) { m.Set("tokenizer.ggml."+key, value) }
	}
	remove := func(key string) func(*gguf.Metadata) {
		return func(m *gguf.Metadata) { m.Delete("tokenizer.ggml." + key) }
	}
	tests := map[string]struct {
		change func(*gguf.Metadata)
		is     error
		want   string
	}{
		"no model":              {remove("model"), gguf.ErrNoKey, "tokenizer.ggml.model"},
		"rwkv":                  {set("model", "rwkv"), gguf.ErrUnsupported, `"rwkv"`},
		"model not a string":    {set("model", uint32(1)), gguf.ErrCorrupt, "UINT32"},
		"normalizer":            {set("precompiled_charsmap", []uint8{1}), gguf.ErrUnsupported, "precompiled_charsmap"},
		"whitespace removed":    {set("remove_extra_whitespaces", true), gguf.ErrUnsupported, "remove_extra_whitespaces"},
		"no tokens key":         {remove("tokens"), gguf.ErrNoKey, "tokenizer.ggml.tokens"},
		"no scores key":         {remove("scores"), gguf.ErrNoKey, "tokenizer.ggml.scores"},
		"no types key":          {remove("token_type"), gguf.ErrNoKey, "tokenizer.ggml.token_type"},
		"tokens not strings":    {set("tokens", []int32{1, 2, 3}), gguf.ErrCorrupt, "[INT32]"},
		"scores not floats":     {set("scores", []string{"a", "b", "c", "d"}), gguf.ErrCorrupt, "[STRING]"},
		"empty vocabulary":      {set("tokens", []string{}), gguf.ErrCorrupt, "0 tokens"},
		"too few scores":        {set("scores", []float32{0}), gguf.ErrCorrupt, "tokenizer.ggml.scores has 1 scores for the 4 tokens"},
		"too many types":        {set("token_type", []int32{2, 3, 3, 1, 1}), gguf.ErrCorrupt, "tokenizer.ggml.token_type has 5 types for the 4 tokens"},
		"NaN score":             {set("scores", []float32{0, 0, float32(math.NaN()), 0}), gguf.ErrCorrupt, `token 2 "</s>" has score NaN`},
		"type 0":                {set("token_type", []int32{2, 3, 3, 0}), gguf.ErrCorrupt, "unknown type 0"},
		"type 7":                {set("token_type", []int32{2, 3, 3, 7}), gguf.ErrCorrupt, "unknown type 7"},
		"type -1":               {set("token_type", []int32{2, 3, 3, -1}), gguf.ErrCorrupt, "unknown type -1"},
		"duplicate pieces":      {set("tokens", []string{"<unk>", "<s>", "a", "a"}), gguf.ErrCorrupt, `tokenizer.ggml.tokens: 2 and 3 are both "a"`},
		"duplicate of control":  {set("tokens", []string{"<unk>", "<s>", "</s>", "<s>"}), gguf.ErrCorrupt, `tokenizer.ggml.tokens: 1 and 3 are both "<s>"`},
		"byte token not a byte": {set("token_type", []int32{2, 3, 3, 6}), gguf.ErrCorrupt, `token 3: byte token "a"`},
		"EOS negative":          {set("eos_token_id", int32(-1)), gguf.ErrCorrupt, "negative"},
		"BOS not a number":      {set("bos_token_id", "1"), gguf.ErrCorrupt, "STRING"},
		"add BOS not a bool":    {set("add_bos_token", uint8(1)), gguf.ErrCorrupt, "UINT8"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v := withSpecial(false)
			v.add("a", 0, normal)
			m := v.metadata()
			_, err := tokenizer.New(m)
			require.NoError(t, err)
			test.change(m)
			_, err = tokenizer.New(m)
			require.ErrorIs(t, err, test.is)
			require.ErrorContains(t, err, test.want)
		})
	}

	for name, v := range map[string]vocabulary{
		"add_bos_token without": {Tokens: []string{"a"}, Scores: []float32{0}, Types: []int32{1}},
		"add_eos_token without": {Tokens: []string{"a"}, Scores: []float32{0}, Types: []int32{1}, Metadata: map[string]any{"add_bos_token": false, "add_eos_token": true}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tokenizer.New(v.metadata())
			require.ErrorIs(t, err, gguf.ErrCorrupt)
			require.ErrorContains(t, err, name)
		})
	}
}

// A word of a million characters is the worst case of merging.
func TestLongWord(t *testing.T) {
	tok, err := tokenizer.New(beyonderMini(t))
	require.NoError(t, err)
	for _, word := range []string{"a", " ", "\n", "ab", "é"} {
		text := strings.Repeat(word, 1<<20/len(word))
		require.Equal(t, text, tok.Decode(tok.Encode(text, tokenizer.Options{})), "%q", word)
	}
}

// Special tokens that overlap everywhere do not take quadratic time, in which this test would not end.
func TestLongRunsOfSpecialTokens(t *testing.T) {
	v := withSpecial(true)
	for n := 1; n <= 512; n *= 2 {
		v.add(strings.Repeat("=", n), 0, userDefined)
		v.add(strings.Repeat("=", n)+">", 0, control)
	}
	tok := v.tokenizer(t)
	for _, unit := range []string{"=", "=>", "x="} {
		text := strings.Repeat(unit, 1<<20/len(unit))
		ids := tok.Encode(text, tokenizer.Options{ParseSpecial: true})
		require.NotEmpty(t, ids, unit)
		if unit == "=" {
			require.Len(t, ids, 1<<11)
		}
	}
}

// fastPieces is a vocabulary of SentencePiece as it stands in tokenizer.json, and what Hugging Face's
// tokenizers make of texts with it.
type fastPieces struct {
	Tokens []string // after <unk>, <s>, </s> and the bytes
	Merges []string
	Texts  []string
	IDs    map[string][][]int32
}

// json returns tokenizer.json with a normalizer and a pre-tokenizer.
func (f fastPieces) json(normalizer, preTokenizer any, added ...any) map[string]any {
	vocab := map[string]int{"<unk>": 0, "<s>": 1, "</s>": 2}
	for b := range 256 {
		vocab[fmt.Sprintf("<0x%02X>", b)] = 3 + b
	}
	for i, token := range f.Tokens {
		vocab[token] = 259 + i
	}
	for id, text := range []string{"<unk>", "<s>", "</s>"} {
		added = append(added, map[string]any{"id": id, "content": text, "special": true})
	}
	return map[string]any{
		"added_tokens": added, "normalizer": normalizer, "pre_tokenizer": preTokenizer,
		"model": map[string]any{"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "fuse_unk": true, "vocab": vocab, "merges": f.Merges},
	}
}

// A SentencePiece vocabulary that is only in tokenizer.json gives the ids of tokenizers.
func TestFastPieces(t *testing.T) {
	golden := readJSON[fastPieces](t, "testdata/fastpieces.json")
	type object = map[string]any
	size := 259 + len(golden.Tokens)
	replace := object{"type": "Replace", "pattern": object{"String": " "}, "content": "▁"}
	legacy := object{"type": "Sequence", "normalizers": []object{{"type": "Prepend", "prepend": "▁"}, replace}}
	for name, file := range map[string]object{
		"legacy":     golden.json(legacy, nil),
		"meta-never": golden.json(nil, object{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": false}),
		"added": golden.json(legacy, object{"type": "Sequence", "pretokenizers": []any{}},
			object{"id": size, "content": "<|im_start|>", "special": true}, object{"id": size + 1, "content": "<tool>"},
			object{"id": size + 2, "content": "user"}),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			data, err := json.Marshal(file)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), data, 0o644))
			v, err := vocab.Load(dir, vocab.Options{Size: int64(size) + 3, Rules: vocab.Rules{Llama: true}})
			require.NoError(t, err)
			tok, err := tokenizer.New(gguf.NewMetadata(v.Metadata...))
			require.NoError(t, err)
			require.Len(t, golden.Texts, len(golden.IDs[name]))
			for i, text := range golden.Texts {
				require.Equal(t, golden.IDs[name][i], encode(tok, text, tokenizer.Options{ParseSpecial: true}), "%q", text)
			}
		})
	}
}

// FuzzNew reads metadata that hostile files could have.
func FuzzNew(f *testing.F) {
	f.Add("llama", "", "<unk>\n<s>\n</s>\na\n▁a", "\x02\x03\x03\x01\x04", []byte("\x00\x00\x00\x01\x02"), "", uint32(1), true)
	f.Add("gpt2", "llama-bpe", strings.Join(byteTokens(), "\n")+"\nab\n<x>\n", strings.Repeat("\x01", 257)+"\x03", []byte(nil), "a b\na  b", uint32(999), false)
	f.Add("gpt2", "gpt-2", "a\na", "\x01\x06", []byte(nil), "a", uint32(0), true)
	f.Add("llama", "", "<0x0A>\n<0xZZ>\n", "\x06\x06\x07", []byte("\xff\x00\x00"), "", uint32(1<<31), true)
	f.Add("llama", "", strings.Repeat("=", 2000)+"\n=\n==", "\x04\x04\x03", []byte("\x01\x02\x03"), "", uint32(0), false)
	f.Add("bert", "", "[UNK]\n[CLS]\n[SEP]\n▁a\nb\n▁<t>", "\x02\x03\x03\x01\x01\x04", []byte(nil), "", uint32(0), true)
	f.Add("t5", "", "<pad>\n</s>\n<unk>\n▁a\nb\n▁\n<0x0A>", "\x03\x03\x02\x01\x04\x01\x06", []byte("\x00\x00\x00\xff\xfe\xfd\x00"), "", uint32(2), false)
	f.Add("gemma4", "", "<bos>\n▁\na\n▁a\n<0x41>\n<unk>", "\x03\x01\x01\x01\x06\x02", []byte("\x01\x01\x01\x01\x01\x01"), "▁ a", uint32(0), true)
	f.Add("gpt2", "sarvam-moe", "a\nab\nb\n▁▁", "\x01\x01\x01\x04", []byte(nil), "a b", uint32(0), false)
	f.Fuzz(func(t *testing.T, model, pre, pieces, types string, scores []byte, merges string, special uint32, flag bool) {
		v := vocabulary{Tokens: strings.Split(pieces, "\n")}
		meta := gguf.NewMetadata(gguf.KV{Key: "tokenizer.ggml.model", Value: model}, gguf.KV{Key: "tokenizer.ggml.pre", Value: pre},
			gguf.KV{Key: "tokenizer.ggml.tokens", Value: v.Tokens})
		for _, b := range []byte(types) {
			v.Types = append(v.Types, int32(int8(b)))
		}
		for _, b := range scores {
			v.Scores = append(v.Scores, float32(int8(b)))
		}
		if len(scores) > 0 {
			meta.Set("tokenizer.ggml.scores", v.Scores)
		}
		if len(types) > 0 {
			meta.Set("tokenizer.ggml.token_type", v.Types)
		}
		if merges != "" {
			meta.Set("tokenizer.ggml.merges", strings.Split(merges, "\n"))
		}
		for _, key := range []string{"bos_token_id", "eos_token_id", "unknown_token_id"} {
			meta.Set("tokenizer.ggml."+key, special)
		}
		meta.Set("tokenizer.ggml.add_eos_token", flag)
		meta.Set("tokenizer.ggml.normalizer.nfc", flag)
		tok, err := tokenizer.New(meta)
		if err != nil {
			require.True(t, errors.Is(err, gguf.ErrCorrupt) || errors.Is(err, gguf.ErrUnsupported) || errors.Is(err, gguf.ErrNoKey), err)
			require.Contains(t, err.Error(), "tokenizer.ggml.")
			require.Less(t, len(err.Error()), 1000)
			return
		}
		for _, id := range tok.Encode(pieces, tokenizer.Options{AddSpecial: true, ParseSpecial: flag}) {
			tok.AppendBytes(nil, id)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	tok, err := tokenizer.New(beyonderMini(b))
	require.NoError(b, err)
	var text []byte
	files, err := filepath.Glob("../../testdata/texts/*.txt")
	require.NoError(b, err)
	for _, file := range files {
		part, err := os.ReadFile(file)
		require.NoError(b, err)
		text = append(text, part...)
	}
	for name, text := range map[string]string{"text": string(text), "word": strings.Repeat("a", 1<<20)} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				tok.Encode(text, tokenizer.Options{AddSpecial: true})
			}
		})
	}
}

func FuzzEncode(f *testing.F) {
	tok, err := tokenizer.New(beyonderMini(f))
	require.NoError(f, err)
	for _, text := range []string{"", " a  b\n", "日本語\x00", "<s>x</s><|end_of_turn|>", "\xc3 \xe2\x96", strings.Repeat(" ", 40)} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, parse bool) {
		ids := tok.Encode(text, tokenizer.Options{ParseSpecial: parse})
		for _, id := range ids {
			require.Less(t, int(id), tok.VocabSize())
		}
		if parse {
			return
		}
		for _, special := range []string{"<unk>", "<s>", "</s>", "<|end_of_turn|>", "<|pad_0|>"} {
			require.False(t, slices.ContainsFunc(ids, func(id int32) bool { return tok.Piece(id) == special }))
		}
		if utf8.ValidString(text) && !strings.Contains(text, "▁") {
			require.Equal(t, text, tok.Decode(ids))
		}
	})
}
