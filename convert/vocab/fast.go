package vocab

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/gguf"
)

// bytePairs is tokenizer.json's model of type BPE.
type bytePairs struct {
	Vocab        map[string]int64 `json:"-"`
	Merges       mergeList        `json:"merges"`
	UnkToken     string           `json:"unk_token"`
	ByteFallback bool             `json:"byte_fallback"`
	IgnoreMerges *bool            `json:"ignore_merges"`
	Prefix       string           `json:"continuing_subword_prefix"`
	Suffix       string           `json:"end_of_word_suffix"`
}

// mergeList holds merges as GGUF does: two tokens with a space between them.
type mergeList []string

// UnmarshalJSONFrom reads a list of such texts, or of lists of two tokens.
func (m *mergeList) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != '[' {
		return errors.New("not a list, which is needed here")
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		if dec.PeekKind() == '"' {
			text, err := dec.ReadToken()
			if err != nil {
				return err
			}
			*m = append(*m, text.String())
			continue
		}
		var pair []string
		if err := json.UnmarshalDecode(dec, &pair); err != nil {
			return err
		}
		if len(pair) != 2 {
			return fmt.Errorf("merge %d is of %d tokens", len(*m), len(pair))
		}
		// A space is spelled Ġ, as everywhere in byte-level vocabularies.
		*m = append(*m, strings.ReplaceAll(pair[0], " ", "Ġ")+" "+strings.ReplaceAll(pair[1], " ", "Ġ"))
	}
	_, err := dec.ReadToken()
	return err
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{gguf.ErrUnsupported}, args...)...)
}

// loadFast adds the pairs from tokenizer.ggml.model on for a vocabulary that tokenizer.json alone
// describes.
func (f *sources) loadFast(kvs *pairs, opts Options) (kind, error) {
	var model bytePairs
	var read struct {
		Type      string         `json:"type"`
		Vocab     jsontext.Value `json:"vocab"` // a list in models of other types
		bytePairs `json:",inline"`
	}
	err := pyjson.Unmarshal(f.fast.Model, &read)
	switch {
	case err == nil && read.Type == "WordPiece":
		return wordPiece, f.loadFastWordPiece(kvs, opts)
	case err == nil && read.Type == "Unigram":
		return unigram, f.loadFastUnigram(kvs, opts)
	}
	if err == nil && read.Type == "BPE" {
		model = read.bytePairs
		err = pyjson.Unmarshal(read.Vocab, &model.Vocab)
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: model: %w", gguf.ErrCorrupt, err)
	case read.Type != "BPE":
		return 0, unsupported("a vocabulary of type %.80q", read.Type)
	case model.Prefix != "" || model.Suffix != "":
		return 0, unsupported("tokens with a continuing_subword_prefix or an end_of_word_suffix")
	case slices.Contains(wordPieceNames, opts.Pre):
		return 0, unsupported("a vocabulary of type BPE as %q, which is one of WordPiece", opts.Pre)
	case opts.Rules.Gemma4 && model.ByteFallback:
		return onCharacters, f.loadGemma4(kvs, &model, int(opts.Size))
	case opts.Rules.Gemma4:
		return 0, unsupported("a vocabulary for Gemma 4 without byte_fallback")
	case isOnCharacters(opts.Pre) && model.ByteFallback:
		return onCharacters, f.loadCharacters(kvs, &model, opts)
	case isOnCharacters(opts.Pre):
		return 0, unsupported("a vocabulary of bytes as %q, which is one of characters", opts.Pre)
	case model.ByteFallback && opts.Pre != "":
		return 0, unsupported("a vocabulary of SentencePiece has no pre-tokenizer that could be %q", opts.Pre)
	case model.ByteFallback:
		return sentencePiece, f.loadFastPieces(kvs, &model, int(opts.Size))
	}
	return byteLevel, f.loadByteLevel(kvs, &model, opts)
}

func isOnCharacters(pre string) bool { _, ok := pretoken.OnCharacters[pre]; return ok }

// tokensOf returns tokens with their ids, with score 0.
func tokensOf(ids map[string]int64, size int) (*tokens, error) {
	t := newTokens(size)
	for text, id := range ids {
		if id < 0 || id >= int64(size) {
			return nil, fmt.Errorf("%w: token %.80q has id %d, there are %d embeddings", gguf.ErrCorrupt, text, id, size)
		}
		if other := t.texts[id]; t.types[id] != int32(gguf.TokenUnused) {
			return nil, fmt.Errorf("%w: tokens %.80q and %.80q have both id %d", gguf.ErrCorrupt, min(text, other), max(text, other), id)
		}
		t.set(int(id), text, 0, gguf.TokenNormal)
	}
	return t, nil
}

// addAll sets the tokens that were added to the model's.
func (f *sources) addAll(t *tokens, ids map[string]int64, score float32) error {
	added, err := f.addedTokens(ids, len(t.texts))
	if err != nil {
		return err
	}
	for _, a := range added {
		if a.ID >= int64(len(t.texts)) {
			return fmt.Errorf("%w: token %.80q has id %d, there are %d embeddings", gguf.ErrCorrupt, a.Content, a.ID, len(t.texts))
		}
		t.add(a, score)
	}
	return nil
}
