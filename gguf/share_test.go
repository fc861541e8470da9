package gguf_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/gguf"
)

// Shares that are written one by one, in any order, are the set that one Write makes.
func TestSharesAreTheSet(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { sharesAreTheSet(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func sharesAreTheSet(t *testing.T, random *rand.Rand) {
	src := &memory{meta: gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: "llama"})}
	if random.IntN(2) == 0 {
		src.meta.Set("general.alignment", uint32(64))
	}
	for i := range random.IntN(8) {
		src.add(fmt.Sprintf("t%d", i), gguf.F32, 1+random.Int64N(40))
	}
	of, opts := 2+random.IntN(8), gguf.WriteOptions{Threads: 2}
	switch random.IntN(3) {
	case 1:
		opts.MaxBytes = 1 + random.Int64N(400)
	case 2:
		rest := len(src.tensors)
		for rest > 0 {
			opts.Shards = append(opts.Shards, random.IntN(rest+1))
			rest -= opts.Shards[len(opts.Shards)-1]
		}
	}
	to := filepath.Join(t.TempDir(), "model.gguf")
	var all []string
	for _, i := range random.Perm(of) {
		opts.Share = gguf.Share{Number: i + 1, Of: of}
		files, err := opts.Files(to, src)
		require.NoError(t, err)
		paths, err := gguf.Write(t.Context(), to, src, opts)
		require.NoError(t, err)
		require.Subset(t, opts.Paths(to, src), paths)
		require.Len(t, files, len(paths))
		for i, f := range files {
			info, err := os.Stat(paths[i])
			require.NoError(t, err)
			require.Equal(t, gguf.SplitFile{Path: paths[i], Tensors: f.Tensors, Bytes: info.Size()}, f)
		}
		all = append(all, paths...)
	}
	if opts.Share = (gguf.Share{}); opts.MaxBytes == 0 && opts.Shards == nil {
		opts.Shards = gguf.Divide(sizes(src), of)
		require.Len(t, opts.Shards, max(1, min(of, len(src.tensors))))
	}
	want := write(t, src, opts)
	slices.Sort(all)
	require.Len(t, all, len(want), "each file is of one share")
	for i, path := range want {
		require.Equal(t, filepath.Base(path), filepath.Base(all[i]))
		wanted, err := os.ReadFile(path)
		require.NoError(t, err)
		got, err := os.ReadFile(all[i])
		require.NoError(t, err)
		require.Equal(t, wanted, got, path)
	}
}

func sizes(src gguf.Source) (list []int64) {
	for _, t := range src.Tensors() {
		list = append(list, t.Bytes())
	}
	return list
}

// The largest of the groups is as small as in the best of all ways to cut the list.
func TestDivideIsEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.Int64Range(0, 50), 1, 9).Draw(t, "sizes")
		n := rapid.IntRange(1, 6).Draw(t, "groups")
		groups := gguf.Divide(list, n)
		require.Len(t, groups, min(n, len(list)))
		largest, first := int64(0), 0
		for _, size := range groups {
			require.Positive(t, size)
			largest = max(largest, sum(list[first:first+size]))
			first += size
		}
		require.Equal(t, len(list), first)
		require.Equal(t, best(list, n), largest)
	})
}

// best tries all ways to cut a list into at most n groups.
func best(list []int64, n int) int64 {
	least := sum(list)
	for first := 1; first < len(list) && n > 1; first++ {
		least = min(least, max(sum(list[:first]), best(list[first:], n-1)))
	}
	return least
}

func sum(list []int64) (all int64) {
	for _, n := range list {
		all += n
	}
	return all
}

func TestShareThatIsNone(t *testing.T) {
	for _, share := range []gguf.Share{{Number: 0, Of: 2}, {Number: 3, Of: 2}, {Number: -1, Of: 2}} {
		_, err := gguf.Write(t.Context(), filepath.Join(t.TempDir(), "model.gguf"), sample(), gguf.WriteOptions{Share: share})
		require.ErrorContains(t, err, "there is no share")
	}
}

// A share does not need room for the others, and what is there of them stays.
func TestSharesLeaveOthersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.gguf")
	opts := gguf.WriteOptions{Share: gguf.Share{Number: 2, Of: 3}}
	other := filepath.Join(filepath.Dir(path), "model-00001-of-00003.gguf")
	require.NoError(t, os.WriteFile(other, []byte("whatever"), 0o600))
	paths, err := gguf.Write(t.Context(), path, sample(), opts)
	require.NoError(t, err)
	require.Len(t, paths, 1)
	left, err := os.ReadFile(other)
	require.NoError(t, err)
	require.Equal(t, "whatever", string(left))
	opts.Share.Number = 1
	_, err = gguf.Write(t.Context(), path, sample(), opts)
	require.ErrorIs(t, err, os.ErrExist)
}
