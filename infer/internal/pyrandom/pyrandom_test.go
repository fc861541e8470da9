package pyrandom

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The numbers are CPython 3.14's and NumPy 2's.

func TestRandom(t *testing.T) {
	for seed, want := range map[uint64][]uint32{
		1234: {4150886329, 3342196574, 1892932127, 501869158},
		42:   {2746317213, 478163327, 107420369, 3184935163},
	} {
		r := New(seed)
		for _, w := range want {
			require.Equal(t, w, r.t.uint32())
		}
	}
	r := New(1234)
	var got []int
	for range 8 {
		got = append(got, r.Below(10))
	}
	require.Equal(t, []int{7, 1, 0, 1, 9, 0, 1, 1}, got)
}

func TestSample(t *testing.T) {
	for _, c := range []struct {
		n, k int
		want [][]int
	}{
		{18, 10, [][]int{{14, 3, 0, 1, 12, 9, 15, 10, 17, 13}, {11, 7, 0, 15, 12, 14, 5, 10, 9, 16}}},
		{21, 5, [][]int{{14, 3, 0, 2, 1}}},
		{22, 5, [][]int{{14, 3, 0, 2, 18}}},
		{40, 5, [][]int{{28, 7, 0, 5, 37}, {2, 5, 6, 22, 15}}},
		{48, 25, [][]int{{28, 7, 0, 5, 37, 2, 44, 6, 22, 15, 1, 43, 36, 39, 30, 29, 9, 42, 41, 34, 3, 45, 16, 38, 46}}},
		{60, 5, [][]int{{49, 28, 7, 0, 5}}},
		{1119, 5, [][]int{{902, 239, 15, 185, 71}, {171, 201, 726, 484, 35}}},
	} {
		r := New(1234)
		for _, want := range c.want {
			require.Equal(t, want, r.Sample(c.n, c.k), "%d of %d", c.k, c.n)
		}
	}
	require.Panics(t, func() { New(1).Sample(3, 4) })
}

func TestShuffleThenSample(t *testing.T) {
	for _, c := range []struct {
		n        int
		shuffled []int
		pool, k  int
		sampled  []int
		_        struct{}
	}{
		{n: 10, shuffled: []int{7, 3, 2, 8, 5, 6, 9, 4, 0, 1}, pool: 1119, k: 5, sampled: []int{864, 65, 61, 191, 447}},
		{n: 20, shuffled: []int{19, 5, 14, 4, 9, 13, 15, 18, 6, 12, 17, 10, 1, 11, 2, 16, 7, 8, 0, 3}, pool: 18, k: 10,
			sampled: []int{17, 6, 13, 3, 7, 9, 4, 0, 2, 16}},
		{n: 24, shuffled: []int{15, 5, 18, 23, 13, 10, 17, 11, 14, 16, 1, 12, 21, 6, 9, 2, 22, 4, 19, 7, 8, 0, 3, 20}, pool: 48, k: 25,
			sampled: []int{37, 17, 0, 10, 27, 21, 46, 9, 13, 42, 6, 5, 24, 47, 22, 33, 16, 25, 1, 23, 14, 41, 3, 12, 2}},
	} {
		r := New(42)
		order := make([]int, c.n)
		for i := range order {
			order[i] = i
		}
		r.Shuffle(c.n, func(i, j int) { order[i], order[j] = order[j], order[i] })
		require.Equal(t, c.shuffled, order)
		require.Equal(t, c.sampled, r.Sample(c.pool, c.k))
	}
}

func TestPermutation(t *testing.T) {
	for _, want := range [][]int{
		{1, 0}, {0, 1, 2}, {1, 3, 0, 2}, {1, 4, 2, 0, 3}, {0, 1, 5, 2, 4, 3}, {0, 1, 5, 2, 4, 3, 6}, {1, 5, 0, 7, 2, 4, 3, 6},
		{8, 1, 5, 0, 7, 2, 9, 4, 3, 6}, {5, 0, 9, 10, 2, 1, 8, 4, 7, 3, 6},
	} {
		require.Equal(t, want, Permutation(42, len(want)))
	}
}
