package tokenizer_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// byteTokens are the characters that byte-level tokens spell bytes with, sorted,
// as trainers put them first.
func byteTokens() []string {
	var tokens []string
	for r := rune('!'); r < 0x100+68; r++ {
		if r <= '~' || r >= '¡' && r != '\u00ad' {
			tokens = append(tokens, string(r))
		}
	}
	return tokens
}

// byteLevel returns the metadata of a vocabulary of bytes, what merges make of
// them, and further tokens of the given types.
func byteLevel(pre string, merges []string, more ...vocabulary) *gguf.Metadata {
	v := vocabulary{}
	for _, token := range byteTokens() {
		v.add(token, 0, normal)
	}
	for _, m := range merges {
		if token := strings.ReplaceAll(m, " ", ""); !slices.Contains(v.Tokens, token) {
			v.add(token, 0, normal)
		}
	}
	for _, m := range more {
		v.Tokens = append(v.Tokens, m.Tokens...)
		v.Types = append(v.Types, m.Types...)
	}
	return gguf.NewMetadata(
		gguf.KV{Key: "tokenizer.ggml.model", Value: "gpt2"},
		gguf.KV{Key: "tokenizer.ggml.pre", Value: pre},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: v.Tokens},
		gguf.KV{Key: "tokenizer.ggml.token_type", Value: v.Types},
		gguf.KV{Key: "tokenizer.ggml.merges", Value: merges},
		gguf.KV{Key: "tokenizer.ggml.add_bos_token", Value: false},
	)
}

// byteLevelGolden is what Hugging Face's tokenizers make of texts.
type byteLevelGolden struct {
	Vocabularies map[string]struct {
		Merges []string
		NFC    bool
	}
	Cases []struct {
		Text string
		IDs  map[string][]int32 // by pre-tokenizer
	}
}

func TestByteLevel(t *testing.T) {
	golden := readJSON[byteLevelGolden](t, "testdata/bytelevel.json")
	require.Len(t, golden.Vocabularies, 4)
	for name, v := range golden.Vocabularies {
		t.Run(name, func(t *testing.T) {
			meta := byteLevel(name, v.Merges)
			meta.Set("tokenizer.ggml.normalizer.nfc", v.NFC)
			tok, err := tokenizer.New(meta)
			require.NoError(t, err)
			for _, c := range golden.Cases {
				require.Equal(t, c.IDs[name], encode(tok, c.Text, tokenizer.Options{AddSpecial: true}), "%q", c.Text)
				want := c.Text
				if v.NFC {
					want = norm.NFC.String(want)
				}
				require.Equal(t, want, tok.Decode(c.IDs[name]))
			}
		})
	}
}

// mergeOneByOne is the algorithm in its plainest form.
func mergeOneByOne(word string, merges []string) []string {
	spelled := strings.NewReplacer(" ", "Ġ", "\n", "Ċ", "é", "Ã©", "語", "èªŀ").Replace(word)
	symbols := strings.Split(spelled, "")
	for {
		best, at := len(merges), 0
		for i := range len(symbols) - 1 {
			if rank := slices.Index(merges, symbols[i]+" "+symbols[i+1]); rank >= 0 && rank < best {
				best, at = rank, i
			}
		}
		if best == len(merges) {
			return symbols
		}
		symbols = slices.Replace(symbols, at, at+2, symbols[at]+symbols[at+1])
	}
}

func TestByteLevelIsTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := []string{"a", "b", "Ã", "©", "è", "ª", "ŀ", "Ġ"}
		var merges []string
		for range rapid.IntRange(0, 25).Draw(t, "merges") {
			left, right := rapid.SampledFrom(pieces).Draw(t, "left"), rapid.SampledFrom(pieces).Draw(t, "right")
			if m := left + " " + right; !slices.Contains(merges, m) {
				merges = append(merges, m)
				pieces = append(pieces, left+right)
			}
		}
		meta := byteLevel("gpt-2", merges)
		tok, err := tokenizer.New(meta)
		require.NoError(t, err)
		word := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "é", "語"}), 1, 30).Draw(t, "word"), "")
		text := rapid.SampledFrom([]string{"", " "}).Draw(t, "space") + word
		var got []string
		for _, id := range tok.Encode(text, tokenizer.Options{}) {
			got = append(got, tok.Piece(id))
		}
		require.Equal(t, mergeOneByOne(text, merges), got)
	})
}

func TestByteLevelSpecial(t *testing.T) {
	var more vocabulary
	more.add("<|end|>", 0, control)
	more.add("<tool é>", 0, userDefined)
	more.add("[PAD259]", 0, unused)
	more.add("日本", 0, normal) // spells no bytes
	more.add("Ġunmerged", 0, normal)
	meta := byteLevel("llama-bpe", []string{"a b"}, more)
	meta.Set("tokenizer.ggml.bos_token_id", uint32(257))
	meta.Delete("tokenizer.ggml.add_bos_token")
	tok, err := tokenizer.New(meta)
	require.NoError(t, err)
	const ab, end, tool, pad, literal, whole = 256, 257, 258, 259, 260, 261
	require.Equal(t, int32(-1), tok.EOS())
	require.True(t, tok.AddsBOS())
	require.Equal(t, []int32{end, ab}, tok.Encode("ab", tokenizer.Options{AddSpecial: true}))
	require.Equal(t, []int32{ab, tool, ab}, tok.Encode("ab<tool é>ab", tokenizer.Options{}))
	require.Equal(t, []int32{end, ab}, tok.Encode("<|end|>ab", tokenizer.Options{ParseSpecial: true}))
	require.NotContains(t, tok.Encode("<|end|>", tokenizer.Options{}), int32(end))
	require.Equal(t, []int32{whole}, tok.Encode(" unmerged", tokenizer.Options{}))
	require.Equal(t, "ab<tool é>[PAD259]日本 unmerged", tok.Decode([]int32{end, ab, tool, pad, literal, whole}))
	require.Equal(t, "\xff\x00 ", tok.Decode(tok.Encode("\xff\x00 ", tokenizer.Options{})))

	qwen := byteLevel("qwen2", []string{"a b"}, more)
	tok, err = tokenizer.New(qwen)
	require.NoError(t, err)
	require.Greater(t, len(tok.Encode(" unmerged", tokenizer.Options{})), 1)
	require.Equal(t, int32(-1), tok.BOS())
}

func TestByteLevelRefused(t *testing.T) {
	const prefix = "tokenizer.ggml."
	for name, test := range map[string]struct {
		change func(*gguf.Metadata)
		is     error
		want   string
	}{
		"no pre":          {func(m *gguf.Metadata) { m.Delete(prefix + "pre") }, gguf.ErrNoKey, "tokenizer.ggml.pre"},
		"another pre":     {func(m *gguf.Metadata) { m.Set(prefix+"pre", "unheard of") }, gguf.ErrUnsupported, "unheard of"},
		"no merges":       {func(m *gguf.Metadata) { m.Delete(prefix + "merges") }, gguf.ErrNoKey, "merges"},
		"merge of one":    {func(m *gguf.Metadata) { m.Set(prefix+"merges", []string{"ab"}) }, gguf.ErrCorrupt, `merge 0 "ab"`},
		"merge to none":   {func(m *gguf.Metadata) { m.Set(prefix+"merges", []string{"a b", "b a"}) }, gguf.ErrCorrupt, `merge 1 "b a"`},
		"empty merge":     {func(m *gguf.Metadata) { m.Set(prefix+"merges", []string{""}) }, gguf.ErrCorrupt, "merge 0"},
		"lower-case":      {func(m *gguf.Metadata) { m.Set(prefix+"normalizer.lowercase", true) }, gguf.ErrUnsupported, "lowercase"},
		"without accents": {func(m *gguf.Metadata) { m.Set(prefix+"normalizer.strip_accents", true) }, gguf.ErrUnsupported, "strip_accents"},
		"NFC in words":    {func(m *gguf.Metadata) { m.Set(prefix+"normalizer.nfc", "yes") }, gguf.ErrCorrupt, "nfc"},
		"BOS without id":  {func(m *gguf.Metadata) { m.Delete(prefix + "add_bos_token") }, gguf.ErrCorrupt, "add_bos_token"},
		"a byte missing": {func(m *gguf.Metadata) {
			tokens, _ := gguf.Value[[]string](m, prefix+"tokens")
			tokens = slices.Clone(tokens)
			tokens[slices.Index(tokens, "Ġ")] = "?!"
			m.Set(prefix+"tokens", tokens)
		}, gguf.ErrCorrupt, `no token "Ġ" for byte 32`},
	} {
		t.Run(name, func(t *testing.T) {
			m := byteLevel("llama-bpe", []string{"a b"})
			_, err := tokenizer.New(m)
			require.NoError(t, err)
			test.change(m)
			_, err = tokenizer.New(m)
			require.ErrorIs(t, err, test.is)
			require.ErrorContains(t, err, test.want)
		})
	}
}

func FuzzByteLevel(f *testing.F) {
	var toks []*tokenizer.Tokenizer
	for _, pre := range pretoken.Known() {
		tok, err := tokenizer.New(byteLevel(pre, []string{"Ġ Ġ", "a b", "ĠĠ a", "Ã ©", "1 2", "Ċ Ċ"}))
		require.NoError(f, err)
		toks = append(toks, tok)
	}
	for _, text := range []string{"", " a  b\n\n", "日本語\x00é", "ab 12 123 I'll\r\n", "\xc3 \xe2\x96", strings.Repeat(" ", 40)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, tok := range toks {
			ids := tok.Encode(text, tokenizer.Options{})
			require.Equal(t, text, tok.Decode(ids))
			require.LessOrEqual(t, len(ids), len(text))
			if text != "" && utf8.ValidString(text) {
				require.NotEmpty(t, ids)
			}
		}
	})
}
