package infer

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// worker is the memory one goroutine of a pass works in. Its buffers grow to
// the largest use and stay.
type worker struct {
	raw                    []byte        // rows as the Source stores them
	rows                   []float32     // the same, dequantized
	pairs                  []kernel.Pair // the same, or activations, as bfloat16
	keys, values           []float32     // packed, of one head
	gathered               []float32     // the same of several chunks, before they are packed
	query, scores, weights []float32
	out                    []float32
	queue                  []uint64  // positions by the scores of an indexer
	state                  []float32 // what a recurrence remembers of a part
}

// sized returns buf with n elements, whose values are not defined.
func sized[T any](buf *[]T, n int) []T {
	if cap(*buf) < n {
		*buf = make([]T, n)
	}
	*buf = (*buf)[:n]
	return *buf
}

// parallel calls f once for each of n tasks, on as many goroutines as there
// are workers, and returns the first error.
func parallel(ctx context.Context, workers []worker, n int, f func(w *worker, task int) error) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for i := range workers[:min(len(workers), n)] {
		g.Go(func() error {
			for {
				task := int(next.Add(1)) - 1
				if task >= n {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := f(&workers[i], task); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// stretches calls f for [0, n) cut into stretches of a size, in parallel.
func stretches(ctx context.Context, workers []worker, n, size int, f func(first, end int)) error {
	return parallel(ctx, workers, (n+size-1)/size, func(_ *worker, task int) error {
		f(task*size, min(n, (task+1)*size))
		return nil
	})
}
