package tokenizer

import "strings"

// merger encodes stretches of text that hold no special tokens.
type merger struct {
	*Tokenizer
	ids []int32

	text    string // being encoded, spaces spelled as in pieces
	symbols []symbol
	pairs   queue[pair]
}

// symbol is a part of the text: at first one character, later a piece. It is
// in a list with its neighbours; merging extends the left one and leaves the
// right one empty and out of the list.
type symbol struct {
	start, end int   // in the text
	prev, next int   // symbols, -1 at the ends
	id         int32 // the piece it was merged into, none for a character
}

// pair is a symbol and its right neighbour that together are a piece.
type pair struct {
	left  int
	size  int // bytes; if the two have another size by now, one was merged elsewhere
	id    int32
	score float32
}

func (p pair) before(q pair) bool {
	return p.score > q.score || p.score == q.score && p.left < q.left
}

// encode appends the ids of a stretch of text.
func (m *merger) encode(text string) {
	if text == "" {
		return
	}
	m.text = strings.ReplaceAll(text, " ", space)
	if m.addSpacePrefix {
		m.text = space + m.text
	}
	// Where no piece has a space after something else, nothing is merged
	// across the start of a word, and words can be encoded one by one.
	afterSpace := true
	unknownBefore := false
	for start := 0; start < len(m.text); {
		end := min(start+charLen(m.text[start]), len(m.text))
		isSpace := m.text[start:end] == space
		if m.wordwise && isSpace && !afterSpace {
			unknownBefore = m.flush(unknownBefore)
		}
		n := len(m.symbols)
		m.symbols = append(m.symbols, symbol{start: start, end: end, prev: n - 1, next: n + 1, id: none})
		afterSpace = isSpace
		start = end
	}
	m.flush(unknownBefore)
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

// flush merges the symbols, appends their ids and leaves none. It is told, and
// tells, whether the last id was of an unknown character.
func (m *merger) flush(unknownBefore bool) bool {
	m.symbols[len(m.symbols)-1].next = -1
	for i := range m.symbols {
		m.addPair(i, m.symbols[i].next)
	}
	for len(m.pairs) > 0 {
		p := m.pairs.pop()
		left := &m.symbols[p.left]
		if left.start == left.end || left.next < 0 {
			continue
		}
		right := &m.symbols[left.next]
		if right.end-left.start != p.size {
			continue
		}
		left.end, left.next, left.id = right.end, right.next, p.id
		right.start = right.end
		if left.next >= 0 {
			m.symbols[left.next].prev = p.left
		}
		m.addPair(left.prev, p.left)
		m.addPair(p.left, left.next)
	}
	for i := 0; i >= 0; i = m.symbols[i].next {
		unknownBefore = m.emit(&m.symbols[i], unknownBefore)
	}
	m.symbols = m.symbols[:0]
	return unknownBefore
}

// addPair queues two neighbouring symbols if they form a piece.
func (m *merger) addPair(left, right int) {
	if left < 0 || right < 0 {
		return
	}
	start, end := m.symbols[left].start, m.symbols[right].end
	if end-start > m.longest {
		return
	}
	if id, ok := m.mergeable[m.text[start:end]]; ok {
		m.pairs.push(pair{left, end - start, id, m.scores[id]})
	}
}

// emit appends the ids of a symbol.
func (m *merger) emit(s *symbol, unknownBefore bool) (isUnknown bool) {
	if s.id == none {
		if id, ok := m.mergeable[m.text[s.start:s.end]]; ok {
			s.id = id
		}
	}
	switch {
	case s.id != none:
		m.ids = append(m.ids, s.id)
	case m.hasBytes:
		for _, b := range []byte(m.text[s.start:s.end]) {
			m.ids = append(m.ids, m.bytes[b])
		}
	case unknownBefore:
		return true
	default:
		m.ids = append(m.ids, m.unk)
		return true
	}
	return false
}
