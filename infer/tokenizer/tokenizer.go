package tokenizer

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// space is how pieces spell a space: U+2581, lower one eighth block.
const space = "▁"

// none stands for a token that the vocabulary does not have.
const none int32 = -1

// Tokenizer is a vocabulary made ready for encoding and decoding.
type Tokenizer struct {
	pieces []string
	scores []float32
	types  []gguf.TokenType

	mergeable map[string]int32 // pieces that text can become
	longest   int              // bytes in the longest of them
	bytes     [256]int32       // byte tokens
	hasBytes  bool             // there is one for every byte
	wordwise  bool             // no mergeable piece has a space after something else

	bos, eos, unk  int32
	addBOS, addEOS bool
	addSpacePrefix bool
	always, parsed *specials // what Encode looks for in text, without and with ParseSpecial
}

// Options says what Encode does with special tokens.
type Options struct {
	// AddSpecial puts the beginning-of-sequence token first and the
	// end-of-sequence token last, each if the metadata asks for it.
	AddSpecial bool
	// ParseSpecial takes control and unknown tokens that are spelled out in
	// the text, such as "</s>", for these tokens. Without it they are text
	// like any other; user-defined tokens are recognized either way.
	ParseSpecial bool
}

// New makes a tokenizer of the tokenizer.ggml keys of a model's metadata. Keys
// that llama.cpp has defaults for (the special ids, add_bos_token,
// add_eos_token, add_space_prefix) may be absent. The error wraps
// [gguf.ErrNoKey] if another is, [gguf.ErrUnsupported] if the vocabulary is of
// another kind or wants text normalized, and [gguf.ErrCorrupt] if it
// contradicts itself.
func New(meta *gguf.Metadata) (*Tokenizer, error) {
	t, err := newTokenizer(meta)
	if err != nil {
		return nil, fmt.Errorf("vocabulary: %w", err)
	}
	return t, nil
}

func newTokenizer(meta *gguf.Metadata) (*Tokenizer, error) {
	if err := checkKind(meta); err != nil {
		return nil, err
	}
	t := &Tokenizer{}
	if err := t.loadPieces(meta); err != nil {
		return nil, err
	}
	if err := t.loadSpecial(meta); err != nil {
		return nil, err
	}
	return t, t.index()
}

// checkKind reports why the vocabulary is not one of SentencePiece's BPE
// without normalization.
func checkKind(meta *gguf.Metadata) error {
	model, err := gguf.Value[string](meta, "tokenizer.ggml.model")
	if err != nil {
		return err
	}
	if model != "llama" {
		return fmt.Errorf("%w: tokenizer.ggml.model is %q, only \"llama\" is known", gguf.ErrUnsupported, model)
	}
	if _, ok := meta.Get("tokenizer.ggml.precompiled_charsmap"); ok {
		return fmt.Errorf("%w: tokenizer.ggml.precompiled_charsmap asks for normalized text", gguf.ErrUnsupported)
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

func (t *Tokenizer) loadPieces(meta *gguf.Metadata) error {
	var err error
	if t.pieces, err = gguf.Value[[]string](meta, "tokenizer.ggml.tokens"); err != nil {
		return err
	}
	if t.scores, err = gguf.Value[[]float32](meta, "tokenizer.ggml.scores"); err != nil {
		return err
	}
	types, err := gguf.Value[[]int32](meta, "tokenizer.ggml.token_type")
	if err != nil {
		return err
	}
	n := len(t.pieces)
	if n == 0 || n > math.MaxInt32 {
		return fmt.Errorf("%w: tokenizer.ggml.tokens has %d tokens", gguf.ErrCorrupt, n)
	}
	if len(t.scores) != n || len(types) != n {
		return fmt.Errorf("%w: %d tokens have %d scores and %d types", gguf.ErrCorrupt, n, len(t.scores), len(types))
	}
	t.types = make([]gguf.TokenType, n)
	for id, typ := range types {
		t.types[id] = gguf.TokenType(typ)
		if t.types[id] < gguf.TokenNormal || t.types[id] > gguf.TokenByte {
			return fmt.Errorf("%w: token %d %q has unknown type %d", gguf.ErrCorrupt, id, t.pieces[id], typ)
		}
		if math.IsNaN(float64(t.scores[id])) {
			return fmt.Errorf("%w: token %d %q has score NaN", gguf.ErrCorrupt, id, t.pieces[id])
		}
	}
	return nil
}

func (t *Tokenizer) loadSpecial(meta *gguf.Metadata) error {
	for _, special := range []struct {
		key      string
		fallback int32
		id       *int32
	}{
		{"tokenizer.ggml.bos_token_id", 1, &t.bos},
		{"tokenizer.ggml.eos_token_id", 2, &t.eos},
		{"tokenizer.ggml.unknown_token_id", 0, &t.unk},
	} {
		id, err := meta.Uint(special.key)
		switch {
		case errors.Is(err, gguf.ErrNoKey):
			*special.id = special.fallback
			if int(special.fallback) >= len(t.pieces) {
				*special.id = none
			}
		case err != nil:
			return err
		case id >= uint64(len(t.pieces)):
			return fmt.Errorf("%w: %s is %d, there are %d tokens", gguf.ErrCorrupt, special.key, id, len(t.pieces))
		default:
			*special.id = int32(id)
		}
	}
	var err error
	if t.addBOS, err = valueOr(meta, "tokenizer.ggml.add_bos_token", true); err != nil {
		return err
	}
	if t.addEOS, err = valueOr(meta, "tokenizer.ggml.add_eos_token", false); err != nil {
		return err
	}
	if t.addSpacePrefix, err = valueOr(meta, "tokenizer.ggml.add_space_prefix", true); err != nil {
		return err
	}
	if t.addBOS && t.bos == none {
		return fmt.Errorf("%w: tokenizer.ggml.add_bos_token without a bos_token_id", gguf.ErrCorrupt)
	}
	if t.addEOS && t.eos == none {
		return fmt.Errorf("%w: tokenizer.ggml.add_eos_token without an eos_token_id", gguf.ErrCorrupt)
	}
	return nil
}

// index prepares what Encode looks things up in.
func (t *Tokenizer) index() error {
	t.mergeable = make(map[string]int32, len(t.pieces))
	var always, parsed []special
	t.wordwise = true
	for i := range t.bytes {
		t.bytes[i] = none
	}
	seen := make(map[string]int32, len(t.pieces))
	for i, piece := range t.pieces {
		id := int32(i)
		if piece == "" {
			continue // llama.cpp has models with such tokens; no text becomes one
		}
		if other, ok := seen[piece]; ok {
			return fmt.Errorf("%w: tokens %d and %d are both %q", gguf.ErrCorrupt, other, id, piece)
		}
		seen[piece] = id

		switch t.types[id] {
		case gguf.TokenByte:
			b, err := parseByte(piece)
			if err != nil {
				return fmt.Errorf("%w: token %d: %w", gguf.ErrCorrupt, id, err)
			}
			t.bytes[b] = id
		case gguf.TokenControl, gguf.TokenUnknown:
			parsed = append(parsed, special{piece, id})
		case gguf.TokenUserDefined:
			always = append(always, special{piece, id})
			parsed = append(parsed, special{piece, id})
			fallthrough
		case gguf.TokenNormal, gguf.TokenUnused:
			t.mergeable[piece] = id
			t.longest = max(t.longest, len(piece))
			if strings.Contains(strings.TrimLeft(piece, space), space) {
				t.wordwise = false
			}
		}
	}
	t.always, t.parsed = newSpecials(always), newSpecials(parsed)
	t.hasBytes = true
	for _, id := range t.bytes {
		t.hasBytes = t.hasBytes && id != none
	}
	if !t.hasBytes && t.unk == none {
		return fmt.Errorf("%w: there is neither a token for every byte nor an unknown token", gguf.ErrCorrupt)
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
	return 0, fmt.Errorf("byte token %q is not spelled like <0x0A>", piece)
}

// valueOr returns the value of key, or fallback if there is none.
func valueOr[T any](meta *gguf.Metadata, key string, fallback T) (T, error) {
	v, err := gguf.Value[T](meta, key)
	if errors.Is(err, gguf.ErrNoKey) {
		return fallback, nil
	}
	return v, err
}

// VocabSize returns the number of tokens; ids are less.
func (t *Tokenizer) VocabSize() int { return len(t.pieces) }

// BOS returns the id of the beginning-of-sequence token, -1 if there is none.
func (t *Tokenizer) BOS() int32 { return t.bos }

// EOS returns the id of the end-of-sequence token, -1 if there is none.
func (t *Tokenizer) EOS() int32 { return t.eos }

// AddsBOS reports whether AddSpecial puts a BOS token first.
func (t *Tokenizer) AddsBOS() bool { return t.addBOS }

// AddsEOS reports whether AddSpecial puts an EOS token last.
func (t *Tokenizer) AddsEOS() bool { return t.addEOS }

// Piece returns the token as the vocabulary spells it: "▁the", "<0x0A>",
// "<s>". It panics if there is no such id.
func (t *Tokenizer) Piece(id int32) string { return t.pieces[id] }

// AppendBytes appends the bytes of text that the token stands for, a space
// before a word included; nothing for control and unknown tokens. It panics if
// there is no such id.
func (t *Tokenizer) AppendBytes(dst []byte, id int32) []byte {
	piece := t.pieces[id]
	switch t.types[id] {
	case gguf.TokenControl, gguf.TokenUnknown:
		return dst
	case gguf.TokenByte:
		b, err := parseByte(piece)
		if err != nil {
			panic(err) // New has parsed it
		}
		return append(dst, b)
	case gguf.TokenUserDefined:
		return append(dst, piece...)
	}
	return append(dst, strings.ReplaceAll(piece, space, " ")...)
}

// Decode returns the text that Encode made ids of: control and unknown tokens
// leave nothing, and a space that Encode put before the text, or before text
// after a control or user-defined token, is removed. It panics if an id is not in the
// vocabulary.
func (t *Tokenizer) Decode(ids []int32) string {
	var text []byte
	first := true // the token begins a stretch of text
	for _, id := range ids {
		start := len(text)
		text = t.AppendBytes(text, id)
		switch t.types[id] {
		case gguf.TokenControl, gguf.TokenUserDefined:
			first = true
			continue
		case gguf.TokenNormal, gguf.TokenUnused:
			if first && t.addSpacePrefix && len(text) > start && text[start] == ' ' {
				text = append(text[:start], text[start+1:]...)
			}
		}
		first = false
	}
	return string(text)
}

// Encode returns the token ids of text. Bytes that are not UTF-8 become byte
// tokens, as llama.cpp cuts them.
func (t *Tokenizer) Encode(text string, opts Options) []int32 {
	m := merger{Tokenizer: t}
	if opts.AddSpecial && t.addBOS {
		m.ids = append(m.ids, t.bos)
	}
	specials := t.always
	if opts.ParseSpecial {
		specials = t.parsed
	}
	start := 0
	for _, s := range specials.find(text) {
		m.encode(text[start:s.start])
		m.ids = append(m.ids, s.id)
		start = s.end
	}
	m.encode(text[start:])
	if opts.AddSpecial && t.addEOS {
		m.ids = append(m.ids, t.eos)
	}
	return m.ids
}
