package gguf_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// able is a Source in memory that can do what a Source need not, and notes what it is told.
type able struct {
	memory
	mapped     bool
	mapErr     error
	prefetched [][3]int64 // tensor, first, n
}

func (a *able) Map() error {
	a.mapped = true
	return a.mapErr
}

func (a *able) Rows(tensor int, first, n int64) []byte {
	rowBytes := a.tensors[tensor].RowBytes()
	return a.data[tensor][first*rowBytes:][:n*rowBytes]
}

func (a *able) Guard(use func() error) error { return use() }

func (a *able) Prefetch(tensor int, first, n int64) {
	a.prefetched = append(a.prefetched, [3]int64{int64(tensor), first, n})
}

func (a *able) RowsID(tensor int) any { return a.tensors[tensor].Name }

func newAble() *able {
	a := &able{memory: memory{meta: gguf.NewMetadata()}}
	for _, name := range []string{"a", "b", "c"} {
		info := gguf.TensorInfo{Name: name, Type: gguf.I8, Shape: []int64{3, 4}}
		a.tensors = append(a.tensors, info)
		data := make([]byte, info.Bytes())
		for i := range data {
			data[i] = name[0] + byte(i)
		}
		a.data = append(a.data, data)
	}
	return a
}

// stacked has one tensor, of the rows of all tensors of a Source from the last to the first.
type stacked struct {
	gguf.Source
	made bool // the rows are not as they are in the source
}

func (s stacked) Tensors() []gguf.TensorInfo {
	tensors := s.Source.Tensors()
	info := tensors[0]
	info.Name, info.Shape = "stack", append(info.Shape[:len(info.Shape):len(info.Shape)], int64(len(tensors)))
	return []gguf.TensorInfo{info}
}

func (s stacked) ReadRows(dst []byte, _ int, first, n int64) error {
	for n > 0 {
		o := s.Unwrap(0, first, n)
		rows := dst[:o.N*s.Tensors()[0].RowBytes()]
		if err := s.Source.ReadRows(rows, o.Tensor, o.First, o.N); err != nil {
			return err
		}
		dst, first, n = dst[len(rows):], first+o.N, n-o.N
	}
	return nil
}

func (s stacked) Unwrap(_ int, first, n int64) gguf.Origin {
	each := s.Source.Tensors()[0].Rows()
	part, from := first/each, first%each
	return gguf.Origin{Source: s.Source, Tensor: len(s.Source.Tensors()) - 1 - int(part), First: from, N: min(n, each-from), Same: !s.made}
}

// named is a Wrapper that changes nothing but the tensors' names; its tensor without is
// its own.
type named struct {
	gguf.Source
	without int
}

func (w named) Tensors() []gguf.TensorInfo {
	var tensors []gguf.TensorInfo
	for _, t := range w.Source.Tensors() {
		t.Name += "'"
		tensors = append(tensors, t)
	}
	return tensors
}

func (w named) Unwrap(tensor int, first, n int64) gguf.Origin {
	if tensor == w.without {
		return gguf.Origin{}
	}
	return gguf.Origin{Source: w.Source, Tensor: tensor, First: first, N: n, Same: true}
}

func TestPrefetchReachesWhatIsWrapped(t *testing.T) {
	src := newAble()
	gguf.Prefetch(stacked{named{src, -1}, true}, 0, 3, 6)
	require.Equal(t, [][3]int64{{2, 3, 1}, {1, 0, 4}, {0, 0, 1}}, src.prefetched)

	src = newAble()
	gguf.Prefetch(named{src, 1}, 1, 0, 4)
	require.Empty(t, src.prefetched)
	gguf.Prefetch(&src.memory, 0, 0, 4) // which cannot
}

// Rows are mapped through wrappers if they are as they are in a Mapper, and in one piece.
func TestMappedRows(t *testing.T) {
	src := newAble()
	stack := stacked{named{src, -1}, false}
	require.NoError(t, gguf.Map(stack))
	require.True(t, src.mapped)
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Int64Range(0, 11).Draw(t, "first")
		n := rapid.Int64Range(1, 12-first).Draw(t, "n")
		want := make([]byte, 3*n)
		require.NoError(t, stack.ReadRows(want, 0, first, n))
		rows, mapper := gguf.MappedRows(stack, 0, first, n)
		if first/4 != (first+n-1)/4 {
			require.Nil(t, rows)
			return
		}
		require.Equal(t, want, rows)
		require.Same(t, src, mapper)
	})

	src = newAble()
	made := stacked{src, true}
	require.NoError(t, gguf.Map(made))
	require.False(t, src.mapped)
	rows, _ := gguf.MappedRows(made, 0, 0, 1)
	require.Nil(t, rows)
	rows, _ = gguf.MappedRows(named{src, 0}, 0, 0, 1)
	require.Nil(t, rows)
	rows, _ = gguf.MappedRows(&src.memory, 0, 0, 1)
	require.Nil(t, rows)
}

func TestMapPassesOverWhatCannotBeMapped(t *testing.T) {
	require.NoError(t, gguf.Map(&newAble().memory))
	src := newAble()
	src.mapErr = fmt.Errorf("not here: %w", errors.ErrUnsupported)
	require.NoError(t, gguf.Map(named{src, -1}))
	src.mapErr = errors.New("broken")
	require.ErrorIs(t, gguf.Map(named{src, -1}), src.mapErr)
}

func TestRowsID(t *testing.T) {
	src := newAble()
	require.Equal(t, "b", gguf.RowsID(src, 1))
	require.Equal(t, "b", gguf.RowsID(named{named{src, 2}, 0}, 1))
	require.Nil(t, gguf.RowsID(named{src, 1}, 1))
	require.Nil(t, gguf.RowsID(&src.memory, 1))
	// Only a part of the stack is the rows of b.
	require.Nil(t, gguf.RowsID(stacked{src, false}, 0))
}

func TestUnwrap(t *testing.T) {
	src := newAble()
	got, tensor := gguf.Unwrap(named{named{src, -1}, -1}, 2)
	require.Same(t, src, got)
	require.Equal(t, 2, tensor)
	inner := named{src, 2}
	got, _ = gguf.Unwrap(named{inner, -1}, 2)
	require.Equal(t, inner, got)
	stack := stacked{src, false}
	got, _ = gguf.Unwrap(stack, 0)
	require.Equal(t, stack, got)
}

func TestInputsOfWhatIsWrapped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.gguf")
	_, err := gguf.Write(t.Context(), path, newAble(), gguf.WriteOptions{})
	require.NoError(t, err)
	file, err := gguf.Open(path)
	require.NoError(t, err)
	defer file.Close()
	require.Len(t, file.Inputs(), 1)
	require.Equal(t, file.Inputs(), gguf.Inputs(stacked{named{file, 0}, true}))
	require.Equal(t, []*files.File(nil), gguf.Inputs(newAble()))
}
