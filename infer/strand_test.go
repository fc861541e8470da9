package infer_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// halves is a source of F32 with some tensors in F16.
type halves struct {
	gguf.Source
	tensors []gguf.TensorInfo
}

func halvesOf(src gguf.Source, some func(gguf.TensorInfo) bool) *halves {
	h := &halves{src, slices.Clone(src.Tensors())}
	for i, t := range h.tensors {
		if some(t) {
			h.tensors[i].Type = gguf.F16
		}
	}
	return h
}

func (h *halves) Tensors() []gguf.TensorInfo { return h.tensors }

func (h *halves) ReadRows(dst []byte, tensor int, first, n int64) error {
	if h.tensors[tensor].Type == gguf.F32 {
		return h.Source.ReadRows(dst, tensor, first, n)
	}
	cols := h.tensors[tensor].RowLen()
	raw, values := make([]byte, 4*n*cols), make([]float32, n*cols)
	if err := h.Source.ReadRows(raw, tensor, first, n); err != nil {
		return err
	}
	if err := quant.Dequantize(gguf.F32, values, raw, int(cols)); err != nil {
		return err
	}
	return quant.Quantize(gguf.F16, dst, values, int(cols), nil)
}

func strandsOf(m *infer.Model, texts [][]int32) infer.Strands {
	var strands infer.Strands
	for _, text := range texts {
		strands = append(strands, infer.Strand{Model: m, Tokens: text, Stream: make([]float32, len(text)*m.Spec().Stream())})
	}
	return strands
}

// through takes texts through a model and a form of it side by side, and returns the logits of both.
func through(t *testing.T, m *infer.Model, src gguf.Source, chunks [][]int32, from int) (ours, theirs [][][]float32) {
	t.Helper()
	form, err := m.Form(src)
	require.NoError(t, err)
	// The last of the texts are of the model, the first of its form, so that rows of either are not where panels begin.
	strands := slices.Concat(strandsOf(form, chunks), strandsOf(m, chunks))
	require.NoError(t, strands.Enter(t.Context()))
	for layer := 0; layer < len(m.Spec().Layers); {
		end := layer + 1
		for !m.CanBegin(end) {
			end++
		}
		require.NoError(t, strands.Advance(t.Context(), layer, end))
		layer = end
	}
	visit, logits := collect(t, slices.Concat(chunks, chunks), from)
	require.NoError(t, strands.Logits(t.Context(), from, visit))
	all := logits()
	return all[len(chunks):], all[:len(chunks)]
}

func TestStrandsAreForward(t *testing.T) {
	s := small
	s.layers, s.experts, s.used = 3, 4, 2
	src := s.build(4)
	chunks := s.chunks(30, 7, 110, 12, 1)
	for _, names := range [][]string{
		nil, {"token_embd.weight"}, {"output.weight"}, {"blk.0.attn_k.weight"}, {"blk.1.attn_output.weight"}, {"blk.1.ffn_up_exps.weight"},
		{"blk.2.ffn_down_exps.weight", "blk.0.attn_q.weight"},
	} {
		changed := halvesOf(src, func(t gguf.TensorInfo) bool { return slices.Contains(names, t.Name) })
		want, wantChanged := forward(t, src, infer.Options{}, chunks, 3), forward(t, changed, infer.Options{}, chunks, 3)
		for _, memory := range []int64{0, 1} {
			m, err := infer.New(src, infer.Options{Memory: memory})
			require.NoError(t, err)
			ours, theirs := through(t, m, changed, chunks, 3)
			require.Equal(t, want, ours, names)
			require.Equal(t, wantChanged, theirs, names)
		}
	}
}

// TestStrandsReadOnce has many forms read what they have in common once, and each what is its own.
func TestStrandsReadOnce(t *testing.T) {
	s := small
	s.layers = 2
	src := s.build(4)
	m, err := infer.New(src, infer.Options{})
	require.NoError(t, err)
	chunks := s.chunks(5)
	strands := strandsOf(m, chunks)
	var changed int64
	for _, tensor := range src.Tensors() {
		if layer, _ := gguf.SplitName(tensor.Name); layer == 1 && recipe.Quantizable(tensor) {
			form, err := m.Form(halvesOf(src, func(t gguf.TensorInfo) bool { return t.Name == tensor.Name }))
			require.NoError(t, err)
			strands = append(strands, strandsOf(form, chunks)...)
			changed += tensor.Bytes()
		}
	}
	require.Greater(t, len(strands), 5)
	before := m.BytesRead()
	require.NoError(t, strands.Advance(t.Context(), 1, 2))
	require.Equal(t, changed, m.BytesRead()-before)
	for _, strand := range strands[1:] {
		require.Less(t, strand.Model.BytesRead(), changed)
		require.Positive(t, strand.Model.BytesRead())
	}
}

func TestStrandErrors(t *testing.T) {
	s := small
	s.layers = 2
	src := s.build(4)
	model := func(opts infer.Options) *infer.Model {
		m, err := infer.New(src, opts)
		require.NoError(t, err)
		return m
	}
	m := model(infer.Options{})
	chunks := s.chunks(5, 3)
	strands := strandsOf(m, chunks)
	require.ErrorContains(t, strands.Advance(t.Context(), 1, 3), "layers 1 to 3 among 2")
	require.ErrorContains(t, strands.Advance(t.Context(), -1, 1), "layers -1 to 1")
	require.ErrorContains(t, strandsOf(model(infer.Options{Compute: infer.Int8}), chunks).Advance(t.Context(), 0, 1), "exact")
	require.ErrorContains(t, slices.Concat(strands, strandsOf(model(infer.Options{}), chunks)).Advance(t.Context(), 0, 1), "strand 2")
	strands[1].Stream = strands[1].Stream[1:]
	require.ErrorContains(t, strands.Logits(t.Context(), 0, nil), "strand 1")
	require.NoError(t, infer.Strands(nil).Advance(t.Context(), 0, 1))
	other := s
	other.layers = 3
	_, err := m.Form(other.build(4))
	require.ErrorIs(t, err, gguf.ErrUnsupported)
}
