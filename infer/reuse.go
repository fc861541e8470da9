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

// stage is a part of the work in which models take turns.
type stage struct {
	matrices func(*Model) []*graph.Matrix // that a model takes in it
	uses     int                          // how often at least each is multiplied with
}

// layerStage is a layer: its matrices are multiplied with once.
func layerStage(layer int) stage {
	return stage{func(m *Model) []*graph.Matrix { return m.graph.Weights(layer) }, 1}
}

// outputStage is the output: its matrix is multiplied with for each group of positions, which may be many.
var outputStage = stage{func(m *Model) []*graph.Matrix { return []*graph.Matrix{&m.graph.Output} }, 2}

// sharedRows calls visit once with every matrix that is used several times in a stage.
func sharedRows(models []*Model, s stage, visit func(key rowsKey, w *graph.Matrix, bytes int)) {
	used := make(map[rowsKey]int)
	for _, m := range models {
		for _, w := range s.matrices(m) {
			id := gguf.RowsID(m.src, w.Tensor)
			if id == nil {
				continue
			}
			key := rowsKey{id, w.First}
			before := used[key]
			if used[key] += s.uses; before < 2 && used[key] >= 2 {
				visit(key, w, w.Rows*int(m.src.Tensors()[w.Tensor].RowBytes()))
			}
		}
	}
}

// newReuse returns one with room for what the models share in any of the stages,
// but not for more than limit bytes.
func newReuse(models []*Model, stages []stage, limit int64) reuse {
	var most int64
	for _, s := range stages {
		var sum int64
		sharedRows(models, s, func(_ rowsKey, _ *graph.Matrix, bytes int) { sum += int64(bytes) })
		most = max(most, sum)
	}
	return reuse{size: min(most, limit)}
}

// begin forgets all rows and gets ready to keep those of a stage that fit.
func (r *reuse) begin(models []*Model, s stage) {
	if r.size == 0 {
		return
	}
	r.kept = make(map[rowsKey]*keptRows)
	arena := sized(&r.arena, int(r.size))
	r.fitting(models, s, func(key rowsKey, w *graph.Matrix, at, bytes int) {
		panels := (w.Rows + kernel.TileCols - 1) / kernel.TileCols
		r.kept[key] = &keptRows{data: arena[at:][:bytes], made: make([]bool, panels)}
	})
}

// fitting calls visit with the matrices that are kept in a stage, and where: those that fit.
func (r *reuse) fitting(models []*Model, s stage, visit func(key rowsKey, w *graph.Matrix, at, bytes int)) {
	at := 0
	sharedRows(models, s, func(key rowsKey, w *graph.Matrix, bytes int) {
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
