package infer_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// counted counts what is read of a source.
type counted struct {
	gguf.Source
	bytes atomic.Int64
}

func (c *counted) ReadRows(dst []byte, tensor int, first, n int64) error {
	c.bytes.Add(int64(len(dst)))
	return c.Source.ReadRows(dst, tensor, first, n)
}

// What is planned of headers is what is done with the model.
func TestPlan(t *testing.T) {
	if testing.Short() {
		t.Skip("counts what runs read")
	}
	checkpoint, err := hf.Open("../testdata/beyonder-mini/base", hf.Options{})
	require.NoError(t, err)
	defer checkpoint.Close()
	texts := make([][]int32, 6)
	for i := range texts {
		for pos := range 96 {
			texts[i] = append(texts[i], int32(7*i+pos*pos)%300)
		}
	}
	models := func(src gguf.Source, memory int64) (models []*infer.Model) {
		for _, fileType := range []recipe.FileType{recipe.Copy, recipe.Q4_K_M, recipe.Q4_K_S} {
			of := src
			if fileType != recipe.Copy {
				of, err = quant.NewView(src, fileType, quant.ViewOptions{})
				require.NoError(t, err)
			}
			m, err := infer.New(of, infer.Options{Threads: 2, Memory: memory, Compute: infer.Int8})
			require.NoError(t, err)
			models = append(models, m)
		}
		return models
	}
	for _, memory := range []int64{1, 135 << 20, infer.DefaultMemory} {
		planned, err := infer.Plan(models(gguf.Headers{Of: checkpoint}, memory), infer.Chunks(texts, 48))
		require.NoError(t, err)
		src := &counted{Source: checkpoint}
		running := models(src, memory)
		src.bytes.Store(0) // without norms
		batches := 0
		_, err = infer.Lockstep(t.Context(), running, infer.Chunks(texts, 48), infer.Observer{
			Logits: func(int, int, int, []float32, []float32) {},
			Batch: func(int, int, []time.Duration) error {
				batches++
				return nil
			},
		})
		require.NoError(t, err)
		require.Equal(t, batches, planned.Batches)
		require.InDelta(t, src.bytes.Load(), planned.Read, float64(len(running)*batches), memory)
		if batches < len(texts) { // not one each
			require.LessOrEqual(t, planned.Memory, memory)
		}
	}
}
