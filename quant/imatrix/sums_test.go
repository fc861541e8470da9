package imatrix_test

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

func writeSums(t *testing.T, s *imatrix.Sums) *imatrix.Matrix {
	src, err := s.Source()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "imatrix.gguf")
	_, err = gguf.Write(context.Background(), path, src, gguf.WriteOptions{})
	require.NoError(t, err)
	m, err := imatrix.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func readAll(t *testing.T, m *imatrix.Matrix, tensor string) []float32 {
	x := make([]float32, m.Values(tensor))
	require.NoError(t, m.Read(x, tensor, 0))
	return x
}

func TestSumsAreReadBack(t *testing.T) {
	s := &imatrix.Sums{Datasets: []string{"a.txt"}, Chunks: 3, ChunkSize: 512}
	require.NoError(t, s.Add("blk.0.attn_q.weight", 0, 1, 2, []float64{2, 4, 8}))
	require.NoError(t, s.Add("blk.0.attn_q.weight", 0, 1, 2, []float64{2, 4, 8}))
	require.NoError(t, s.Add("blk.0.ffn_up_exps.weight", 1, 3, 4, []float64{4, 8}))
	m := writeSums(t, s)
	require.Equal(t, []string{"a.txt"}, m.Datasets())
	require.EqualValues(t, 3, m.Chunks())
	require.Equal(t, []float32{1, 2, 4}, readAll(t, m, "blk.0.attn_q.weight"))
	require.Equal(t, []float32{1, 1, 1, 2, 1, 1}, readAll(t, m, "blk.0.ffn_up_exps.weight"))
	require.Equal(t, []imatrix.Unseen{{Tensor: "blk.0.ffn_up_exps.weight", Matrices: []int{0, 2}, Of: 3}}, m.Unseen())

	// Two files together are as one over both texts.
	both := &imatrix.Sums{Datasets: []string{"b.txt"}, Chunks: 1, ChunkSize: 512}
	require.NoError(t, both.Add("blk.0.attn_q.weight", 0, 1, 4, []float64{12, 8, 0}))
	require.NoError(t, both.AddMatrix(m))
	combined := writeSums(t, both)
	require.Equal(t, []string{"b.txt", "a.txt"}, combined.Datasets())
	require.EqualValues(t, 4, combined.Chunks())
	require.Equal(t, []float32{2, 2, 2}, readAll(t, combined, "blk.0.attn_q.weight"))
	require.Equal(t, []float32{1, 1, 1, 2, 1, 1}, readAll(t, combined, "blk.0.ffn_up_exps.weight"))
}

// TestSumsOfHeads: heads are counted once, and files that counted each can be added.
func TestSumsOfHeads(t *testing.T) {
	const name = "blk.0.attn_k_b.weight"
	sums := func() *imatrix.Sums {
		s := &imatrix.Sums{}
		for head, squares := range [][]float64{{2, 4}, {6, 8}} {
			require.NoError(t, s.AddHead(name, head, 2, 2, squares))
		}
		return s
	}
	once := sums()
	file, err := once.Source()
	require.NoError(t, err)
	for i, want := range []gguf.TensorInfo{{Name: name + ".in_sum2", Shape: []int64{4}}, {Name: name + ".counts", Shape: []int64{1}}} {
		require.Equal(t, want, file.Tensors()[i])
	}
	require.Equal(t, []float32{1, 2, 3, 4}, readAll(t, writeSums(t, once), name))

	each := &imatrix.Sums{}
	for head := range 2 {
		require.NoError(t, each.Add(name, head, 2, 2, []float64{6, 0}))
	}
	want := []float32{2, 1, 3, 2}
	require.NoError(t, once.AddMatrix(writeSums(t, each)))
	require.Equal(t, want, readAll(t, writeSums(t, once), name))
	require.NoError(t, each.AddMatrix(writeSums(t, sums())))
	require.Equal(t, want, readAll(t, writeSums(t, each), name))
	require.Empty(t, writeSums(t, each).Unseen())
}

func TestSumsThatDoNotFit(t *testing.T) {
	s := &imatrix.Sums{}
	require.NoError(t, s.Add("w", 0, 2, 1, []float64{1, 1}))
	require.EqualError(t, s.Add("w", 0, 1, 1, []float64{1, 1}), `tensor "w" has 2 values for 1 matrices, not 4 for 2 as before`)
	other := &imatrix.Sums{}
	require.NoError(t, other.Add("w", 0, 1, 1, []float64{1, 1, 1}))
	require.ErrorContains(t, s.AddMatrix(writeSums(t, other)), `tensor "w" has 3 values for 1 matrices`)
	require.NoError(t, s.Add("w", 1, 2, 1, []float64{math.NaN(), 1}))
	_, err := s.Source()
	require.EqualError(t, err, "w.in_sum2: value 2 is NaN")
}
