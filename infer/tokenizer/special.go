package tokenizer

import "slices"

// special is a token that is looked for in text.
type special struct {
	text string
	id   int32
}

// specials finds special tokens in text: Aho and Corasick's automaton (Efficient string
// matching, 1975). After each byte its state is the longest end of the text that a token begins with.
type specials struct {
	first  [256]int32     // state after a byte that a token begins with, else 0
	next   map[step]int32 // other states after a byte that goes on
	states []state        // the first is that of nothing
}

type step struct {
	state int32
	b     byte
}

type state struct {
	id      int32 // the token that it is, or none
	length  int32 // in bytes
	shorter int32 // the longest state that this ends with
	token   int32 // the longest shorter one that is a token, 0 if there is none
}

func newSpecials(tokens []special) *specials {
	s := &specials{next: make(map[step]int32), states: []state{{id: none}}}
	var from []step // how the states are reached, by number
	for _, t := range tokens {
		at := int32(0)
		for i := range len(t.text) {
			way := step{at, t.text[i]}
			next, ok := s.next[way]
			if !ok {
				next = int32(len(s.states))
				s.next[way] = next
				s.states = append(s.states, state{id: none, length: int32(i) + 1})
				from = append(from, way)
			}
			at = next
		}
		s.states[at].id = t.id
	}
	order := make([]int32, len(from))
	for i := range order {
		order[i] = int32(i) + 1
	}
	slices.SortStableFunc(order, func(a, b int32) int { return int(s.states[a].length - s.states[b].length) })
	for _, at := range order {
		way := from[at-1]
		if way.state == 0 {
			s.first[way.b] = at
			continue
		}
		shorter := s.after(s.states[way.state].shorter, way.b)
		s.states[at].shorter, s.states[at].token = shorter, s.token(shorter)
	}
	return s
}

// after returns the state after one more byte.
func (s *specials) after(at int32, b byte) int32 {
	for at != 0 {
		if next, ok := s.next[step{at, b}]; ok {
			return next
		}
		at = s.states[at].shorter
	}
	return s.first[b]
}

// token returns the longest state that is a token and that at is or ends with, 0 if there is none.
func (s *specials) token(at int32) int32 {
	if s.states[at].id == none {
		return s.states[at].token
	}
	return at
}

// occurrence is a token found in a text, at bytes [start, end).
type occurrence struct {
	start, end int
	state      int32
}

// before is the order in which occurrences claim their bytes: longer tokens
// before shorter ones, wherever they are, then from left to right
// (llama.cpp's tokenizer_st_partition).
func (o occurrence) before(p occurrence) bool {
	m, n := o.end-o.start, p.end-p.start
	return m > n || m == n && o.start < p.start
}

// id returns the token of an occurrence.
func (s *specials) id(o occurrence) int32 { return s.states[o.state].id }

// find returns the occurrences of tokens in text, from left to right.
func (s *specials) find(text string) []occurrence {
	var candidates queue[occurrence]
	add := func(end int, token int32) {
		if token != 0 {
			candidates.push(occurrence{end - int(s.states[token].length), end, token})
		}
	}
	at := int32(0)
	for i := range len(text) {
		if at = s.after(at, text[i]); at != 0 {
			add(i+1, s.token(at))
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	var found []occurrence
	taken := make([]int, len(text)) // the end of the occurrence that has claimed a byte
	for len(candidates) > 0 {
		o := candidates.pop()
		// What is taken is at least as long as o: it covers an end of o if it
		// touches o at all.
		switch {
		case taken[o.end-1] != 0:
		case taken[o.start] != 0:
			token := o.state
			for token != 0 && int(s.states[token].length) > o.end-taken[o.start] {
				token = s.states[token].token
			}
			add(o.end, token)
		default:
			found = append(found, o)
			for i := o.start; i < o.end; i++ {
				taken[i] = o.end
			}
		}
	}
	slices.SortFunc(found, func(a, b occurrence) int { return a.start - b.start })
	return found
}
