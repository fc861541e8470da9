package weights_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// exactly returns a tensor of numbers that Q8_0 holds, in blocks of a type.
func exactly(t gguf.Type, first float32, shape ...int64) weights.Rows {
	r := weights.Map(ramp(weights.F32, first, shape...), func(values []float32) {
		for i := range values {
			values[i] = float32(int(values[i]) % 127)
			if i%32 == 0 {
				values[i] = 127
			}
		}
	}, nil)
	return weights.Exact(r, func() (*weights.Blocks, error) {
		return &weights.Blocks{Type: t, Scales: []float32{first}, Read: func(dst []byte, first, n int64) error {
			_, length := weights.Count(shape)
			values := make([]float32, n*length)
			if err := r.ReadRows(values, first, n); err != nil {
				return err
			}
			return quant.Quantize(t, dst, values, int(length), nil)
		}}, nil
	})
}

// named is a tensor under a name.
type named struct{ weights.Rows }

func (n named) Operands() []weights.Rows { return []weights.Rows{n.Rows} }
func (n named) Unnamed() weights.Rows    { return n.Rows }

// TestBlocks: rows are arranged as blocks as they are as numbers.
func TestBlocks(t *testing.T) {
	a, b := exactly(gguf.Q8_0, 1, 8, 64), exactly(gguf.Q8_0, 7, 8, 64)
	for name, r := range map[string]weights.Rows{
		"itself":     a,
		"padded":     weights.Padded(a, 2, 32),
		"unpadded":   weights.Unpad(weights.Padded(exactly(gguf.Q8_0, 1, 9, 64), 2, 32), []int64{8, 64}),
		"stack":      weights.Stack(a, b),
		"slice":      weights.Slice(weights.Stack(a, b), 3, 4),
		"interleave": weights.Interleave(a, 2),
		"back":       weights.Deinterleave(a, 2),
		"transposed": weights.Transpose(named{weights.Transpose(a)}),
		"reorder":    weights.Reorder(a, []int64{2, 0, 3, 1}),
		"all":        weights.Stack(weights.Interleave(a, 2), weights.Interleave(b, 4)),
	} {
		blocks, err := weights.BlocksOf(r)
		require.NoError(t, err, name)
		require.NotNil(t, blocks, name)
		rows, length := weights.Count(r.Shape())
		raw, values := make([]byte, (rows-1)*length/32*34), make([]float32, (rows-1)*length)
		require.NoError(t, blocks.Read(raw, 1, rows-1), name)
		require.NoError(t, quant.Dequantize(blocks.Type, values, raw, int(length)), name)
		require.Equal(t, read(t, r, 1, rows-1), values, name)
		require.Equal(t, []float32{1, 7}[:len(r.Shape())-1], blocks.Scales, "%s: one for each matrix", name)
	}
}

// TestNoBlocks: what is computed, mixed, or not known to be exact, is in no blocks.
func TestNoBlocks(t *testing.T) {
	a := exactly(gguf.Q8_0, 1, 8, 64)
	for name, r := range map[string]weights.Rows{
		"plain":             ramp(weights.F32, 1, 8, 64),
		"changed":           weights.Map(a, negate, nil),
		"stack with plain":  weights.Stack(a, ramp(weights.F32, 1, 8, 64)),
		"stack of two":      weights.Stack(a, exactly(gguf.Q4_0, 1, 8, 64)),
		"found not to have": weights.Exact(a, func() (*weights.Blocks, error) { return nil, nil }),
	} {
		blocks, err := weights.BlocksOf(r)
		require.NoError(t, err, name)
		require.Nil(t, blocks, name)
	}
	failed := weights.Exact(a, func() (*weights.Blocks, error) { return nil, gguf.ErrCorrupt })
	_, err := weights.BlocksOf(weights.Stack(a, failed))
	require.ErrorIs(t, err, gguf.ErrCorrupt)
}
