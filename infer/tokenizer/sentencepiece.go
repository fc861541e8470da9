package tokenizer

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// space is how pieces spell a space: U+2581, lower one eighth block.
const space = "▁"

// sentencePiece is a vocabulary of SentencePiece's BPE.
type sentencePiece struct {
	*Tokenizer
	scores         []float32
	mergeable      map[string]int32 // pieces that text can become
	longest        int              // bytes in the longest of them
	bytes          [256]int32       // byte tokens
	hasBytes       bool             // there is one for every byte
	wordwise       bool             // no mergeable piece has a space after something else
	addSpacePrefix bool
}

// newSentencePiece reads what is SentencePiece's own in the metadata.
func newSentencePiece(t *Tokenizer, meta *gguf.Metadata) (*sentencePiece, error) {
	if err := checkNormalization(meta); err != nil {
		return nil, err
	}
	s := &sentencePiece{Tokenizer: t, mergeable: make(map[string]int32, len(t.pieces)), wordwise: true, hasBytes: true}
	var err error
	if s.scores, err = readScores(t, meta); err != nil {
		return nil, err
	}
	if s.addSpacePrefix, err = valueOr(meta, "tokenizer.ggml.add_space_prefix", true); err != nil {
		return nil, err
	}
	for i := range s.bytes {
		s.bytes[i] = none
	}
	for i, piece := range t.pieces {
		id := int32(i)
		switch t.types[id] {
		case gguf.TokenByte:
			b, err := parseByte(piece)
			if err != nil {
				return nil, fmt.Errorf("%w: tokenizer.ggml.tokens: token %d: %w", gguf.ErrCorrupt, id, err)
			}
			s.bytes[b] = id
		case gguf.TokenNormal, gguf.TokenUnused, gguf.TokenUserDefined:
			if piece == "" {
				continue
			}
			s.mergeable[piece] = id
			s.longest = max(s.longest, len(piece))
			if strings.Contains(strings.TrimLeft(piece, space), space) {
				s.wordwise = false
			}
		}
	}
	for _, id := range s.bytes {
		s.hasBytes = s.hasBytes && id != none
	}
	if !s.hasBytes && t.unk == none {
		return nil, fmt.Errorf("%w: tokenizer.ggml.tokens has neither a token for every byte nor an unknown token", gguf.ErrCorrupt)
	}
	return s, nil
}

// readScores reads the scores of all tokens.
func readScores(t *Tokenizer, meta *gguf.Metadata) ([]float32, error) {
	scores, err := gguf.Value[[]float32](meta, "tokenizer.ggml.scores")
	if err != nil {
		return nil, err
	}
	if len(scores) != len(t.pieces) {
		return nil, fmt.Errorf("%w: tokenizer.ggml.scores has %d scores for the %d tokens of tokenizer.ggml.tokens", gguf.ErrCorrupt, len(scores), len(t.pieces))
	}
	for id, score := range scores {
		if math.IsNaN(float64(score)) {
			return nil, fmt.Errorf("%w: tokenizer.ggml.scores: token %d %.80q has score NaN", gguf.ErrCorrupt, id, t.pieces[id])
		}
	}
	return scores, nil
}

// charsmapKey is the key of the table by which SentencePiece normalizes characters.
const charsmapKey = "tokenizer.ggml.precompiled_charsmap"

// checkNormalization reports that the vocabulary wants text normalized.
func checkNormalization(meta *gguf.Metadata) error {
	if _, ok := meta.Get(charsmapKey); ok {
		return fmt.Errorf("%w: %s asks for normalized text", gguf.ErrUnsupported, charsmapKey)
	}
	remove, err := valueOr(meta, "tokenizer.ggml.remove_extra_whitespaces", false)
	if err != nil {
		return err
	}
	if remove {
		return fmt.Errorf("%w: tokenizer.ggml.remove_extra_whitespaces asks for normalized text", gguf.ErrUnsupported)
	}
	return nil
}

// parseByte returns the byte that the piece of a byte token stands for.
func parseByte(piece string) (byte, error) {
	if len(piece) == len("<0x00>") && strings.HasPrefix(piece, "<0x") && strings.HasSuffix(piece, ">") {
		if b, err := strconv.ParseUint(piece[3:5], 16, 8); err == nil {
			return byte(b), nil
		}
	}
	return 0, fmt.Errorf("byte token %.80q is not spelled like <0x0A>", piece)
}

func (s *sentencePiece) spacePrefix() bool { return s.addSpacePrefix }

func (s *sentencePiece) appendBytes(dst []byte, id int32) []byte {
	return appendPiece(dst, s.pieces[id], s.types[id])
}

// appendPiece appends the bytes that a piece of SentencePiece's stands for.
func appendPiece(dst []byte, piece string, typ gguf.TokenType) []byte {
	if typ == gguf.TokenByte {
		b, err := parseByte(piece)
		if err != nil {
			panic(err) // all have been parsed
		}
		return append(dst, b)
	}
	return append(dst, strings.ReplaceAll(piece, space, " ")...)
}

func (s *sentencePiece) encode(ids []int32, text string) []int32 {
	if text == "" {
		return ids
	}
	m := merger{sentencePiece: s, ids: ids, text: strings.ReplaceAll(text, " ", space)}
	if s.addSpacePrefix {
		m.text = space + m.text
	}
	// Where no piece has a space after something else, nothing is merged
	// across the start of a word, and words can be encoded one by one.
	afterSpace := true
	for start := 0; start < len(m.text); {
		end := min(start+charLen(m.text[start]), len(m.text))
		isSpace := m.text[start:end] == space
		if s.wordwise && isSpace && !afterSpace {
			m.symbols.merge(&m, m.emit)
		}
		m.symbols.add(start, end, none)
		afterSpace = isSpace
		start = end
	}
	m.symbols.merge(&m, m.emit)
	return m.ids
}

// charLen returns the length in bytes that the first byte of a character
// announces; whether the others are there and belong to it is not looked at.
func charLen(first byte) int {
	switch {
	case first < 0xC0:
		return 1
	case first < 0xE0:
		return 2
	case first < 0xF0:
		return 3
	}
	return 4
}

// merger encodes a stretch of text.
type merger struct {
	*sentencePiece
	symbols       symbols
	text          string // spaces spelled as in pieces
	ids           []int32
	unknownBefore bool // the last id is of an unknown character
}

// join implements joiner.
func (m *merger) join(left, right *symbol) (id int32, score float32, ok bool) {
	start, end := left.start, right.end
	if end-start > m.longest {
		return none, 0, false
	}
	if id, ok = m.mergeable[m.text[start:end]]; !ok {
		return none, 0, false
	}
	return id, m.scores[id], true
}

// emit appends the ids of a symbol.
func (m *merger) emit(s *symbol) {
	if s.id == none {
		if id, ok := m.mergeable[m.text[s.start:s.end]]; ok {
			s.id = id
		}
	}
	unknown := false
	switch {
	case s.id != none:
		m.ids = append(m.ids, s.id)
	case m.hasBytes:
		for _, b := range []byte(m.text[s.start:s.end]) {
			m.ids = append(m.ids, m.bytes[b])
		}
	default:
		unknown = true
		if !m.unknownBefore {
			m.ids = append(m.ids, m.unk)
		}
	}
	m.unknownBefore = unknown
}
