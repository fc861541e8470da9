package imatrix_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/quant/imatrix"
)

// sumsOf returns what files have together.
func sumsOf(t *testing.T, size int64, matrices ...*imatrix.Matrix) *imatrix.Sums {
	t.Helper()
	s := &imatrix.Sums{ChunkSize: size}
	for _, m := range matrices {
		require.NoError(t, s.AddMatrix(m))
	}
	return s
}

func openMoE(t *testing.T) *imatrix.Matrix {
	t.Helper()
	m, err := imatrix.Open(moe)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// TestStatisticsAreThoseOfLlamaImatrix compares with what that prints.
func TestStatisticsAreThoseOfLlamaImatrix(t *testing.T) {
	data, err := os.ReadFile("testdata/moe.statistics.txt")
	require.NoError(t, err)
	tensors, layers := sumsOf(t, 512, openMoE(t)).Statistics()
	require.Len(t, tensors, 32)
	require.Len(t, layers, 4)
	var got []string
	percent := func(x float64) string { return fmt.Sprintf("%.2f%%", 100*x) }
	number := func(x float64, digits int) string {
		if math.IsNaN(x) {
			return "nan"
		}
		return fmt.Sprintf("%.*f", digits, x)
	}
	for _, s := range tensors {
		got = append(got, fmt.Sprint(s.Layer), s.Tensor, number(s.Mean, 4), number(s.StdDev, 4), number(s.Skew, 4), number(s.Kurtosis, 4), percent(s.Entropy),
			number(s.Sum, 4), number(s.Gain, 2), number(s.Correlation, 4), number(s.Covariance, 4))
		require.Equal(t, 1., math.Round(1e9*s.Active)/1e9)
		require.LessOrEqual(t, s.Min, s.Mean)
		require.GreaterOrEqual(t, s.Max, s.Mean)
		require.Equal(t, s.Matrices, s.Seen)
	}
	for _, l := range layers {
		got = append(got, fmt.Sprint(l.Layer), number(l.Sum, 4), number(l.Gain, 2), number(l.Cosine, 4), number(l.Correlation, 4), number(l.Covariance, 4))
	}
	want := strings.Fields(strings.ReplaceAll(string(data), "|", " "))
	require.Len(t, got, len(want))
	for i := range want {
		if want[i] == got[i] {
			continue
		}
		// It sums in float32: the last digits of the larger figures differ.
		var a, b float64
		_, err := fmt.Sscan(want[i]+" "+got[i], &a, &b)
		require.NoError(t, err, "%s, not %s", got[i], want[i])
		require.InDelta(t, a, b, 1.01e-4*math.Max(1, math.Abs(a)/1e3), "number %d", i)
	}
}

// TestStatisticsOfLittle has experts that saw nothing, and values that are all the same.
func TestStatisticsOfLittle(t *testing.T) {
	s := &imatrix.Sums{}
	for layer := range 2 {
		require.NoError(t, s.Add(fmt.Sprintf("blk.%d.ffn_up_exps.weight", layer), layer, 3, 2, []float64{8, 0}))
		require.NoError(t, s.Add(fmt.Sprintf("blk.%d.attn_q.weight", layer), 0, 1, 4, []float64{4, 4}))
	}
	require.NoError(t, s.Add("output.weight", 0, 1, 0, []float64{0, 0}))
	tensors, layers := s.Statistics()
	require.Equal(t, "output.weight", tensors[0].Tensor)
	require.Zero(t, tensors[0].Seen)
	require.Zero(t, tensors[0].Values)
	require.Equal(t, "blk.0.ffn_up_exps.weight", tensors[2].Tensor)
	require.Equal(t, [2]int{3, 1}, [2]int{tensors[2].Matrices, tensors[2].Seen})
	require.Equal(t, imatrix.Moments{Values: 2, Sum: 4, Mean: 2, StdDev: 2}, tensors[2].Moments)
	require.Equal(t, 0.5, tensors[2].Active)
	require.Zero(t, tensors[2].Entropy)
	require.True(t, math.IsNaN(tensors[4].Cosine), "not the same experts")
	require.Equal(t, 1., tensors[3].Entropy)
	require.Equal(t, 1., tensors[3].Gain)
	require.Equal(t, 1., tensors[3].Cosine)
	require.True(t, math.IsNaN(tensors[3].Correlation), "nothing varies")
	require.Equal(t, 1., layers[1].Gain, "of what can be compared")
	require.Equal(t, 6., layers[1].Sum)
}

// TestLegacyThereAndBack compares the .dat format with llama-imatrix's.
func TestLegacyThereAndBack(t *testing.T) {
	m := openMoE(t)
	require.EqualValues(t, 512, m.ChunkSize())
	var dat bytes.Buffer
	require.NoError(t, sumsOf(t, 512, m).WriteLegacy(&dat))
	require.Equal(t, "dcc8540d08297b100af411bb25ac6c271443f550083a2249467a00e196f50b68", fmt.Sprintf("%x", sha256.Sum256(dat.Bytes())))

	back, err := imatrix.New(bytes.NewReader(dat.Bytes()), int64(dat.Len()), "back.dat")
	require.NoError(t, err)
	require.Equal(t, m.Datasets(), back.Datasets())
	require.Equal(t, m.Chunks(), back.Chunks())
	again := writeSums(t, sumsOf(t, 512, back))
	require.Equal(t, m.Tensors(), again.Tensors())
	for _, tensor := range m.Tensors() {
		require.InEpsilonSlice(t, readAll(t, m, tensor), readAll(t, again, tensor), 1e-5, tensor)
	}

	// Experts are counted once in it, and each as often where others are added.
	for _, order := range [][]*imatrix.Matrix{{back, m}, {m, back}} {
		both := writeSums(t, sumsOf(t, 512, order...))
		for _, tensor := range []string{"blk.0.attn_q.weight", "blk.3.ffn_down_exps.weight"} {
			require.InEpsilonSlice(t, readAll(t, m, tensor), readAll(t, both, tensor), 1e-5, tensor)
		}
	}
}

func TestLegacyHasLittleRoom(t *testing.T) {
	s := &imatrix.Sums{ChunkSize: 1, Datasets: []string{"a.txt"}}
	require.NoError(t, s.Add("blk.0.ffn_up_exps.weight", 1, 2, 3, []float64{6, 9}))
	require.NoError(t, s.Add("unseen", 0, 1, 0, []float64{0}))
	var dat bytes.Buffer
	require.NoError(t, s.WriteLegacy(&dat))
	m, err := imatrix.New(bytes.NewReader(dat.Bytes()), int64(dat.Len()), "x.dat")
	require.NoError(t, err)
	require.Equal(t, []string{"blk.0.ffn_up_exps.weight"}, m.Tensors())
	require.Equal(t, []float32{1, 1, 2, 3}, readAll(t, m, "blk.0.ffn_up_exps.weight"))

	require.NoError(t, s.Add("blk.0.ffn_up_exps.weight", 1, 2, 1<<40, []float64{6, 9}))
	require.ErrorContains(t, s.WriteLegacy(&dat), "more than the .dat format has room for")
	s = &imatrix.Sums{}
	require.NoError(t, s.Add("w", 0, 1, 1, []float64{math.MaxFloat64}))
	require.ErrorContains(t, s.WriteLegacy(&dat), "w: value 0 is +Inf")
}
