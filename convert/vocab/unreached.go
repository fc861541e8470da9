package vocab

import (
	"strings"
	"unicode/utf8"

	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
)

// maxMerged is well above the length of tokens in use (spaces, 512).
const maxMerged = 1 << 11

// unreached returns a token that p cuts off as a word and merges do not make of its bytes. It is reached
// all the same where merges are ignored (ignore_merges). Empty if there is none, as in vocabularies made of
// tiktoken's: then ignoring merges changes nothing.
func (m *bytePairs) unreached(tokens []string, p *pretoken.PreTokenizer) string {
	merges := make(map[[2]int64]merged, len(m.Merges))
	for rank, text := range m.Merges {
		left, right, _ := strings.Cut(text, " ")
		leftID, ok1 := m.Vocab[left]
		rightID, ok2 := m.Vocab[right]
		id, ok3 := m.Vocab[left+right]
		if pair := [2]int64{leftID, rightID}; ok1 && ok2 && ok3 {
			if _, known := merges[pair]; !known {
				merges[pair] = merged{id, rank}
			}
		}
	}
	for _, text := range tokens {
		if id, ok := m.Vocab[text]; ok && isWord(text, p) && !m.reaches(text, id, merges) {
			return text
		}
	}
	return ""
}

// merged is what a pair of tokens becomes, and its place in the list of merges.
type merged struct {
	id   int64
	rank int
}

// isWord reports whether a token spells one word of UTF-8.
func isWord(token string, p *pretoken.PreTokenizer) bool {
	var word []byte
	for _, r := range token {
		b, ok := pretoken.ByteOf(r)
		if !ok {
			return false
		}
		word = append(word, b)
	}
	words := 0
	p.Split(string(word), func(string) { words++ })
	return words == 1 && utf8.Valid(word)
}

// reaches reports whether merges make a token of its bytes.
func (m *bytePairs) reaches(text string, want int64, merges map[[2]int64]merged) bool {
	if len(text) > maxMerged {
		return false
	}
	var ids []int64
	for _, r := range text {
		id, ok := m.Vocab[string(r)]
		if !ok {
			return false
		}
		ids = append(ids, id)
	}
	const none = int(^uint(0) >> 1)
	next := make([]merged, len(ids)) // what each becomes with the one after it
	look := func(i int) {
		if i < 0 || i >= len(ids) {
			return
		}
		next[i].rank = none
		if i+1 < len(ids) {
			if merge, ok := merges[[2]int64{ids[i], ids[i+1]}]; ok {
				next[i] = merge
			}
		}
	}
	for i := range ids {
		look(i)
	}
	for len(ids) > 1 {
		best := 0
		for i := range ids {
			if next[i].rank < next[best].rank {
				best = i
			}
		}
		if next[best].rank == none {
			return false
		}
		ids[best] = next[best].id
		ids = append(ids[:best+1], ids[best+2:]...)
		next = append(next[:best+1], next[best+2:]...)
		look(best - 1)
		look(best)
	}
	return ids[0] == want
}
