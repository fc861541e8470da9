package tokenizer

import (
	"slices"
	"sort"
	"strings"
)

// specials finds special tokens in text.
type specials struct {
	tokens []special // sorted by text
	starts [256]bool // bytes that a token begins with
}

type special struct {
	text string
	id   int32
}

func newSpecials(tokens []special) *specials {
	s := &specials{tokens: tokens}
	slices.SortFunc(s.tokens, func(a, b special) int { return strings.Compare(a.text, b.text) })
	for _, t := range tokens {
		s.starts[t.text[0]] = true
	}
	return s
}

// occurrence is a token found in a text, at bytes [start, end).
type occurrence struct {
	start, end int
	id         int32
}

// before is the order in which occurrences claim their bytes: longer tokens
// before shorter ones, wherever they are, then from left to right
// (llama.cpp's tokenizer_st_partition).
func (o occurrence) before(p occurrence) bool {
	m, n := o.end-o.start, p.end-p.start
	return m > n || m == n && o.start < p.start
}

// find returns the occurrences of tokens in text, from left to right.
func (s *specials) find(text string) []occurrence {
	var candidates queue[occurrence]
	for i := range len(text) {
		if s.starts[text[i]] {
			if o, ok := s.longest(text, i, len(text)); ok {
				candidates.push(o)
			}
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	var found []occurrence
	taken := make([]bool, len(text))
	for len(candidates) > 0 {
		o := candidates.pop()
		// What is taken is at least as long as o: it covers an end of o if it
		// touches o at all.
		switch {
		case taken[o.start]:
		case taken[o.end-1]:
			end := o.start + slices.Index(taken[o.start:o.end], true)
			if shorter, ok := s.longest(text, o.start, end); ok {
				candidates.push(shorter)
			}
		default:
			found = append(found, o)
			for i := o.start; i < o.end; i++ {
				taken[i] = true
			}
		}
	}
	slices.SortFunc(found, func(a, b occurrence) int { return a.start - b.start })
	return found
}

// longest returns the longest token that text[start:end] begins with.
func (s *specials) longest(text string, start, end int) (o occurrence, ok bool) {
	// match holds the tokens that begin with text[start:i].
	match := s.tokens
	for i := start; ; i++ {
		if len(match) > 0 && len(match[0].text) == i-start {
			o, ok = occurrence{start, i, match[0].id}, true
			match = match[1:]
		}
		if i == end || len(match) == 0 {
			return o, ok
		}
		depth, b := i-start, text[i]
		match = match[sort.Search(len(match), func(k int) bool { return match[k].text[depth] >= b }):]
		match = match[:sort.Search(len(match), func(k int) bool { return match[k].text[depth] > b })]
	}
}
