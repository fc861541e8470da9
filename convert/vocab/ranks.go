package vocab

import (
	"cmp"
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
)

// byteRanks are tokens, as bytes, and their ranks.
type byteRanks map[string]int

// lacking returns a byte that is no token, empty if all are.
func (ranks byteRanks) lacking() string {
	for b := range 256 {
		text := string([]byte{byte(b)})
		if _, ok := ranks[text]; !ok {
			return text
		}
	}
	return ""
}

// last returns the two tokens that a token is merged of when those of lower ranks have been, if two are left.
func (ranks byteRanks) last(text string, rank int) (left, right string, ok bool) {
	starts := make([]int, len(text)+1) // of the parts, and the end
	for i := range starts {
		starts[i] = i
	}
	next := make([]int, len(text)) // the rank of each part with the one after it
	look := func(i int) {
		next[i] = rank
		if i+2 < len(starts) {
			if r, ok := ranks[text[starts[i]:starts[i+2]]]; ok && r < rank {
				next[i] = r
			}
		}
	}
	for i := range next {
		look(i)
	}
	for len(next) > 2 {
		best := 0
		for i, r := range next {
			if r < next[best] {
				best = i
			}
		}
		if next[best] == rank {
			return "", "", false
		}
		starts = slices.Delete(starts, best+1, best+2)
		next = slices.Delete(next, best, best+1)
		look(best)
		if best > 0 {
			look(best - 1)
		}
	}
	if len(next) < 2 {
		return "", "", false
	}
	return text[:starts[1]], text[starts[1]:], true
}

// pairs returns the pairs of tokens that make a token, as merges: those of the lowest ranks first.
func (ranks byteRanks) pairs(text string) []string {
	type pair struct{ left, right int }
	var list []pair
	at := make(map[pair]int)
	for i := 1; i < len(text) && len(text) <= longestMerge; i++ {
		left, ok1 := ranks[text[:i]]
		right, ok2 := ranks[text[i:]]
		if ok1 && ok2 {
			list = append(list, pair{left, right})
			at[pair{left, right}] = i
		}
	}
	slices.SortFunc(list, func(a, b pair) int { return cmp.Or(a.left-b.left, a.right-b.right) })
	merges := make([]string, len(list))
	for i, p := range list {
		merges[i] = bytesToRunes(text[:at[p]]) + " " + bytesToRunes(text[at[p]:])
	}
	return merges
}

// bytesToRunes spells bytes as byte-level vocabularies do.
func bytesToRunes(text string) string {
	runes := make([]rune, len(text))
	for i := range len(text) {
		runes[i] = pretoken.ByteRunes[text[i]]
	}
	return string(runes)
}
