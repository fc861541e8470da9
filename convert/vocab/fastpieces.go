package vocab

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// loadFastPieces adds a vocabulary of SentencePiece's BPE that is only in tokenizer.json. SentencePiece
// merges the pair that makes the token of the best score, tokenizers the first in the list of merges, in
// which transformers writes all pairs that make a token, by its score: the score is given back by the
// rank of the first. (LlamaHfVocab in gguf-py gives all tokens the same score, and so other ids.)
func (f *sources) loadFastPieces(kvs *pairs, model *bytePairs, size int) error {
	s, err := f.fast.spacing()
	if err != nil {
		return err
	}
	t, err := tokensOf(model.Vocab, size)
	if err != nil {
		return err
	}
	ranks, err := model.ranks()
	if err != nil {
		return err
	}
	byteTokens := 0
	for text, id := range model.Vocab {
		rank, merged := ranks[text]
		switch {
		case text == model.UnkToken:
			t.types[id] = int32(gguf.TokenUnknown)
		case isByteToken(text):
			t.types[id] = int32(gguf.TokenByte)
			byteTokens++
		case merged:
			t.scores[id] = -float32(rank)
			if s.split && strings.LastIndex(text, space) > 0 {
				return unsupported("pre_tokenizer Metaspace cuts before every space, and there is a token %.80q", text)
			}
		default: // after all that are merged
			t.scores[id] = -float32(len(model.Merges))
		}
	}
	if byteTokens != 256 {
		return fmt.Errorf("%w: byte_fallback with tokens for %d bytes instead of 256", gguf.ErrCorrupt, byteTokens)
	}
	if err := f.addAll(t, model.Vocab, scoreAdded); err != nil {
		return err
	}
	if id, ok := model.Vocab[model.UnkToken]; ok {
		t.set(int(id), model.UnkToken, 0, gguf.TokenUnknown)
	}
	if f.addPrefixSpace != nil || !s.prefix {
		kvs.set(spacePrefixKey, s.prefix)
	}
	t.writeSentencePiece(kvs)
	return nil
}

// ranks returns the place of the first merge that makes each token.
func (m *bytePairs) ranks() (map[string]int, error) {
	ranks := make(map[string]int, len(m.Merges))
	for i, merge := range m.Merges {
		left, right, ok := strings.Cut(merge, " ")
		_, ok1 := m.Vocab[left]
		_, ok2 := m.Vocab[right]
		_, ok3 := m.Vocab[left+right]
		if !ok || !ok1 || !ok2 || !ok3 {
			return nil, fmt.Errorf("%w: merge %d %.80q is not of two tokens to a third", gguf.ErrCorrupt, i, merge)
		}
		if _, known := ranks[left+right]; !known {
			ranks[left+right] = i
		}
	}
	return ranks, nil
}

// isByteToken reports whether a token is spelled like <0x0A>.
func isByteToken(text string) bool {
	hex := func(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' || c >= 'a' && c <= 'f' }
	return len(text) == 6 && text[:3] == "<0x" && hex(text[3]) && hex(text[4]) && text[5] == '>'
}

// space is how pieces spell a space.
const space = "▁"

// spacing is what becomes of the spaces of a text.
type spacing struct {
	spelled bool // as ▁
	prefix  bool // one is put before the text
	split   bool // text is cut before each
}

// spacing reads the normalizer and the pre-tokenizer, which may do nothing but what SentencePiece does. The
// legacy form is a normalizer that prepends and replaces, the newer one the pre-tokenizer Metaspace.
// That puts no space before a text that begins with one, nor (with prepend_scheme first) after a special token;
// GGUF has no way to say so.
func (t *tokenizerJSON) spacing() (spacing, error) {
	var s spacing
	if err := s.normalize(t.Normalizer); err != nil {
		return s, err
	}
	if err := s.pretokenize(t.PreTokenizer); err != nil {
		return s, err
	}
	if !s.spelled {
		return s, unsupported("a vocabulary with byte_fallback that does not spell spaces as ▁")
	}
	return s, nil
}

func (s *spacing) normalize(n *normalizer) error {
	for _, step := range n.steps() {
		switch {
		case step.Type == "Prepend" && step.Prepend == space:
			s.prefix = true
		case step.Type == "Replace" && step.Pattern.expression() == " " && step.Content == space:
			s.spelled = true
		default:
			return unsupported("normalizer %.80s in a vocabulary of SentencePiece", step.Type)
		}
	}
	return nil
}

func (s *spacing) pretokenize(p *preTokenizer) error {
	for _, step := range p.steps() {
		switch {
		case step.Type == "Metaspace" && step.Replacement == space:
			s.spelled = true
			s.split = s.split || step.Split == nil || *step.Split
			switch step.PrependScheme {
			case "first", "always":
				s.prefix = true
			case "":
				s.prefix = s.prefix || step.AddPrefixSpace // before tokenizers 0.15
			case "never":
			default:
				return unsupported("pre_tokenizer Metaspace with prepend_scheme %.80q", step.PrependScheme)
			}
		case step.Type == "Split" && s.spelled && step.Pattern.expression() == " ": // of which there are none left
		default:
			return unsupported("pre_tokenizer %.80s in a vocabulary of SentencePiece", step.Type)
		}
	}
	return nil
}
