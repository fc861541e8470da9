package tokenizer

// queue is a binary heap that yields the item that comes before all others.
// (container/heap allocates for every item.)
type queue[T ordered[T]] []T

type ordered[T any] interface {
	before(T) bool
}

func (q *queue[T]) push(item T) {
	*q = append(*q, item)
	h := *q
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (q *queue[T]) pop() T {
	h := *q
	item, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	*q = h
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return item
		}
		if child+1 < last && h[child+1].before(h[child]) {
			child++
		}
		if !h[child].before(h[i]) {
			return item
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
