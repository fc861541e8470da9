package tokenizer

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/gguf"
)

// none stands for a token that the vocabulary does not have.
const none int32 = -1

// Tokenizer is a vocabulary made ready for encoding and decoding.
type Tokenizer struct {
	pieces []string
	types  []gguf.TokenType
	vocab  vocabulary

	bos, eos, unk  int32
	addBOS, addEOS bool
	always, parsed *specials // what Encode looks for in text, without and with ParseSpecial
}

// vocabulary is what kinds of vocabularies differ in.
type vocabulary interface {
	// encode appends the ids of text without special tokens.
	encode(ids []int32, text string) []int32
	// appendBytes appends the bytes that a token stands for, which is not
	// control, unknown or user-defined.
	appendBytes(dst []byte, id int32) []byte
	// spacePrefix reports whether encode puts a space before the text.
	spacePrefix() bool
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
	model, err := gguf.Value[string](meta, "tokenizer.ggml.model")
	if err != nil {
		return nil, err
	}
	t := &Tokenizer{}
	fallback, ok := defaults[model]
	if !ok {
		known := slices.Sorted(maps.Keys(defaults))
		return nil, fmt.Errorf("%w: tokenizer.ggml.model is %.80q, not one of %s", gguf.ErrUnsupported, model, strings.Join(known, ", "))
	}
	if err := t.loadPieces(meta); err != nil {
		return nil, err
	}
	if model == "bert" { // of which a separator ends texts
		if id, err := meta.Uint("tokenizer.ggml.seperator_token_id"); err == nil && id < uint64(len(t.pieces)) { //nolint:misspell // so it is in the format
			fallback.eos = int32(id)
		}
	}
	if err := t.loadSpecialIDs(meta, fallback); err != nil {
		return nil, err
	}
	if err := t.index(model == "bert"); err != nil {
		return nil, err
	}
	added := affixes{bos: fallback.addBOS, eos: fallback.addEOS}
	pre, _ := gguf.Value[string](meta, "tokenizer.ggml.pre")
	if model == "gemma4" {
		pre = model
	}
	characters, onCharacters := pretoken.OnCharacters[pre]
	switch {
	case model == "llama":
		t.vocab, err = newSentencePiece(t, meta)
	case model == "t5":
		t.vocab, err = newUnigram(t, meta)
	case model == "bert":
		t.vocab, err = newWordPiece(t, meta)
	case onCharacters:
		added.always = characters.AlwaysBOS
		t.vocab, err = newGemma4(t, meta, characters.Lines)
	default:
		var b *byteLevel
		if b, err = newByteLevel(t, meta); err == nil {
			t.vocab, added.bos = b, b.AddBOS
		}
	}
	if err != nil {
		return nil, err
	}
	return t, t.loadAdded(meta, added)
}

// specialIDs are the ids of tokens with roles, and whether they are added to a text.
type specialIDs struct {
	bos, eos, unk  int32
	addBOS, addEOS bool
}

// defaults has what llama.cpp takes for each tokenizer.ggml.model where the metadata does not
// say it.
var defaults = map[string]specialIDs{
	"llama":  {bos: 1, eos: 2, unk: 0, addBOS: true},
	"gpt2":   {bos: none, eos: none, unk: none},
	"gemma4": {bos: none, eos: none, unk: none},
	"bert":   {bos: 101, eos: 102, unk: 100, addBOS: true, addEOS: true},
	"t5":     {bos: none, eos: 1, unk: 2, addEOS: true},
}

// affixes says which tokens are added to a text, where the metadata does not say it, and
// whether BOS is whatever it says.
type affixes struct{ bos, eos, always bool }

func (t *Tokenizer) loadPieces(meta *gguf.Metadata) error {
	var err error
	if t.pieces, err = gguf.Value[[]string](meta, "tokenizer.ggml.tokens"); err != nil {
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
	if len(types) != n {
		return fmt.Errorf("%w: tokenizer.ggml.token_type has %d types for the %d tokens of tokenizer.ggml.tokens", gguf.ErrCorrupt, len(types), n)
	}
	t.types = make([]gguf.TokenType, n)
	for id, typ := range types {
		t.types[id] = gguf.TokenType(typ)
		if t.types[id] < gguf.TokenNormal || t.types[id] > gguf.TokenByte {
			return fmt.Errorf("%w: tokenizer.ggml.token_type: token %d %.80q has unknown type %d", gguf.ErrCorrupt, id, t.pieces[id], typ)
		}
	}
	return nil
}

func (t *Tokenizer) loadSpecialIDs(meta *gguf.Metadata, fallback specialIDs) error {
	for _, special := range []struct {
		key      string
		fallback int32
		id       *int32
	}{
		{"tokenizer.ggml.bos_token_id", fallback.bos, &t.bos},
		{"tokenizer.ggml.eos_token_id", fallback.eos, &t.eos},
		{"tokenizer.ggml.unknown_token_id", fallback.unk, &t.unk},
	} {
		id, err := meta.Uint(special.key)
		switch {
		case err != nil && !errors.Is(err, gguf.ErrNoKey):
			return err
		case err == nil && id < uint64(len(t.pieces)):
			*special.id = int32(id)
		case int(special.fallback) < len(t.pieces): // also instead of an id that no token has, as in llama.cpp
			*special.id = special.fallback
		default:
			*special.id = none
		}
	}
	return nil
}

// loadAdded finds out what is added to a text.
func (t *Tokenizer) loadAdded(meta *gguf.Metadata, added affixes) error {
	var err error
	if t.addBOS, err = valueOr(meta, "tokenizer.ggml.add_bos_token", added.bos); err != nil {
		return err
	}
	t.addBOS = t.addBOS || added.always
	if t.addEOS, err = valueOr(meta, "tokenizer.ggml.add_eos_token", added.eos); err != nil {
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

// The length of a token that is looked for in text and that of all such tokens: far above real ones.
const (
	maxSpecial    = 1 << 10
	maxAllSpecial = 1 << 23
)

// index prepares what Encode looks special tokens up in. Those of WordPiece that begin a word have a ▁
// that text has not.
func (t *Tokenizer) index(wordPiece bool) error {
	var always, parsed []special
	seen := make(map[string]int32, len(t.pieces))
	for i, piece := range t.pieces {
		id := int32(i)
		if piece == "" {
			continue // llama.cpp has models with such tokens; no text becomes one
		}
		if other, ok := seen[piece]; ok {
			return fmt.Errorf("%w: tokenizer.ggml.tokens: %d and %d are both %.80q", gguf.ErrCorrupt, other, id, piece)
		}
		seen[piece] = id
		if wordPiece {
			piece = strings.TrimPrefix(piece, space)
		}
		switch typ := t.types[id]; {
		case typ != gguf.TokenControl && typ != gguf.TokenUnknown && typ != gguf.TokenUserDefined:
		case len(piece) > maxSpecial:
			return fmt.Errorf("%w: tokenizer.ggml.tokens: special token %d has %d bytes, more than %d", gguf.ErrCorrupt, id, len(piece), maxSpecial)
		case typ != gguf.TokenUserDefined:
			parsed = append(parsed, special{piece, id})
		default:
			always = append(always, special{piece, id})
			parsed = append(parsed, special{piece, id})
		}
	}
	bytes := 0
	for _, s := range parsed {
		bytes += len(s.text)
	}
	if bytes > maxAllSpecial {
		return fmt.Errorf("%w: tokenizer.ggml.tokens: special tokens have %d bytes together, more than %d", gguf.ErrCorrupt, bytes, maxAllSpecial)
	}
	t.always, t.parsed = newSpecials(always), newSpecials(parsed)
	return nil
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

// BeginsWithBOS reports whether a text spells the BOS token out: a second one in front would be one too many.
func (t *Tokenizer) BeginsWithBOS(text string) bool {
	return t.bos >= 0 && strings.HasPrefix(text, t.pieces[t.bos])
}

// AddsEOS reports whether AddSpecial puts an EOS token last.
func (t *Tokenizer) AddsEOS() bool { return t.addEOS }

// Piece returns the token as the vocabulary spells it: "▁the", "<0x0A>",
// "<s>". It panics if there is no such id.
func (t *Tokenizer) Piece(id int32) string { return t.pieces[id] }

// AppendBytes appends the bytes of text that the token stands for, a space
// before a word included; nothing for control and unknown tokens. It panics if
// there is no such id.
func (t *Tokenizer) AppendBytes(dst []byte, id int32) []byte {
	switch t.types[id] {
	case gguf.TokenControl, gguf.TokenUnknown:
		return dst
	case gguf.TokenUserDefined:
		return append(dst, t.pieces[id]...)
	}
	return t.vocab.appendBytes(dst, id)
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
			if first && t.vocab.spacePrefix() && len(text) > start && text[start] == ' ' {
				text = append(text[:start], text[start+1:]...)
			}
		}
		first = false
	}
	return string(text)
}

// Encode returns the token ids of text. Bytes that are not UTF-8 become tokens of
// bytes, where the vocabulary has such tokens.
func (t *Tokenizer) Encode(text string, opts Options) []int32 {
	var ids []int32
	if opts.AddSpecial && t.addBOS {
		ids = append(ids, t.bos)
	}
	specials := t.always
	if opts.ParseSpecial {
		specials = t.parsed
	}
	start := 0
	for _, o := range specials.find(text) {
		ids = append(t.vocab.encode(ids, text[start:o.start]), specials.id(o))
		start = o.end
	}
	ids = t.vocab.encode(ids, text[start:])
	if opts.AddSpecial && t.addEOS {
		ids = append(ids, t.eos)
	}
	return ids
}
