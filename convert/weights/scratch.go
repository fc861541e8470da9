package weights

import (
	"slices"
	"sync"
)

// scratch keeps slices for rows on their way.
type scratch[T any] struct{ pool sync.Pool }

var (
	floats scratch[float32]
	raw    scratch[byte]
)

// get returns a slice of the given length, whose values are of no meaning.
func (s *scratch[T]) get(n int64) *[]T {
	buf, ok := s.pool.Get().(*[]T)
	if !ok {
		buf = new([]T)
	}
	*buf = slices.Grow((*buf)[:0], int(n))[:n]
	return buf
}

func (s *scratch[T]) put(buf *[]T) { s.pool.Put(buf) }
