package infer_test

import (
	"context"
	"io/fs"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
	"github.com/ggufkit/ggufkit/quant/recipe"
	"github.com/ggufkit/ggufkit/testdata"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// mixture opens the trained mixture in testdata.
func mixture(t *testing.T) gguf.Source {
	t.Helper()
	src, err := hf.Open(reference.MoE(t), hf.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, src.Close()) })
	return src
}

// quantized returns src as a file type.
func quantized(t *testing.T, src gguf.Source, ft recipe.FileType, overrides ...recipe.Override) gguf.Source {
	t.Helper()
	view, err := quant.NewView(src, ft, quant.ViewOptions{Recipe: recipe.Options{Overrides: overrides}})
	require.NoError(t, err)
	return view
}

// texts returns chunks of each of the texts in testdata, n of the given length.
func texts(t *testing.T, src gguf.Source, n, length int) [][]int32 {
	t.Helper()
	vocab, err := tokenizer.New(src.Metadata())
	require.NoError(t, err)
	names, err := fs.Glob(testdata.Texts, "*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	var chunks [][]int32
	for _, name := range names {
		data, err := fs.ReadFile(testdata.Texts, name)
		require.NoError(t, err)
		tokens, bos, err := perplexity.Tokens(vocab, string(data))
		require.NoError(t, err)
		for i := range n {
			chunk := tokens[i*length:][:length:length]
			chunk[0] = bos
			chunks = append(chunks, chunk)
		}
	}
	return chunks
}

// divergence returns the mean Kullback-Leibler divergence, in nats, of what
// int8 compute predicts from what exact compute does, and the logarithm of the
// ratio of their perplexities, over the second halves of the chunks.
func divergence(t *testing.T, src gguf.Source, chunks [][]int32) (kld, logRatio float64) {
	t.Helper()
	length := len(chunks[0])
	from := length / 2
	exact := forward(t, src, infer.Options{}, chunks, from)
	m, err := infer.New(src, infer.Options{Compute: infer.Int8})
	require.NoError(t, err)
	var mu sync.Mutex
	n := 0
	err = m.Forward(context.Background(), infer.Chunks(chunks, from), func(chunk, pos int, logits []float32) {
		if pos == length-1 {
			return
		}
		p, q := logSoftmax(exact[chunk][pos-from]), logSoftmax(logits)
		next := chunks[chunk][pos+1]
		mu.Lock()
		defer mu.Unlock()
		for i := range p {
			kld += math.Exp(p[i]) * (p[i] - q[i])
		}
		logRatio += p[next] - q[next]
		n++
	})
	require.NoError(t, err)
	return kld / float64(n), logRatio / float64(n)
}

func logSoftmax(logits []float32) []float64 {
	top, sum := math.Inf(-1), 0.0
	for _, v := range logits {
		top = max(top, float64(v))
	}
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	out := make([]float64, len(logits))
	for i, v := range logits {
		out[i] = float64(v) - top - math.Log(sum)
	}
	return out
}

// TestInt8IsNearExact bounds what 8-bit arithmetic adds to the loss of the
// weights: 0.0003 and 0.1 % are what is measured.
func TestInt8IsNearExact(t *testing.T) {
	if testing.Short() {
		t.Skip("runs ten models over the texts")
	}
	src := mixture(t)
	n, length := 1, 512
	types := []recipe.FileType{recipe.Q8_0, recipe.Q5_K_M, recipe.Q4_0, recipe.Q2_K}
	if tier := isa.Current(); tier != isa.AVX2 && tier != isa.AVX512 {
		n, length, types = 1, 24, types[:1] // products are a hundred times slower
	}
	chunks := texts(t, src, n, length)
	for _, ft := range types {
		t.Run(ft.String(), func(t *testing.T) {
			kld, logRatio := divergence(t, quantized(t, src, ft), chunks)
			require.Less(t, kld, 2e-3)
			require.Positive(t, kld, "int8 compute was not used")
			require.InDelta(t, 0, logRatio, 3e-3)
			t.Logf("divergence %.6f, perplexity %+.3f %%", kld, 100*(math.Exp(logRatio)-1))
		})
	}
	t.Run("BF16", func(t *testing.T) {
		kld, logRatio := divergence(t, src, chunks)
		require.Less(t, kld, 1e-4)
		require.InDelta(t, 0, logRatio, 3e-4)
	})
}

// TestInt8IsDeterministic demands the same bits however the work is cut, also
// where products of one layer are computed in different ways.
func TestInt8IsDeterministic(t *testing.T) {
	override, err := recipe.ParseOverride("attn_v|ffn_up=f16")
	require.NoError(t, err)
	src := quantized(t, mixture(t), recipe.Q8_0, override)
	length := 40
	if testing.Short() {
		length = 14
	}
	chunks := texts(t, src, 1, length)[:3]
	chunks[0] = chunks[0][:13]
	opts := infer.Options{Compute: infer.Int8, Threads: 1}
	isatest.ForEach(t, func(t *testing.T) {
		want := forward(t, src, opts, chunks, 12)
		require.Equal(t, want, forward(t, src, infer.Options{Compute: infer.Int8, Threads: 3}, chunks, 12), "three threads")
		require.Equal(t, want, forward(t, src, infer.Options{Compute: infer.Int8, Memory: 1}, chunks, 12), "each chunk a batch")
	})
}

// TestMultiply compares with float64, for weights of every way to compute.
func TestMultiply(t *testing.T) {
	const rows, n, k = 30, 70, 512
	rng := rand.New(rand.NewPCG(1, 1))
	x, w := make([]float32, rows*k), make([]float32, n*k)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	for i := range w {
		w[i] = float32(rng.NormFloat64())
	}
	isatest.ForEach(t, func(t *testing.T) {
		for _, typ := range []gguf.Type{gguf.F32, gguf.BF16, gguf.F16, gguf.Q8_0, gguf.Q4_K} {
			blocks, values := make([]byte, typ.RowBytes(n*k)), make([]float32, n*k)
			require.NoError(t, quant.Quantize(typ, blocks, w, k, nil))
			require.NoError(t, quant.Dequantize(typ, values, blocks, k))
			for _, compute := range []infer.Compute{infer.Exact, infer.Int8} {
				dst := make([]float32, rows*n)
				require.NoError(t, (&infer.Product{Type: typ, Weights: blocks, Cols: k, Compute: compute, Threads: 2}).Multiply(t.Context(), dst, x))
				bound := 1e-4
				if compute == infer.Int8 {
					// Rounding errors of 1/254 of the largest of a block, of
					// both factors, add up as in a random walk.
					bound = 6 * math.Sqrt(2*k) * 4 / 254
				}
				for i, got := range dst {
					want := 0.0
					for l := range k {
						want += float64(x[i/n*k+l]) * float64(values[i%n*k+l])
					}
					require.InDelta(t, want, got, bound, "%s, %s", typ, compute)
				}
			}
		}
		require.ErrorIs(t, (&infer.Product{Type: gguf.I32, Weights: make([]byte, 4), Cols: 1, Threads: 1}).Multiply(t.Context(), make([]float32, 1),
			[]float32{1}), gguf.ErrUnsupported)
	})
}

func TestParseCompute(t *testing.T) {
	for _, compute := range []infer.Compute{infer.Exact, infer.Int8} {
		got, err := infer.ParseCompute(compute.String())
		require.NoError(t, err)
		require.Equal(t, compute, got)
	}
	_, err := infer.ParseCompute("int4")
	require.ErrorContains(t, err, `"int4"`)
}

// Random models stand in for the architectures that testdata has no model of.
func TestInt8OfArchitectures(t *testing.T) {
	archs := []string{"deepseek", "qwen2", "qwen3", "qwen2moe", "qwen3moe"}
	if testing.Short() {
		archs = archs[:1]
	}
	for _, arch := range archs {
		t.Run(arch, func(t *testing.T) {
			s := small
			s.width, s.hidden, s.keyLen, s.valueLen = 256, 256, 32, 32
			s = s.of(arch)
			if s.experts > 0 {
				s.expertHidden = 128
			}
			if s.sharedHidden > 0 {
				s.sharedHidden = 2 * s.expertHidden
			}
			floats := s.build(4)
			for i := range floats.get("output.weight") {
				floats.get("output.weight")[i] /= 16 // now the logits have about the variance 1
			}
			src := quantized(t, floats, recipe.Q8_0)
			chunks := s.chunks(40, 40)
			kld, _ := divergence(t, src, chunks)
			t.Logf("mean KL divergence %.6f", kld)
			require.Less(t, kld, 0.005)
			require.NotZero(t, kld)

			m, err := infer.New(src, infer.Options{Compute: infer.Int8})
			require.NoError(t, err)
			session, err := m.NewSession(40, gguf.F32)
			require.NoError(t, err)
			logits, err := session.Start(t.Context(), chunks[1][:20])
			require.NoError(t, err)
			for _, id := range chunks[1][20:] {
				logits, err = session.Add(t.Context(), id)
				require.NoError(t, err)
			}
			exact := logSoftmax(forward(t, src, infer.Options{}, chunks[1:], 39)[0][0])
			for id, p := range logSoftmax(logits) {
				require.InDelta(t, exact[id], p, 0.1, "token %d", id)
			}
		})
	}
}
