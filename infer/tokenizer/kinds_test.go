package tokenizer_test

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// kinds are vocabularies that are not byte-level BPE, as checkpoints have them, and the ids that Hugging
// Face's tokenizers and SentencePiece give to texts. See testdata/kinds.py.
type kinds struct {
	Files map[string]map[string]any
	Cases []struct {
		Text string
		IDs  map[string][]int32
	}
}

func readKinds(t *testing.T) (k kinds) {
	path := "testdata/kinds.json.gz"
	if other := os.Getenv("GGUFKIT_TEST_KINDS"); other != "" { // more of them
		path = other
	}
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	require.NoError(t, json.NewDecoder(z).Decode(&k))
	return k
}

// write writes the files of a vocabulary.
func (k kinds) write(t *testing.T, name, dir string) {
	for file, content := range k.Files[name] {
		data, err := json.Marshal(content)
		if text, ok := content.(string); ok {
			data, err = base64.StdEncoding.DecodeString(text)
		}
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), data, 0o644))
	}
}

func load(t *testing.T, dir string, opts vocab.Options) *tokenizer.Tokenizer {
	v, err := vocab.Load(dir, opts)
	require.NoError(t, err)
	tok, err := tokenizer.New(gguf.NewMetadata(v.Metadata...))
	require.NoError(t, err)
	return tok
}

// TestKinds: texts get the ids of the peers.
func TestKinds(t *testing.T) {
	k := readKinds(t)
	for name := range k.Files {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			k.write(t, name, dir)
			opts := vocab.Options{Size: 800, Rules: vocab.Rules{Gemma4: strings.HasPrefix(name, "gemma4")}}
			tok := load(t, dir, opts)
			parse := !strings.HasPrefix(name, "unigram") && !strings.HasPrefix(name, "pieces") // SentencePiece takes no text for a token
			for _, c := range k.Cases {
				require.Equal(t, c.IDs[name], encode(tok, c.Text, tokenizer.Options{ParseSpecial: parse}), "%q", c.Text)
			}
		})
	}
}

// TestKindsAround: what stands around a text, and what tokens stand for.
func TestKindsAround(t *testing.T) {
	k := readKinds(t)
	for name, c := range map[string]struct {
		text, back string
		first      string // token, if any
		last       string
	}{
		"wordpiece":       {"The  NAÏVE café's.", "the naive cafe ' s .", "[CLS]", "[SEP]"},
		"wordpiece-cased": {"The  cat.", "The cat .", "[CLS]", "[SEP]"},
		"gemma4":          {" a  b\n\n東京 \x00<unk>", " a  b\n\n東京 \x00<unk>", "<bos>", ""},
		"unigram":         {"  two   words ", "two words", "", "</s>"},
		"unigram-spaces":  {" two   wørds\n", " two   wørds\n", "", "</s>"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			k.write(t, name, dir)
			v, err := vocab.Load(dir, vocab.Options{Size: 800, Rules: vocab.Rules{Gemma4: name == "gemma4"}})
			require.NoError(t, err)
			meta := gguf.NewMetadata(v.Metadata...)
			for key, token := range map[string]string{"bos": c.first, "eos": c.last} {
				tokens, err := gguf.Value[[]string](meta, "tokenizer.ggml.tokens")
				require.NoError(t, err)
				if id := slices.Index(tokens, token); token != "" {
					meta.Set("tokenizer.ggml."+key+"_token_id", uint32(id))
				}
			}
			tok, err := tokenizer.New(meta)
			require.NoError(t, err)
			ids := tok.Encode(c.text, tokenizer.Options{AddSpecial: true})
			require.Equal(t, c.back, tok.Decode(ids))
			if c.first != "" {
				require.Equal(t, c.first, tok.Piece(ids[0]))
			}
			if c.last != "" {
				require.Equal(t, c.last, tok.Piece(ids[len(ids)-1]))
			}
		})
	}
}

// Tokens that were added to a vocabulary of WordPiece are found where they stand.
func TestWordPieceAdded(t *testing.T) {
	meta := gguf.NewMetadata(gguf.KV{Key: "tokenizer.ggml.model", Value: "bert"},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: []string{"[UNK]", "[CLS]", "[SEP]", "▁a", "b", "▁<tool>"}},
		gguf.KV{Key: "tokenizer.ggml.token_type", Value: []int32{unknown, control, control, normal, normal, userDefined}},
		gguf.KV{Key: "tokenizer.ggml.unknown_token_id", Value: uint32(0)}, gguf.KV{Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)},
		gguf.KV{Key: "tokenizer.ggml.seperator_token_id", Value: uint32(2)}) //nolint:misspell // so it is in the format
	tok, err := tokenizer.New(meta)
	require.NoError(t, err)
	require.Equal(t, []int32{1, 3, 4, 5, 3, 0, 2}, tok.Encode("ab<tool>A ac", tokenizer.Options{AddSpecial: true}))
}

// Lines of mmBERT begin with a space; llama.cpp gives these ids.
func TestLines(t *testing.T) {
	meta := gguf.NewMetadata(gguf.KV{Key: "tokenizer.ggml.model", Value: "gpt2"}, gguf.KV{Key: "tokenizer.ggml.pre", Value: "mmbert"},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: []string{"▁", "a", "b", "\n", "▁a", "▁b", "\n\n", "<s>"}},
		gguf.KV{Key: "tokenizer.ggml.token_type", Value: []int32{normal, normal, normal, normal, normal, normal, normal, control}},
		gguf.KV{Key: "tokenizer.ggml.merges", Value: []string{"▁ a", "▁ b", "\n \n"}})
	tok, err := tokenizer.New(meta)
	require.NoError(t, err)
	for text, want := range map[string][]int32{
		" a": {4}, "  a": {0, 4}, "▁a": {4}, "\na": {3, 4}, "a<s> b": {4, 7, 5}, "a<s>b": {4, 7, 5}, "a\nb": {4, 3, 5}, "a\n\n\nb": {4, 6, 3, 5}, "": {}, " ": {0}, "\n": {3},
	} {
		require.Equal(t, want, encode(tok, text, tokenizer.Options{ParseSpecial: true}), "%q", text)
	}
}

// FuzzCharsmap reads tables of characters that hostile files could have.
func FuzzCharsmap(f *testing.F) {
	f.Add([]byte("\x04\x00\x00\x00\x00\x00\x00\x00a\x00"), "ab")
	f.Add([]byte("\x08\x00\x00\x00\x61\x01\x00\x00\x61\x01\x00\x80b\x00"), "aaa")
	f.Add([]byte("\xff\xff\xff\xff"), "a")
	f.Fuzz(func(t *testing.T, blob []byte, text string) {
		v := withSpecial(true)
		v.add("▁a", -1, normal)
		m := v.metadata()
		m.Set("tokenizer.ggml.model", "t5")
		m.Set("tokenizer.ggml.precompiled_charsmap", blob)
		tok, err := tokenizer.New(m)
		if err != nil {
			require.ErrorIs(t, err, gguf.ErrCorrupt)
			require.ErrorContains(t, err, "precompiled_charsmap")
			return
		}
		require.LessOrEqual(t, len(tok.Encode(text, tokenizer.Options{})), 256*len(text)+3)
	})
}
