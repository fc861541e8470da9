package tokenizer

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ggufkit/ggufkit/gguf"
)

// gemma4 is a vocabulary of BPE on characters, Gemma 4's: spaces become ▁, a text is at
// first its characters, those that are no token their bytes, and neighbours are merged in the
// order of a list. Nothing is cut into words.
type gemma4 struct {
	*Tokenizer
	merges         map[[2]int32]merge
	ids            map[string]int32 // of tokens that text can become
	bytes          [256]int32       // byte tokens
	byteOf         map[int32]byte
	wordwise       bool // no merge makes a token with a space after something else
	linewise       bool // no merge makes a token of line ends and something else
	addSpacePrefix bool
	prefixLines    bool // also lines that begin with something else
}

func newGemma4(t *Tokenizer, meta *gguf.Metadata, prefixLines bool) (*gemma4, error) {
	g := &gemma4{Tokenizer: t, ids: make(map[string]int32, len(t.pieces)), byteOf: make(map[int32]byte), wordwise: true, linewise: true, prefixLines: prefixLines}
	for i := range g.bytes {
		g.bytes[i] = none
	}
	for i, piece := range t.pieces {
		id := int32(i)
		if typ := t.types[id]; typ == gguf.TokenControl || typ == gguf.TokenUnknown {
			continue
		}
		if b, err := parseByte(piece); err == nil {
			g.bytes[b], g.byteOf[id] = id, b
		}
		g.ids[strings.ReplaceAll(piece, " ", space)] = id // as text has them
	}
	var err error
	if g.merges, err = readMerges(meta, g.ids); err != nil {
		return nil, err
	}
	for _, m := range g.merges {
		piece := t.pieces[m.id]
		g.wordwise = g.wordwise && !strings.Contains(strings.TrimLeft(piece, space), space)
		lines := strings.Count(piece, "\n")
		g.linewise = g.linewise && (lines == 0 || lines == len(piece))
	}
	g.linewise = g.linewise || prefixLines
	g.addSpacePrefix, err = valueOr(meta, "tokenizer.ggml.add_space_prefix", false)
	return g, err
}

func (g *gemma4) spacePrefix() bool { return g.addSpacePrefix || g.prefixLines }

func (g *gemma4) appendBytes(dst []byte, id int32) []byte {
	if b, ok := g.byteOf[id]; ok {
		return append(dst, b)
	}
	return append(dst, strings.ReplaceAll(g.pieces[id], space, " ")...)
}

// lineStarts are the starts of lines that are not empty and begin with no space.
var lineStarts = regexp.MustCompile(`(^|\n)([^\n▁])`)

func (g *gemma4) encode(ids []int32, text string) []int32 {
	if text == "" {
		return ids
	}
	text = strings.ReplaceAll(text, " ", space)
	switch {
	case g.prefixLines:
		text = lineStarts.ReplaceAllString(text, "${1}"+space+"${2}")
	case g.addSpacePrefix:
		text = space + text
	}
	var s symbols
	first := len(ids)
	emit := func(s *symbol) {
		// A run of unknown characters is one token.
		if s.id != none && (s.id != g.unk || len(ids) == first || ids[len(ids)-1] != g.unk) {
			ids = append(ids, s.id)
		}
	}
	before := utf8.RuneError
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRuneInString(text[at:])
		switch {
		case g.wordwise && r == '▁' && before != '▁', g.linewise && (r == '\n') != (before == '\n'):
			s.merge(g, emit)
		}
		before = r
		g.add(&s, text, at, at+n)
		at += n
	}
	s.merge(g, emit)
	return ids
}

// add adds a character, or its bytes.
func (g *gemma4) add(s *symbols, text string, start, end int) {
	if id, ok := g.ids[text[start:end]]; ok {
		s.add(start, end, id)
		return
	}
	known := func(b byte) bool { return g.bytes[b] != none }
	if !slices.ContainsFunc([]byte(text[start:end]), func(b byte) bool { return !known(b) }) {
		for i := start; i < end; i++ {
			s.add(i, i+1, g.bytes[text[i]])
		}
		return
	}
	s.add(start, end, g.unk)
}

// join implements joiner.
func (g *gemma4) join(left, right *symbol) (id int32, score float32, ok bool) {
	m, ok := g.merges[[2]int32{left.id, right.id}]
	return m.id, m.score, ok
}
