package pretoken

import (
	"cmp"
	"slices"
	"unicode"
)

// runes is a set of characters: the first and the last of each range, in order, with gaps
// between them.
type runes []rune

// class returns the characters of a class such as [a-z].
func class(expression string) runes {
	n, err := parse(expression)
	if err != nil {
		panic(err) // it is one of ours
	}
	return n.set
}

// normal sorts and joins ranges that are in any order.
func (s runes) normal() runes {
	ranges := make([][2]rune, len(s)/2)
	for i := range ranges {
		ranges[i] = [2]rune{s[2*i], s[2*i+1]}
	}
	slices.SortFunc(ranges, func(a, b [2]rune) int { return cmp.Compare(a[0], b[0]) })
	var set runes
	for _, r := range ranges {
		if n := len(set); n > 0 && r[0] <= set[n-1]+1 {
			set[n-1] = max(set[n-1], r[1])
		} else {
			set = append(set, r[0], r[1])
		}
	}
	return set
}

func (s runes) complement() runes {
	var set runes
	next := rune(0)
	for i := 0; i < len(s); i += 2 {
		if next < s[i] {
			set = append(set, next, s[i]-1)
		}
		next = s[i+1] + 1
	}
	if next <= unicode.MaxRune {
		set = append(set, next, unicode.MaxRune)
	}
	return set
}

func (s runes) negated(negated bool) runes {
	if negated {
		return s.complement()
	}
	return s
}

func (s runes) has(r rune) bool {
	i, ok := slices.BinarySearch(s, r)
	return ok || i%2 == 1 // an end of a range, or between its ends
}

// meets reports whether a character is in both sets.
func (s runes) meets(t runes) bool {
	for i, j := 0, 0; i < len(s) && j < len(t); {
		switch {
		case s[i+1] < t[j]:
			i += 2
		case t[j+1] < s[i]:
			j += 2
		default:
			return true
		}
	}
	return false
}

// within reports whether all characters are also in t.
func (s runes) within(t runes) bool { return !s.meets(t.complement()) }

// len returns the number of characters.
func (s runes) len() int {
	n := 0
	for i := 0; i < len(s); i += 2 {
		n += int(s[i+1]-s[i]) + 1
	}
	return n
}

// tables returns the characters of Unicode tables.
func tables(list ...*unicode.RangeTable) runes {
	var set runes
	add := func(low, high, stride rune) {
		if stride == 1 {
			set = append(set, low, high)
			return
		}
		for r := low; r <= high; r += stride {
			set = append(set, r, r)
		}
	}
	for _, t := range list {
		for _, r := range t.R16 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
		for _, r := range t.R32 {
			add(rune(r.Lo), rune(r.Hi), rune(r.Stride))
		}
	}
	return set.normal()
}
