package tokenizer

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/ggufkit/ggufkit/gguf"
)

// unigram is a vocabulary of SentencePiece's Unigram: of all ways to cut a text into pieces it
// takes the one whose scores, logarithms of probabilities, have the greatest sum (Kudo,
// Subword regularization, 2018).
type unigram struct {
	*Tokenizer
	scores         []float32
	charsmap       *charsmap // nil if characters stay as they are
	sorted         pieceList
	begin          [256]pieceList // those that begin with a byte
	bytes          [256]int32     // byte tokens
	hasBytes       bool           // there is one for every byte
	unknownScore   float64
	addSpacePrefix bool
	mergeSpaces    bool // runs of spaces are one, those around a text none
	wordwise       bool // no piece has a space after something else
}

// maxPiece is the length of a piece in bytes, far above that of real ones: encoding looks at
// so many bytes behind each character.
const maxPiece = 1 << 10

// unknownPenalty is how much worse than the worst piece an unknown character is.
const unknownPenalty = 10

func newUnigram(t *Tokenizer, meta *gguf.Metadata) (*unigram, error) {
	u := &unigram{Tokenizer: t, wordwise: true}
	var err error
	if u.scores, err = readScores(t, meta); err != nil {
		return nil, err
	}
	if u.addSpacePrefix, err = valueOr(meta, "tokenizer.ggml.add_space_prefix", true); err != nil {
		return nil, err
	}
	if u.mergeSpaces, err = valueOr(meta, "tokenizer.ggml.remove_extra_whitespaces", false); err != nil {
		return nil, err
	}
	blob, err := valueOr[[]uint8](meta, charsmapKey, nil)
	if err == nil && len(blob) > 0 {
		u.charsmap, err = newCharsmap(blob)
	}
	if err != nil {
		return nil, err
	}
	for i := range u.bytes {
		u.bytes[i] = none
	}
	worst := 0.0
	for i, piece := range t.pieces {
		id := int32(i)
		switch typ := t.types[id]; {
		case typ == gguf.TokenByte:
			b, err := parseByte(piece)
			if err != nil {
				return nil, fmt.Errorf("%w: tokenizer.ggml.tokens: token %d: %w", gguf.ErrCorrupt, id, err)
			}
			u.bytes[b] = id
		case typ == gguf.TokenControl || typ == gguf.TokenUnknown || piece == "":
		case len(piece) > maxPiece:
			return nil, fmt.Errorf("%w: tokenizer.ggml.tokens: piece %d has %d bytes, more than %d", gguf.ErrCorrupt, id, len(piece), maxPiece)
		default:
			u.sorted = append(u.sorted, special{piece, id})
			u.wordwise = u.wordwise && !strings.Contains(strings.TrimLeft(piece, space), space)
			if typ == gguf.TokenNormal {
				worst = min(worst, float64(u.scores[id]))
			}
		}
	}
	slices.SortFunc(u.sorted, func(a, b special) int { return strings.Compare(a.text, b.text) })
	for i := range u.begin {
		u.begin[i] = u.sorted.next(0, byte(i))
	}
	u.unknownScore = worst - unknownPenalty
	u.hasBytes = !slices.Contains(u.bytes[:], none)
	if !u.hasBytes && t.unk == none {
		return nil, fmt.Errorf("%w: tokenizer.ggml.tokens has neither a token for every byte nor an unknown token", gguf.ErrCorrupt)
	}
	return u, nil
}

// pieceList are pieces in the order of their bytes.
type pieceList []special

// next returns those of the list that have a byte at an index, of which all bytes before are the same.
func (l pieceList) next(at int, b byte) pieceList {
	byteAt := func(i int) int {
		if at >= len(l[i].text) {
			return -1
		}
		return int(l[i].text[at])
	}
	first := sort.Search(len(l), func(i int) bool { return byteAt(i) >= int(b) })
	l = l[first:]
	return l[:sort.Search(len(l), func(i int) bool { return byteAt(i) > int(b) })]
}

func (u *unigram) spacePrefix() bool { return u.addSpacePrefix }

func (u *unigram) appendBytes(dst []byte, id int32) []byte {
	return appendPiece(dst, u.pieces[id], u.types[id])
}

// normalize returns the text that pieces are looked for in, with spaces spelled as they do
// (Normalizer::Normalize in SentencePiece's normalizer.cc).
func (u *unigram) normalize(text string) string {
	if u.charsmap != nil {
		text = u.charsmap.normalize(text)
	}
	if u.mergeSpaces {
		text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' }), " ")
	}
	if text == "" {
		return ""
	}
	if u.addSpacePrefix {
		text = " " + text
	}
	text = strings.ReplaceAll(text, " ", space)
	if u.mergeSpaces { // at the end also those that the text spelled like this
		text = strings.TrimRight(text, space)
	}
	return text
}

func (u *unigram) encode(ids []int32, text string) []int32 {
	e := unigramEncoder{unigram: u, ids: ids}
	text = u.normalize(text)
	start := 0
	if u.wordwise {
		before := utf8.RuneError
		for at, r := range text {
			if r == '▁' && before != '▁' {
				e.encode(text[start:at])
				start = at
			}
			before = r
		}
	}
	e.encode(text[start:])
	return e.ids
}

// unigramEncoder encodes a text piece by piece.
type unigramEncoder struct {
	*unigram
	ids           []int32
	best          []way
	unknownBefore bool // the last id is of an unknown character
}

// way is the best way to cut a text up to a place.
type way struct {
	score float64
	from  int   // where its last piece begins
	id    int32 // the piece, or none if it is unknown; before any was found, unreached
}

const unreached = none - 1

func (e *unigramEncoder) encode(text string) {
	e.best = append(e.best[:0], way{id: none})
	for range len(text) {
		e.best = append(e.best, way{id: unreached})
	}
	offer := func(from, to int, score float64, id int32) {
		score += e.best[from].score
		if b := &e.best[to]; b.id == unreached || score > b.score {
			*b = way{score, from, id}
		}
	}
	for start := 0; start < len(text); {
		_, n := utf8.DecodeRuneInString(text[start:])
		character := false // is a piece
		list := e.begin[text[start]]
		for end := start + 1; len(list) > 0; end++ {
			if p := list[0]; len(p.text) == end-start {
				score := float64(e.scores[p.id])
				if e.types[p.id] == gguf.TokenUserDefined {
					score = 0
				}
				offer(start, end, score, p.id)
				character = character || end-start == n
			}
			if end == len(text) {
				break
			}
			list = list.next(end-start, text[end])
		}
		if !character {
			offer(start, start+n, e.unknownScore, none)
		}
		start += n
	}
	var ways []way
	for at := len(text); at > 0; at = e.best[at].from {
		ways = append(ways, e.best[at])
	}
	for i, w := range slices.Backward(ways) {
		end := len(text)
		if i > 0 {
			end = ways[i-1].from
		}
		e.emit(w.id, text[w.from:end])
	}
}

// emit appends the ids of a piece.
func (e *unigramEncoder) emit(id int32, text string) {
	switch {
	case id != none:
		e.ids = append(e.ids, id)
	case e.hasBytes:
		for _, b := range []byte(text) {
			e.ids = append(e.ids, e.bytes[b])
		}
	case !e.unknownBefore:
		e.ids = append(e.ids, e.unk)
	}
	e.unknownBefore = id == none && !e.hasBytes
}
