package packed

import "sync"

// What formats have in common several rows of which are unpacked from the same, such as words
// that are columns of a matrix, or have codes of several rows.

// blockwise is a matrix whose rows are unpacked from blocks, which are Ts.
type blockwise[T any] interface {
	comparable
	// rowBlocks returns how many rows the matrix has, and how many each block is of, but
	// the last, which may be of less.
	rowBlocks() (rows, each int64)
	// readBlock makes b, which was another block or is the zero T, that of n rows from row
	// first on.
	readBlock(b *T, first, n int64) error
}

// kept has the blocks that were used last. Who asks for rows, some at a time, often goes on
// in the same block.
type kept[M blockwise[T], T any] struct{ pool sync.Pool }

type keptBlock[M, T any] struct {
	of       M
	first, n int64
	block    T
}

// each calls use for n rows of a matrix from row first on: with each of the blocks, and which
// of its rows are asked for.
func (k *kept[M, T]) each(m M, first, n int64, use func(b *T, from, n int64) error) error {
	b, ok := k.pool.Get().(*keptBlock[M, T])
	if !ok {
		b = new(keptBlock[M, T])
	}
	defer k.pool.Put(b)
	var none M
	rows, each := m.rowBlocks()
	for row := first; row < first+n; {
		if b.of != m || row < b.first || row >= b.first+b.n {
			b.of, b.first = none, row-row%each
			b.n = min(each, rows-b.first)
			if err := m.readBlock(&b.block, b.first, b.n); err != nil {
				return err
			}
			b.of = m
		}
		some := min(first+n, b.first+b.n) - row
		if err := use(&b.block, row-b.first, some); err != nil {
			b.of = none
			return err
		}
		row += some
	}
	return nil
}
