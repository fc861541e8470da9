package vocab

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/gguf"
)

// unigramSpacing says what a vocabulary of Unigram does to a text before it looks for pieces.
type unigramSpacing struct {
	prefix      bool   // a space is put in front
	mergeSpaces bool   // runs of spaces are one, those around a text none
	charsmap    []byte // precompiled_charsmap: what becomes of characters
}

// loadUnigram adds a vocabulary of Unigram that is in a model of SentencePiece (T5Model.set_vocab in
// llama.cpp's conversion/t5.py). convert_hf_to_gguf.py calls it SentencePiece's BPE in classes that are not
// T5's or RoBERTa's, whose pieces are put together in another way.
func (f *files) loadUnigram(kvs *pairs, model *SentencePiece, opts Options) error {
	t := newTokens(int(opts.Size))
	for id, p := range model.Pieces[:min(len(t.texts), len(model.Pieces))] {
		if p.Type == gguf.TokenUserDefined { // only added tokens are, to convert_hf_to_gguf.py
			p.Type = gguf.TokenNormal
		}
		t.set(id, p.Text, p.Score, p.Type)
		if p.Type == gguf.TokenUnknown {
			f.unknown = int64(id)
		}
	}
	if err := f.addNamed(t); err != nil {
		return err
	}
	t.writeUnigram(kvs, unigramSpacing{model.AddPrefix, model.MergeSpaces, model.Charsmap}, opts.Rules)
	return nil
}

// loadFairseq adds a vocabulary of sentencepiece.bpe.model, of which XLM-RoBERTa's has its own tokens in front
// (BertModel._xlmroberta_set_vocab in llama.cpp's conversion/bert.py, as transformers' XLMRobertaTokenizer).
func (f *files) loadFairseq(kvs *pairs, model *SentencePiece, opts Options) error {
	const kept = 3 // the first of the model's pieces that stays
	t := newTokens(max(int(opts.Size), len(model.Pieces)))
	if len(model.Pieces) < kept || len(t.texts) < kept+2 {
		return fmt.Errorf("%w: %s: %d pieces", gguf.ErrCorrupt, f.path(fairseqFile), len(model.Pieces))
	}
	for id, text := range []string{"<s>", "<pad>", "</s>"} {
		t.set(id, text, 0, gguf.TokenControl)
	}
	t.set(kept, "<unk>", 0, gguf.TokenUnknown)
	f.unknown = kept
	for i, p := range model.Pieces[kept:] {
		if id := kept + 1 + i; id < len(t.texts) {
			t.set(id, p.Text, p.Score, p.Type)
		}
	}
	t.writeUnigram(kvs, unigramSpacing{model.AddPrefix, model.MergeSpaces, model.Charsmap}, opts.Rules)
	return nil
}

// loadFastUnigram adds a vocabulary of Unigram that is in tokenizer.json (likewise _xlmroberta_set_vocab).
func (f *files) loadFastUnigram(kvs *pairs, opts Options) error {
	var model struct {
		Unknown      *int64             `json:"unk_id"`
		Vocab        [][]jsontext.Value `json:"vocab"`
		ByteFallback bool               `json:"byte_fallback"`
	}
	if err := pyjson.Unmarshal(f.fast.Model, &model); err != nil {
		return fmt.Errorf("%w: model: %w", gguf.ErrCorrupt, err)
	}
	var s unigramSpacing
	if err := errors.Join(s.normalize(f.fast.Normalizer), s.pretokenize(f.fast.PreTokenizer)); err != nil {
		return err
	}
	if len(model.Vocab) > maxPieces {
		return fmt.Errorf("%w: %d pieces", gguf.ErrCorrupt, len(model.Vocab))
	}
	ids := make(map[string]int64, len(model.Vocab))
	scores := make([]float32, len(model.Vocab))
	for id, entry := range model.Vocab {
		var text string
		var score float64
		if len(entry) != 2 || pyjson.Unmarshal(entry[0], &text) != nil || pyjson.Unmarshal(entry[1], &score) != nil {
			return fmt.Errorf("%w: piece %d is not a text and its score", gguf.ErrCorrupt, id)
		}
		if other, ok := ids[text]; ok {
			return fmt.Errorf("%w: pieces %d and %d are both %.80q", gguf.ErrCorrupt, other, id, text)
		}
		ids[text], scores[id] = int64(id), float32(score)
	}
	t, err := tokensOf(ids, max(int(opts.Size), len(ids)))
	if err != nil {
		return err
	}
	special, err := f.specialTokens()
	if err != nil {
		return err
	}
	added, err := f.addedTokens(ids, len(t.texts))
	if err != nil {
		return err
	}
	for id, score := range scores {
		t.scores[id] = score
		if model.ByteFallback && isByteToken(t.texts[id]) {
			t.types[id] = int32(gguf.TokenByte)
		}
	}
	for _, a := range added {
		if a.ID >= int64(len(t.texts)) {
			return fmt.Errorf("%w: token %.80q has id %d, there are %d embeddings", gguf.ErrCorrupt, a.Content, a.ID, len(t.texts))
		}
		t.texts[a.ID], t.types[a.ID] = a.Content, int32(gguf.TokenUserDefined)
		if a.ID >= int64(len(ids)) {
			t.scores[a.ID] = scoreAdded
		}
		if special.has(a.Content) || a.Special {
			t.types[a.ID] = int32(gguf.TokenControl)
		}
	}
	if model.Unknown != nil {
		if *model.Unknown < 0 || *model.Unknown >= int64(len(ids)) {
			return fmt.Errorf("%w: unk_id %d of %d pieces", gguf.ErrCorrupt, *model.Unknown, len(ids))
		}
		t.types[*model.Unknown] = int32(gguf.TokenUnknown)
		f.unknown = *model.Unknown
	}
	t.writeUnigram(kvs, s, opts.Rules)
	return nil
}

// normalize reads a normalizer, which may do nothing but what SentencePiece does.
func (s *unigramSpacing) normalize(n *normalizer) error {
	switch {
	case n == nil:
		return nil
	case n.Type == "Sequence":
		for _, part := range n.Normalizers {
			if err := s.normalize(part); err != nil {
				return err
			}
		}
		return nil
	case n.Type == "Precompiled" && s.charsmap == nil && !s.mergeSpaces:
		s.charsmap = n.Charsmap
		return nil
	case n.Type == "Strip" && n.StripRight: // which comes with the next, and is nothing without it
		return nil
	case n.Type == "Replace" && n.Pattern.expression() == " {2,}" && (n.Content == space || n.Content == " "):
		s.mergeSpaces = true
		return nil
	}
	return unsupported("normalizer %.80s in a vocabulary of Unigram", n.Type)
}

// pretokenize reads a pre-tokenizer.
func (s *unigramSpacing) pretokenize(p *preTokenizer) error {
	switch {
	case p == nil:
		return nil
	case p.Type == "Sequence":
		for _, part := range p.PreTokenizers {
			if err := s.pretokenize(part); err != nil {
				return err
			}
		}
		return nil
	case p.Type == "WhitespaceSplit":
		s.mergeSpaces = true
		return nil
	case p.Type == "Metaspace" && p.Replacement == space:
		switch p.PrependScheme {
		case "always", "first":
			s.prefix = true
		case "":
			s.prefix = p.AddPrefixSpace
		case "never":
		default:
			return unsupported("pre_tokenizer Metaspace with prepend_scheme %.80q", p.PrependScheme)
		}
		return nil
	}
	return unsupported("pre_tokenizer %.80s in a vocabulary of Unigram", p.Type)
}

func (t *tokens) writeUnigram(kvs *pairs, s unigramSpacing, rules Rules) {
	kvs.set("tokenizer.ggml.model", "t5")
	kvs.set("tokenizer.ggml.pre", "default")
	kvs.set("tokenizer.ggml.tokens", t.texts)
	kvs.set("tokenizer.ggml.scores", t.scores)
	kvs.set("tokenizer.ggml.token_type", t.types)
	kvs.set(spacePrefixKey, s.prefix)
	rules.setTokenTypes(kvs)
	kvs.set(mergeSpacesKey, s.mergeSpaces)
	if len(s.charsmap) > 0 {
		kvs.set(charsmapKey, s.charsmap)
	}
}

const (
	mergeSpacesKey = "tokenizer.ggml.remove_extra_whitespaces"
	charsmapKey    = "tokenizer.ggml.precompiled_charsmap"
)
