package quant_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// stacked writes src, opens it, and stacks its experts.
func stacked(t *testing.T, src gguf.Source) (*quant.StackedFile, error) {
	path := filepath.Join(t.TempDir(), "old.gguf")
	_, err := gguf.Write(t.Context(), path, src, gguf.WriteOptions{})
	require.NoError(t, err)
	file, err := gguf.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { file.Close() })
	return quant.StackExperts(file)
}

func TestStackExperts(t *testing.T) {
	skipLong(t)
	modern, err := convert.OpenModel(t.Context(), reference.MoE(t), convert.Options{})
	require.NoError(t, err)
	defer modern.Close()
	got, err := stacked(t, reference.Unstack(modern, nil))
	require.NoError(t, err)
	require.Equal(t, modern.Tensors(), got.Tensors())
	require.Equal(t, modern.Metadata().All(), got.Metadata().All())
	require.Len(t, got.Notes(), 1)
	require.NoError(t, gguf.Map(got))
	for i, info := range got.Tensors() {
		data := readTensor(t, modern, info.Name)
		require.Equal(t, data, readTensor(t, got, info.Name), info.Name)
		// Rows of two experts are read, but are in no one place.
		part := make([]byte, info.RowBytes()*2)
		for first := range info.Rows() - 1 {
			require.NoError(t, got.ReadRows(part, i, first, 2))
			require.Equal(t, data[first*info.RowBytes():][:len(part)], part)
			if rows, _ := gguf.MappedRows(got, i, first, 2); rows != nil {
				require.Equal(t, part, rows)
			} else {
				require.Contains(t, info.Name, "_exps")
				require.Equal(t, info.Shape[1]-1, first%info.Shape[1])
			}
		}
	}

	none, err := stacked(t, modern)
	require.NoError(t, err)
	require.Nil(t, none)
}

// Experts of different types are taken as what they stand for.
func TestStackExpertsOfSeveralTypes(t *testing.T) {
	skipLong(t)
	modern, err := convert.OpenModel(t.Context(), reference.MoE(t), convert.Options{})
	require.NoError(t, err)
	defer modern.Close()
	small, large := newView(t, modern, recipe.Q4_0), newView(t, modern, recipe.Q8_0)
	got, err := stacked(t, reference.Unstack(small, large))
	require.NoError(t, err)
	require.Contains(t, got.Notes()[1], "ffn_down_exps.weight is taken as F32: its experts are Q4_0 and Q8_0")
	for i, info := range got.Tensors() {
		if info.Type == small.Tensors()[i].Type {
			continue
		}
		require.Equal(t, gguf.F32, info.Type)
		half := info.Elements() / info.Shape[2]
		for e := range info.Shape[2] {
			from := []*quant.View{small, large}[e%2]
			want := make([]float32, info.Elements())
			require.NoError(t, quant.Dequantize(from.Tensors()[i].Type, want, readTensor(t, from, info.Name), len(want)))
			raw, values := make([]byte, 4*half), make([]float32, half)
			require.NoError(t, got.ReadRows(raw, i, e*info.Shape[1], info.Shape[1]))
			require.NoError(t, quant.Dequantize(gguf.F32, values, raw, len(values)))
			require.Equal(t, want[e*half:][:half], values)
		}
		rows, _ := gguf.MappedRows(got, i, 0, 1)
		require.Nil(t, rows)
	}
}

func TestStackExpertsRefuses(t *testing.T) {
	const name = "blk.0.ffn_up.%d.weight"
	for what, test := range map[string]struct {
		experts []int
		shape   []int64 // of the last
		more    string  // another tensor
		count   any
		want    string
	}{
		"one is missing":     {experts: []int{0, 2}, count: uint32(3), want: "tensors of 2 experts, not of 3"},
		"a gap":              {experts: []int{0, 2}, count: uint32(2), want: `tensor "blk.0.ffn_up.2.weight" is not of one of 2 experts`},
		"leading zeros":      {experts: []int{0}, more: "blk.0.ffn_up.00.weight", count: uint32(2), want: "or there are two of it"},
		"a huge number":      {experts: []int{0}, more: "blk.0.ffn_up.99999999999999999999.weight", count: uint32(2), want: "is not of one of 2 experts"},
		"another shape":      {experts: []int{0, 1}, shape: []int64{32, 3}, count: uint32(2), want: "has shape [32 3], that of another expert [32 2]"},
		"three dimensions":   {experts: []int{0}, shape: []int64{32, 2, 2}, count: uint32(1), want: "has shape [32 2 2]"},
		"whole and in parts": {experts: []int{0, 1}, more: "blk.0.ffn_up_exps.weight", count: uint32(2), want: `tensor "blk.0.ffn_up_exps.weight" is there whole and in parts`},
		"no number of them":  {experts: []int{0}, want: "llama.expert_count"},
		"a wrong number":     {experts: []int{0}, count: "two", want: "llama.expert_count"},
	} {
		t.Run(what, func(t *testing.T) {
			src := &memorySource{meta: gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: "llama"})}
			if test.count != nil {
				src.meta.Set("llama.expert_count", test.count)
			}
			add := func(name string, shape []int64) {
				src.tensors = append(src.tensors, gguf.TensorInfo{Name: name, Type: gguf.F32, Shape: shape})
			}
			for i, e := range test.experts {
				shape := []int64{32, 2}
				if i == len(test.experts)-1 && test.shape != nil {
					shape = test.shape
				}
				add(fmt.Sprintf(name, e), shape)
			}
			if test.more != "" {
				add(test.more, []int64{32, 2})
			}
			_, err := stacked(t, src)
			require.ErrorContains(t, err, test.want)
		})
	}
}

// memorySource has tensors of zeros.
type memorySource struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
}

func (s *memorySource) Metadata() *gguf.Metadata                 { return s.meta }
func (s *memorySource) Tensors() []gguf.TensorInfo               { return s.tensors }
func (s *memorySource) ReadRows([]byte, int, int64, int64) error { return nil }
