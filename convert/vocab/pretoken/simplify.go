package pretoken

import (
	"slices"
	"strings"
)

// simplify returns the canonical form of a whole expression.
func (n *node) simplify() *node {
	n = n.reduce()
	if n.op != opAlternatives {
		n = &node{op: opAlternatives, parts: []*node{n}}
	}
	for i, part := range n.parts {
		n.parts[i] = part.ending()
	}
	return (&node{op: opAlternatives, parts: withoutRest(n.parts)}).reduce()
}

// maxExpansion bounds what alternatives in sequences are expanded to.
const maxExpansion = 256

// reduce removes groups and counts that change nothing, and sorts what can be in any order.
func (n *node) reduce() *node {
	for i, part := range n.parts {
		n.parts[i] = part.reduce()
	}
	switch n.op {
	case opSequence:
		return n.reduceSequence()
	case opAlternatives:
		var parts []*node
		for _, part := range n.parts {
			if part.op == opAlternatives {
				parts = append(parts, part.parts...)
			} else {
				parts = append(parts, part)
			}
		}
		if parts = joinSets(sortTexts(parts)); len(parts) == 1 {
			return parts[0]
		}
		return &node{op: opAlternatives, parts: parts}
	case opRepeat:
		return n.reduceRepeat()
	case opAhead:
		return n.reduceAhead()
	}
	return n
}

// reduceSequence joins repetitions of one set, and expands alternatives after what is of
// one length: (a|b)c is ac|bc.
func (n *node) reduceSequence() *node {
	var parts []*node
	for _, part := range n.parts {
		if part.op == opSequence {
			parts = append(parts, part.parts...)
		} else {
			parts = append(parts, part)
		}
	}
	for i, part := range parts {
		if part.op != opAlternatives {
			if part.op != opSet {
				break
			}
			continue
		}
		if len(part.parts) > maxExpansion || i > maxExpansion {
			break
		}
		all := &node{op: opAlternatives}
		for _, choice := range part.parts {
			all.parts = append(all.parts, &node{op: opSequence, parts: slices.Concat(parts[:i], []*node{choice}, parts[i+1:])})
		}
		if size := all.size(); size > maxExpansion*8 {
			break
		}
		return all.reduce()
	}
	joined := &node{op: opSequence}
	for _, part := range parts {
		for k := len(joined.parts); k > 0; k-- {
			both := join(joined.parts[k-1], part)
			if both == nil {
				break
			}
			joined.parts, part = joined.parts[:k-1], both
		}
		joined.parts = append(joined.parts, part)
	}
	if len(joined.parts) == 1 {
		return joined.parts[0]
	}
	return joined
}

// size returns the number of nodes.
func (n *node) size() int {
	size := 1
	for _, part := range n.parts {
		size += part.size()
	}
	return size
}

// join returns the repetition that two of the same set after one another are, nil if they are not.
func join(a, b *node) *node {
	setA, minA, maxA, okA := a.greedy()
	setB, minB, maxB, okB := b.greedy()
	if !okA || !okB || !slices.Equal(setA, setB) || a.op == opSet && b.op == opSet {
		return nil // two single characters stay two
	}
	n := &node{op: opRepeat, parts: []*node{{set: setA}}, min: minA + minB, max: many}
	if maxA != many && maxB != many {
		n.max = maxA + maxB
	}
	return n
}

// greedy returns the set of a node that is a character or as many as possible of one set.
func (n *node) greedy() (set runes, least, most int, ok bool) {
	switch {
	case n.op == opSet:
		return n.set, 1, 1, true
	case n.op == opRepeat && n.mode == 0 && n.parts[0].op == opSet:
		return n.parts[0].set, n.min, n.max, true
	}
	return nil, 0, 0, false
}

// reduceRepeat makes one repetition of two, such as (a+)*, and none of {1}.
func (n *node) reduceRepeat() *node {
	inner := n.parts[0]
	simple := func(n *node) bool {
		return n.op == opRepeat && n.mode == 0 && n.min <= 1 && (n.max == many || n.max == 1)
	}
	switch {
	case n.min == 1 && n.max == 1 && n.mode != '+':
		return inner
	case simple(n) && simple(inner):
		m := &node{op: opRepeat, parts: inner.parts, min: min(n.min, inner.min), max: 1}
		if n.max == many || inner.max == many {
			m.max = many
		}
		return m
	case simple(n) && n.max == many && inner.op == opRepeat && inner.mode == 0 && inner.min == 1:
		return &node{op: opRepeat, parts: inner.parts, min: n.min, max: many}
	case n.min == n.max && n.min > 1 && n.mode != 0:
		n.mode = 0 // there is no choice
	}
	return n
}

// reduceAhead writes (?=[set]|$) as (?![^set]).
func (n *node) reduceAhead() *node {
	if of := n.parts[0]; n.mode == '=' && of.op == opAlternatives && len(of.parts) == 2 {
		for i, part := range of.parts {
			if other := of.parts[1-i]; part.op == opEnd && other.op == opSet && other.set.has('\n') {
				return &node{op: opAhead, mode: '!', parts: []*node{{set: other.set.complement()}}}
			}
		}
	}
	return n
}

// sortTexts sorts alternatives that are texts, as 's|'t|'re, if none begins with another: then only one
// can match. Sets are expanded, so that '[st] is the same.
func sortTexts(parts []*node) []*node {
	var sorted []*node
	for i := 0; i < len(parts); {
		var texts []string
		j := i
		for ; j < len(parts); j++ {
			more := parts[j].texts()
			if more == nil || len(texts)+len(more) > maxExpansion {
				break
			}
			texts = append(texts, more...)
		}
		if j == i {
			sorted = append(sorted, parts[i])
			i++
			continue
		}
		unique := slices.Compact(slices.Sorted(slices.Values(texts)))
		for k := 1; k < len(unique); k++ {
			if strings.HasPrefix(unique[k], unique[k-1]) {
				unique = nil
				break
			}
		}
		if unique != nil {
			texts = unique
		}
		for _, text := range texts {
			sorted = append(sorted, literal(text))
		}
		i = j
	}
	return sorted
}

// joinSets writes a|b as [ab].
func joinSets(parts []*node) []*node {
	var joined []*node
	for _, part := range parts {
		if k := len(joined) - 1; k >= 0 && part.op == opSet && joined[k].op == opSet {
			joined[k] = &node{set: slices.Concat(joined[k].set, part.set).normal()}
		} else {
			joined = append(joined, part)
		}
	}
	return joined
}

// texts returns what a node matches if that is a few texts, in the order of preference, else nil.
func (n *node) texts() []string {
	const few = 16
	switch n.op {
	case opSet:
		if n.set.len() > few {
			return nil
		}
		var list []string
		for i := 0; i < len(n.set); i += 2 {
			for r := n.set[i]; r <= n.set[i+1]; r++ {
				list = append(list, string(r))
			}
		}
		return list
	case opSequence:
		list := []string{""}
		for _, part := range n.parts {
			endings := part.texts()
			if endings == nil || len(list)*len(endings) > maxExpansion {
				return nil
			}
			var longer []string
			for _, text := range list {
				for _, ending := range endings {
					longer = append(longer, text+ending)
				}
			}
			list = longer
		}
		if len(n.parts) > 0 {
			return list
		}
	}
	return nil
}

func literal(text string) *node {
	n := &node{op: opSequence}
	for _, r := range text {
		n.parts = append(n.parts, &node{set: runes{r, r}})
	}
	if len(n.parts) == 1 {
		return n.parts[0]
	}
	return n
}

// ending simplifies what a match ends with: nothing has to be given back to what follows.
func (n *node) ending() *node {
	parts := []*node{n}
	if n.op == opSequence {
		parts = n.parts
	}
	parts = slices.Clone(parts)
	for i, part := range parts {
		if part.op == opRepeat && part.mode == '+' && part.parts[0].op == opSet && keeps(part.parts[0].set, parts[i+1:]) {
			parts[i] = &node{op: opRepeat, parts: part.parts, min: part.min, max: part.max}
		}
	}
	// S*T+ is S*T if T is in S: the first takes all, and gives the last T back.
	if k := len(parts) - 1; k > 0 {
		before, _, most, ok1 := parts[k-1].greedy()
		last, least, _, ok2 := parts[k].greedy()
		if ok1 && ok2 && most == many && least == 1 && last.within(before) {
			parts[k] = &node{set: last}
		}
	}
	return (&node{op: opSequence, parts: parts}).reduceSequence()
}

// keeps reports whether a repetition of a set that takes all it can could not help what follows by
// giving back: that matches anyway, or begins with something else.
func keeps(set runes, rest []*node) bool {
	for _, part := range rest {
		next, least, _, ok := part.greedy()
		if part.op == opRepeat && part.mode == '+' && part.parts[0].op == opSet {
			next, least, ok = part.parts[0].set, part.min, true
		}
		if !ok {
			return false
		}
		if least > 0 {
			return !next.meets(set)
		}
		if next.meets(set) {
			return optional(rest)
		}
	}
	return true
}

// optional reports whether all parts can match nothing.
func optional(parts []*node) bool {
	return !slices.ContainsFunc(parts, func(n *node) bool { return n.op != opRepeat || n.min > 0 })
}

// withoutRest writes \s+(?!\S)|\s+ as \s+(?!\S)|\s: where the first does not match there is only one.
func withoutRest(parts []*node) []*node {
	for i := 1; i < len(parts); i++ {
		before := parts[i-1]
		if before.op != opSequence || len(before.parts) != 2 {
			continue
		}
		set, least, most, ok := before.parts[0].greedy()
		ahead := before.parts[1]
		next, nextMin, _, nextOK := parts[i].greedy()
		if ok && least == 1 && most == many && nextOK && nextMin == 1 && slices.Equal(next, set) &&
			ahead.op == opAhead && ahead.mode == '!' && ahead.parts[0].op == opSet && slices.Equal(ahead.parts[0].set, set.complement()) {
			parts[i] = &node{set: set}
		}
	}
	return parts
}
