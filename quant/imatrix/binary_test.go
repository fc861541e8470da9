package imatrix

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
)

func someSums(t require.TestingT) *Sums {
	s := &Sums{Chunks: 3}
	require.NoError(t, s.Add("blk.0.attn_q.weight", 0, 1, 2, []float64{1. / 3, math.SmallestNonzeroFloat64, 0}))
	require.NoError(t, s.Add("blk.0.ffn_up_exps.weight", 1, 3, 4, []float64{4, 8}))
	require.NoError(t, s.AddHead("blk.0.attn_k_b.weight", 1, 2, 4, []float64{1, 2}))
	return s
}

// What was summed in two places is what was summed in one.
func TestSumsAreContinued(t *testing.T) {
	s := someSums(t)
	data := s.AppendBinary(nil)
	read, err := ReadBinary(data)
	require.NoError(t, err)
	require.Equal(t, s, read)
	for n := range data {
		_, err := ReadBinary(data[:n])
		require.ErrorIs(t, err, gguf.ErrCorrupt)
	}
	_, err = ReadBinary(append(data, 0))
	require.ErrorIs(t, err, gguf.ErrCorrupt)

	both := someSums(t)
	require.NoError(t, both.AddSums(read))
	want := &Sums{Chunks: 6}
	require.NoError(t, want.Add("blk.0.attn_q.weight", 0, 1, 4, []float64{1./3 + 1./3, 2 * math.SmallestNonzeroFloat64, 0}))
	require.NoError(t, want.Add("blk.0.ffn_up_exps.weight", 1, 3, 8, []float64{8, 16}))
	require.NoError(t, want.AddHead("blk.0.attn_k_b.weight", 1, 2, 0, []float64{2, 4}))
	require.Equal(t, want, both)
	require.NoError(t, read.Add("w", 0, 1, 1, []float64{1}))
	require.NoError(t, both.Add("w", 0, 1, 1, []float64{1, 1}))
	require.ErrorContains(t, both.AddSums(read), `tensor "w" has 1 values`)
}

// FuzzReadBinary reads what may be sums.
func FuzzReadBinary(f *testing.F) {
	f.Add(someSums(f).AppendBinary(nil))
	f.Add((&Sums{}).AppendBinary(nil))
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x02"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := ReadBinary(data); err == nil {
			require.Equal(t, data, s.AppendBinary(nil))
		}
	})
}
