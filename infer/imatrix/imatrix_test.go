package imatrix_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/imatrix"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/results"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

func openMoE(t *testing.T) convert.Model {
	m, err := convert.OpenModel(t.Context(), reference.MoE(t), convert.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func someTokens() []int32 {
	tokens := make([]int32, 200)
	for i := range tokens {
		tokens[i] = int32(i*i*7%4000 + 3)
	}
	return tokens
}

// bos begins every chunk.
const bos = 1

func text(tokens []int32) []perplexity.Text {
	return []perplexity.Text{{Name: "some", Tokens: tokens, BOS: bos}}
}

// values returns a tensor's elements.
func values(t *testing.T, src gguf.Source, name string) []float32 {
	for i, info := range src.Tensors() {
		if info.Name == name {
			raw, x := make([]byte, info.Bytes()), make([]float32, info.Elements())
			require.NoError(t, src.ReadRows(raw, i, 0, info.Rows()))
			require.NoError(t, quant.Dequantize(info.Type, x, raw, len(x)))
			return x
		}
	}
	require.Fail(t, "no tensor "+name)
	return nil
}

func TestSumsOfTheFirstLayer(t *testing.T) {
	const width, chunk, chunks = 256, 60, 3
	model, tokens := openMoE(t), someTokens()
	m, err := imatrix.Measure(context.Background(), model, text(tokens), imatrix.Options{Options: perplexity.Options{Ctx: chunk}})
	require.NoError(t, err)
	file, err := m.Sums.Source()
	require.NoError(t, err)

	// What goes into the first attention is the normalised embedding.
	embedding, norm := values(t, model, "token_embd.weight"), values(t, model, "blk.0.attn_norm.weight")
	want := make([]float64, width)
	for i, id := range tokens[:chunk*chunks] {
		if i%chunk == 0 {
			id = bos
		}
		row := embedding[int(id)*width:][:width]
		var squares float64
		for _, v := range row {
			squares += float64(v) * float64(v)
		}
		for j, v := range row {
			want[j] += math.Pow(float64(v)*float64(norm[j]), 2) / (squares/width + 1e-5)
		}
	}
	for _, name := range []string{"attn_q", "attn_k", "attn_v"} {
		got := values(t, file, "blk.0."+name+".weight.in_sum2")
		for j := range want {
			require.InEpsilon(t, want[j], got[j], 1e-5, "%s column %d", name, j)
		}
		require.Equal(t, []float32{chunk * chunks}, values(t, file, "blk.0."+name+".weight.counts"))
	}
}

func TestCountsAndCoverage(t *testing.T) {
	model, tokens := openMoE(t), someTokens()
	for _, output := range []bool{false, true} {
		m, err := imatrix.Measure(context.Background(), model, text(tokens), imatrix.Options{Options: perplexity.Options{Ctx: 50}, Output: output})
		require.NoError(t, err)
		file, err := m.Sums.Source()
		require.NoError(t, err)
		want := 2 * 4 * 8 // layers x (q, k, v, output, router, gate, up, down)
		if output {
			want += 2
			require.Equal(t, []float32{200}, values(t, file, "output.weight.counts"))
		}
		require.Len(t, file.Tensors(), want)
		require.Len(t, m.Layers, 4)
		for i, l := range m.Layers {
			require.Equal(t, i, l.Layer)
			require.EqualValues(t, 200, l.Tokens)
			require.EqualValues(t, 2*200, l.Chosen[0]+l.Chosen[1]+l.Chosen[2]+l.Chosen[3])
			require.Greater(t, l.Entropy, 0.0)
			require.LessOrEqual(t, l.Entropy, 2.0)
			for _, name := range []string{"gate", "up", "down"} {
				for expert, n := range values(t, file, "blk."+string(rune('0'+i))+".ffn_"+name+"_exps.weight.counts") {
					require.EqualValues(t, l.Chosen[expert], n)
				}
			}
		}
	}
}

func TestSumsDoNotDependOnThreadsOrBatches(t *testing.T) {
	model, tokens := openMoE(t), someTokens()
	var want []float32
	for _, engine := range []infer.Options{{Threads: 1}, {Threads: 3}, {Threads: 2, Memory: 1}} {
		m, err := imatrix.Measure(context.Background(), model, text(tokens), imatrix.Options{Options: perplexity.Options{Ctx: 40}, Engine: engine})
		require.NoError(t, err)
		file, err := m.Sums.Source()
		require.NoError(t, err)
		got := values(t, file, "blk.3.ffn_down_exps.weight.in_sum2")
		if want == nil {
			want = got
		}
		require.Equal(t, want, got)
	}
}

func TestErrors(t *testing.T) {
	model := openMoE(t)
	_, err := imatrix.Measure(context.Background(), model, text(someTokens()), imatrix.Options{})
	require.ErrorContains(t, err, "some: the text has 200 tokens, chunks of 512 need at least 1024")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = imatrix.Measure(ctx, model, text(someTokens()), imatrix.Options{Options: perplexity.Options{Ctx: 50}})
	require.ErrorIs(t, err, context.Canceled)
}

// The matrix of two texts is that of one plus that of the other: no chunk has tokens
// of both.
func TestSeveralTexts(t *testing.T) {
	model := openMoE(t)
	a := perplexity.Text{Name: "a", Tokens: someTokens(), BOS: bos} // 4 chunks of 45 and a rest
	b := perplexity.Text{Name: "b", Tokens: someTokens()[33:], BOS: bos}
	measure := func(texts ...perplexity.Text) *imatrix.Measurement {
		m, err := imatrix.Measure(t.Context(), model, texts, imatrix.Options{Options: perplexity.Options{Ctx: 45}})
		require.NoError(t, err)
		return m
	}
	together, first, second := measure(a, b), measure(a), measure(b)
	require.EqualValues(t, 4+3, together.Sums.Chunks)
	require.Equal(t, []string{"a", "b"}, together.Sums.Datasets)
	sums := func(m *imatrix.Measurement) []float32 {
		file, err := m.Sums.Source()
		require.NoError(t, err)
		return values(t, file, "blk.3.ffn_down_exps.weight.in_sum2")
	}
	want := sums(first)
	for i, v := range sums(second) {
		want[i] += v
	}
	require.InEpsilonSlice(t, want, sums(together), 1e-5)
}

// A matrix is the same, bit by bit, on every instruction set.
func TestSumsDoNotDependOnTheInstructionSet(t *testing.T) {
	model, tokens := openMoE(t), someTokens()[:60]
	var want []float32
	isatest.ForEach(t, func(t *testing.T) {
		m, err := imatrix.Measure(t.Context(), model, text(tokens), imatrix.Options{Options: perplexity.Options{Ctx: 30}})
		require.NoError(t, err)
		file, err := m.Sums.Source()
		require.NoError(t, err)
		var got []float32
		for _, info := range file.Tensors() {
			got = append(got, values(t, file, info.Name)...)
		}
		if want == nil {
			want = got
		}
		require.Equal(t, want, got)
	})
}

// Parts give the same file and the same routing as a run in one piece, to the last bit, and so does one that was stopped and continued.
func TestResultsAreThoseOfOneRun(t *testing.T) {
	model := openMoE(t)
	opts := imatrix.Options{Options: perplexity.Options{Ctx: 5}, Output: true} // 40 chunks, 3 units
	want, err := imatrix.Measure(t.Context(), model, text(someTokens()), opts)
	require.NoError(t, err)
	storage := results.Directory(t.TempDir())
	partial := (*results.Partial)(nil)
	in := func(part results.Part) imatrix.Options {
		opts := opts
		if part.Number == 2 {
			opts.Engine.Memory = 1
		}
		opts.Results = &results.Place{Storage: storage, Part: part}
		return opts
	}
	stopped := in(results.Part{Number: 1, Of: 2})
	kept := 0
	stopped.Results.Check = func() error {
		if kept++; kept == 2 {
			return errors.New("killed")
		}
		return nil
	}
	_, err = imatrix.Measure(t.Context(), model, text(someTokens()), stopped)
	require.ErrorContains(t, err, "killed")
	for i, units := range []int{2, 1} {
		_, err := imatrix.Measure(t.Context(), model, text(someTokens()), in(results.Part{Number: i + 1, Of: 2}))
		require.ErrorAs(t, err, &partial)
		require.True(t, partial.Done())
		require.Equal(t, units, partial.Units)
		require.Equal(t, 1, partial.Now)
	}
	got, err := imatrix.Measure(t.Context(), model, text(someTokens()), in(results.Part{}))
	require.NoError(t, err)
	require.Equal(t, want, got)

	other := in(results.Part{})
	other.Output = false
	var note string
	other.Results.Note = func(text string) { note = text }
	_, err = imatrix.Measure(t.Context(), model, text(someTokens()), other)
	require.NoError(t, err)
	require.Contains(t, note, "output matrix: it was true, now it is false")
}
