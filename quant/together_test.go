package quant_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// counting counts how often each row of a source is read, and calls before before each reading.
type counting struct {
	*synthetic
	mu     sync.Mutex
	rows   [][]int // of each tensor
	reads  int
	before func(read int)
}

func newCounting(s *synthetic) *counting {
	c := &counting{synthetic: s, before: func(int) {}}
	for _, t := range s.tensors {
		c.rows = append(c.rows, make([]int, t.Rows()))
	}
	return c
}

func (c *counting) ReadRows(dst []byte, tensor int, first, n int64) error {
	c.mu.Lock()
	for row := first; row < first+n; row++ {
		c.rows[tensor][row]++
	}
	c.reads++
	c.before(c.reads)
	c.mu.Unlock()
	return c.synthetic.ReadRows(dst, tensor, first, n)
}

// small is a mixture of one layer with so many tokens.
func small(tokens int64) *synthetic {
	s := newSynthetic()
	s.tensors = s.tensors[:13]
	s.meta.Set("llama.block_count", uint32(1))
	s.tensors[0].Shape = []int64{256, tokens}
	return s
}

// views returns a source quantized to several file types.
func views(t *testing.T, src gguf.Source, m *imatrix.Matrix, types ...recipe.FileType) (views []gguf.Source) {
	for _, ft := range types {
		v, err := quant.NewView(src, ft, quant.ViewOptions{Importance: m})
		require.NoError(t, err)
		views = append(views, v)
	}
	return views
}

// destinations names a file in a directory for each source.
func destinations(dir string, sources []gguf.Source) (to []gguf.Destination) {
	for i, src := range sources {
		to = append(to, gguf.Destination{Path: filepath.Join(dir, string(rune('a'+i))+".gguf"), Source: src})
	}
	return to
}

func readFiles(t *testing.T, paths [][]string) (contents [][]byte) {
	for _, of := range paths {
		for _, path := range of {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			contents = append(contents, data)
		}
	}
	return contents
}

// Files that are written together are those that are written alone, and every row of the source
// is read once for all of them.
func TestWrittenTogether(t *testing.T) {
	m := importance(t, "m.gguf", map[string]int64{"blk.0.ffn_down_exps.weight": 4 * 256, "blk.0.attn_q.weight": 256, "token_embd.weight": 256})
	types := []recipe.FileType{recipe.F32, recipe.F16, recipe.Q8_0, recipe.Q6_K, recipe.Q5_K_M, recipe.Q4_K_M, recipe.Q4_K_S, recipe.Q4_0, recipe.IQ4_XS, recipe.Q3_K_M, recipe.Q2_K}
	for _, opts := range []gguf.WriteOptions{{}, {MaxBytes: 300_000}} {
		src := newCounting(small(3000)) // the embeddings are written in two chunks
		sources := append(views(t, src, m, types...), views(t, src, nil, recipe.Q4_K_M, recipe.Q8_0)...)
		var alone [][]string
		for _, to := range destinations(t.TempDir(), sources) {
			paths, err := gguf.Write(t.Context(), to.Path, to.Source, opts)
			require.NoError(t, err)
			alone = append(alone, paths)
		}
		src.rows = newCounting(src.synthetic).rows
		sealed := make(map[string]string)
		opts.Seal = func(path, sum string) error {
			sealed[path] = sum
			require.NoFileExists(t, path)
			return nil
		}
		together, err := gguf.WriteAll(t.Context(), destinations(t.TempDir(), sources), opts)
		require.NoError(t, err)
		got := readFiles(t, together)
		for i, want := range readFiles(t, alone) {
			require.True(t, string(want) == string(got[i]), "file %d", i)
		}
		require.Len(t, sealed, len(got))
		for _, paths := range together {
			for _, path := range paths {
				data, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(data)), sealed[path])
			}
		}
		for i, rows := range src.rows {
			for _, n := range rows {
				require.Equal(t, 1, n, src.tensors[i].Name)
			}
		}
	}
}

// Whenever the work ends, a later run has the same files, and makes what is missing.
func TestWrittenTogetherIsResumed(t *testing.T) {
	sources := func(src gguf.Source) []gguf.Source {
		return views(t, src, nil, recipe.F16, recipe.Q8_0, recipe.Q4_K_M, recipe.Q4_K_S)
	}
	opts := gguf.WriteOptions{Job: []gguf.Fact{{What: "job", Is: "a"}}, Resume: true, Threads: 1}
	src := newCounting(small(300))
	paths, err := gguf.WriteAll(t.Context(), destinations(t.TempDir(), sources(src)), opts)
	require.NoError(t, err)
	want := readFiles(t, paths)
	for end := 1; end <= src.reads; end++ {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		first, second := newCounting(src.synthetic), newCounting(src.synthetic)
		first.before = func(read int) {
			if read == end {
				cancel()
			}
		}
		_, err := gguf.WriteAll(ctx, destinations(dir, sources(first)), opts)
		require.ErrorIs(t, err, context.Canceled)
		paths, err := gguf.WriteAll(t.Context(), destinations(dir, sources(second)), opts)
		require.NoError(t, err)
		for i, got := range readFiles(t, paths) {
			require.True(t, string(want[i]) == string(got), "file %d, after %d reads", i, end)
		}
		require.Equal(t, src.reads, first.reads+second.reads, "what is there is not made again")
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, left, len(want))
	}
}

// If one file cannot be sealed none appears; if one cannot get its name, the others do.
func TestWrittenTogetherFails(t *testing.T) {
	dir := t.TempDir()
	to := destinations(dir, views(t, small(300), nil, recipe.Q8_0, recipe.Q4_K_M, recipe.Q2_K))
	broken := errors.New("broken")
	_, err := gguf.WriteAll(t.Context(), to, gguf.WriteOptions{Seal: func(path, _ string) error {
		if path == to[1].Path {
			return broken
		}
		return nil
	}})
	require.ErrorIs(t, err, broken)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)

	_, err = gguf.WriteAll(t.Context(), to, gguf.WriteOptions{Seal: func(path, _ string) error {
		if path == to[1].Path {
			return os.WriteFile(path, []byte("somebody else's"), 0o666)
		}
		return nil
	}})
	require.ErrorIs(t, err, os.ErrExist)
	require.FileExists(t, to[0].Path)
	require.FileExists(t, to[2].Path)
	data, err := os.ReadFile(to[1].Path)
	require.NoError(t, err)
	require.Equal(t, "somebody else's", string(data))
}

// Tensors that are made of others are refused, and so are those that cannot be read.
func TestReadTogetherRefuses(t *testing.T) {
	src := small(300)
	v := views(t, src, nil, recipe.Q8_0, recipe.Q4_K_M)
	other := views(t, small(300), nil, recipe.Q8_0)
	view := v[0].(*quant.View)
	q, k := find(t, view, "blk.0.attn_q.weight"), find(t, view, "blk.0.attn_k.weight")
	buf := func(src gguf.Source, tensor int) gguf.Read {
		return gguf.Read{Source: src, Tensor: tensor, Dst: make([]byte, src.Tensors()[tensor].RowBytes())}
	}
	require.NoError(t, view.ReadTogether([]gguf.Read{buf(v[0], q), buf(v[1], q)}, 3, 1))
	for _, reads := range [][]gguf.Read{{buf(v[0], q), buf(v[0], k)}, {buf(v[0], q), buf(other[0], q)}, {buf(v[0], q), buf(src, 0)}} {
		require.ErrorContains(t, view.ReadTogether(reads, 0, 1), "is not made of the same rows")
	}
	require.ErrorContains(t, view.ReadTogether([]gguf.Read{buf(v[0], k), buf(v[1], k)}, 64, 1), "outside its 64 rows")
	src.fail = errors.New("unreadable")
	require.ErrorIs(t, view.ReadTogether([]gguf.Read{buf(v[0], q), buf(v[1], q)}, 0, 1), src.fail)
}
