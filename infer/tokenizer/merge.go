package tokenizer

// symbols is a text that is being merged: a list of its parts. The zero value is
// ready for use.
type symbols struct {
	list  []symbol
	pairs queue[pair]
}

// symbol is a part of the text: at first one character, later a piece. It is
// in a list with its neighbours; merging extends the left one and leaves the
// right one empty and out of the list.
type symbol struct {
	start, end int   // in the text
	prev, next int   // symbols, -1 at the ends
	id         int32 // the piece it is, or none
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

// joiner tells which piece two neighbouring symbols are together, and how soon
// they are to be merged: those of the highest score first.
type joiner interface {
	join(left, right *symbol) (id int32, score float32, ok bool)
}

// add appends a symbol.
func (s *symbols) add(start, end int, id int32) {
	n := len(s.list)
	s.list = append(s.list, symbol{start: start, end: end, prev: n - 1, next: n + 1, id: id})
}

// merge merges the symbols that were added until no neighbours form a piece,
// calls visit with what is left, from left to right, and removes it.
func (s *symbols) merge(j joiner, visit func(*symbol)) {
	if len(s.list) == 0 {
		return
	}
	s.list[len(s.list)-1].next = -1
	for i := range s.list {
		s.addPair(j, i, s.list[i].next)
	}
	for len(s.pairs) > 0 {
		p := s.pairs.pop()
		left := &s.list[p.left]
		if left.start == left.end || left.next < 0 {
			continue
		}
		right := &s.list[left.next]
		if right.end-left.start != p.size {
			continue
		}
		left.end, left.next, left.id = right.end, right.next, p.id
		right.start = right.end
		if left.next >= 0 {
			s.list[left.next].prev = p.left
		}
		s.addPair(j, left.prev, p.left)
		s.addPair(j, p.left, left.next)
	}
	for i := 0; i >= 0; i = s.list[i].next {
		visit(&s.list[i])
	}
	s.list = s.list[:0]
}

// addPair queues two neighbouring symbols if they form a piece.
func (s *symbols) addPair(j joiner, left, right int) {
	if left < 0 || right < 0 {
		return
	}
	if id, score, ok := j.join(&s.list[left], &s.list[right]); ok {
		s.pairs.push(pair{left, s.list[right].end - s.list[left].start, id, score})
	}
}
