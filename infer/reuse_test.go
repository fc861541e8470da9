package infer_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer"
)

// made is a source that says that its tensors are made of a recipe, by name, and
// counts how often their rows are.
type made struct {
	*source
	recipe map[string]string
	mu     sync.Mutex
	rows   map[string]int64
}

func (m *made) RowsID(tensor int) any {
	name := m.tensors[tensor].Name
	if recipe := m.recipe[name]; recipe != "" {
		return name + " by " + recipe
	}
	return nil
}

func (m *made) ReadRows(dst []byte, tensor int, first, n int64) error {
	m.mu.Lock()
	m.rows[m.tensors[tensor].Name] += n
	m.mu.Unlock()
	return m.source.ReadRows(dst, tensor, first, n)
}

func TestLockstepMakesSharedRowsOnce(t *testing.T) {
	s := small
	s.experts, s.used = 4, 2
	src := s.build(1)
	chunks := s.chunks(30, 7, 11)
	want := forward(t, src, infer.Options{}, chunks, 0)

	run := func(memory int64) []*made {
		var sources []*made
		var models []*infer.Model
		for range 3 {
			m := &made{source: src, rows: make(map[string]int64), recipe: map[string]string{
				"blk.0.attn_q.weight":        "a",
				"blk.1.ffn_down_exps.weight": "a",
				"output.weight":              "a",
			}}
			sources = append(sources, m)
		}
		sources[2].recipe = map[string]string{"blk.1.ffn_down_exps.weight": "b", "output.weight": "a"}
		for _, src := range sources {
			model, err := infer.New(src, infer.Options{Threads: 2, Memory: memory})
			require.NoError(t, err)
			models = append(models, model)
		}
		_, err := infer.Lockstep(t.Context(), models, infer.Chunks(chunks, 0), infer.Observer{
			Logits: func(model, chunk, pos int, logits, _ []float32) {
				if !slices.Equal(want[chunk][pos], logits) {
					t.Errorf("model %d, chunk %d, position %d: other logits than without sharing", model, chunk, pos)
				}
			},
		})
		require.NoError(t, err)
		return sources
	}

	sources := run(infer.DefaultMemory)
	for tensor, makers := range map[string][]int{
		"blk.0.attn_q.weight":        {0, 2}, // the third model's has no name: it is read
		"blk.1.ffn_down_exps.weight": {0, 2},
		"output.weight":              {0},
		"blk.1.attn_q.weight":        {0, 1, 2},
	} {
		all := src.tensors[src.find(tensor)].Rows()
		for i, m := range sources {
			times := int64(0)
			if slices.Contains(makers, i) {
				times = all
			}
			require.Equal(t, times, m.rows[tensor], "%s of model %d", tensor, i)
		}
	}

	// One chunk is run even without memory, but then nothing is kept.
	for i, m := range run(1) {
		rows := src.tensors[src.find("output.weight")].Rows()
		require.Equal(t, int64(len(chunks))*rows, m.rows["output.weight"], fmt.Sprint("model ", i))
	}
}
