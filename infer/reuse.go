package infer

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// reuse keeps the rows that several models in lock-step make in one stage, a
// layer or the output, so that they are made once.
type reuse struct {
	size  int64 // bytes of arena
	arena []byte
	kept  map[rowsKey]*keptRows
}

// rowsKey identifies a matrix.
type rowsKey struct {
	id    any // RowsID of its tensor
	first int // row of the tensor at which it starts
}

// keptRows are the rows of a matrix, as far as they have been made.
type keptRows struct {
	data []byte
	made []bool // of each panel of kernel.TileCols rows
}

// sharedRows calls visit with every matrix that several of the models have, once. of
// lists the matrices of a model.
func sharedRows(models []*Model, of func(*Model) []*graph.Matrix, visit func(key rowsKey, w *graph.Matrix, bytes int)) {
	users := make(map[rowsKey]int)
	for _, m := range models {
		for _, w := range of(m) {
			id := gguf.RowsID(m.src, w.Tensor)
			if id == nil {
				continue
			}
			key := rowsKey{id, w.First}
			users[key]++
			if users[key] == 2 {
				visit(key, w, w.Rows*int(m.src.Tensors()[w.Tensor].RowBytes()))
			}
		}
	}
}

// newReuse returns one with room for what the models share in any of the stages,
// but not for more than limit bytes.
func newReuse(models []*Model, stages []func(*Model) []*graph.Matrix, limit int64) reuse {
	var most int64
	for _, of := range stages {
		var sum int64
		sharedRows(models, of, func(_ rowsKey, _ *graph.Matrix, bytes int) { sum += int64(bytes) })
		most = max(most, sum)
	}
	return reuse{size: min(most, limit)}
}

// begin forgets all rows and gets ready to keep those of a stage that fit.
func (r *reuse) begin(models []*Model, of func(*Model) []*graph.Matrix) {
	if r.size == 0 {
		return
	}
	r.kept = make(map[rowsKey]*keptRows)
	arena := sized(&r.arena, int(r.size))
	r.fitting(models, of, func(key rowsKey, w *graph.Matrix, at, bytes int) {
		panels := (w.Rows + kernel.TileCols - 1) / kernel.TileCols
		r.kept[key] = &keptRows{data: arena[at:][:bytes], made: make([]bool, panels)}
	})
}

// fitting calls visit with the matrices that are kept in a stage, and where: those that fit.
func (r *reuse) fitting(models []*Model, of func(*Model) []*graph.Matrix, visit func(key rowsKey, w *graph.Matrix, at, bytes int)) {
	at := 0
	sharedRows(models, of, func(key rowsKey, w *graph.Matrix, bytes int) {
		if int64(at+bytes) <= r.size {
			visit(key, w, at, bytes)
			at += bytes
		}
	})
}

// find returns where the rows of w are kept, nil if they are not.
func (r *reuse) find(m *Model, w *graph.Matrix) *keptRows {
	if len(r.kept) == 0 {
		return nil
	}
	return r.kept[rowsKey{gguf.RowsID(m.src, w.Tensor), w.First}]
}

// panel returns the n rows of w from first on, where a panel begins.
func (k *keptRows) panel(m *Model, w *graph.Matrix, first, n int) ([]byte, error) {
	rowBytes := len(k.data) / w.Rows
	raw := k.data[first*rowBytes:][:n*rowBytes]
	made := &k.made[first/kernel.TileCols]
	if *made {
		return raw, nil
	}
	m.addRead(int64(len(raw)))
	err := m.src.ReadRows(raw, w.Tensor, int64(w.First+first), int64(n))
	*made = err == nil
	return raw, err
}
