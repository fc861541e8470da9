package choose_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/graph"
)

// shape has two layers with heads as wide as the stream together, and experts of a token.
func shape(width, hidden, heads, kvHeads, vocabulary, experts int) *graph.Spec {
	attention := graph.Attention{Heads: heads, KVHeads: kvHeads, KeyLen: width / heads, ValueLen: width / heads}
	var network graph.Mixer = graph.Network{Hidden: hidden}
	if experts > 0 {
		network = graph.Mixture{Experts: 2 * experts, Used: experts, Hidden: hidden}
	}
	layer := graph.Layer{{Mixers: []graph.Mixer{attention}}, {Mixers: []graph.Mixer{network}}}
	return &graph.Spec{Width: width, Vocabulary: vocabulary, Layers: []graph.Layer{layer, layer}}
}

// heads has heads of 128 that are not as wide as the stream.
func heads(s *graph.Spec) *graph.Spec {
	attention := s.Layers[0][0].Mixers[0].(graph.Attention)
	attention.KeyLen, attention.ValueLen = 128, 128
	s.Layers[0][0].Mixers[0] = attention // and of the other layer, which shares it
	return s
}

// The cache and the compute buffers that llama.cpp 0.7.0 reserves on the CPU (llama-completion
// -lv 5), in MiB, for files that have nothing but a shape.
func TestMemoryIsThatOfLlamaCpp(t *testing.T) {
	const f32, f16, q8, q4 = gguf.F32, gguf.F16, gguf.Q8_0, gguf.Q4_0
	for _, c := range []struct {
		name         string
		shape        *graph.Spec
		context      int
		keys, values gguf.Type
		cache        float64
		off, on      float64 // without and with flash attention; 0 if it was not measured
	}{
		{"mini", shape(256, 512, 8, 2, 4096, 2), 100, f16, f16, 0.125, 0, 2.10},
		{"mini", shape(256, 512, 8, 2, 4096, 2), 512, f16, f16, 0.25, 12.27, 11.02},
		{"mini", shape(256, 512, 8, 2, 4096, 2), 8192, f16, f16, 4, 147.27, 18.52},
		{"mini", shape(256, 512, 8, 2, 4096, 2), 131072, f16, f16, 64, 2307.27, 0},
		{"mini", shape(256, 512, 8, 2, 4096, 2), 4096, f32, f32, 4, 0, 14.52},
		{"7B", shape(4096, 14336, 32, 8, 32000, 0), 512, f16, f16, 4, 129.02, 124.52},
		{"7B", shape(4096, 14336, 32, 8, 32000, 0), 8192, f16, f16, 64, 580.02, 132.02},
		{"7B", shape(4096, 14336, 32, 8, 32000, 0), 32768, f16, f16, 256, 2164.02, 156.02},
		{"7B", shape(4096, 14336, 32, 8, 32000, 0), 8192, q8, q8, 34, 0, 132.10},
		{"7B", shape(4096, 14336, 32, 8, 32000, 0), 8192, q4, q4, 18, 0, 132.10},
		{"7B", shape(4096, 14336, 32, 8, 32000, 0), 8192, q8, f16, 49, 572.08, 0},
		{"7B", shape(4096, 14336, 32, 8, 32000, 0), 4096, f32, f32, 64, 0, 136.02},
		{"4x7B", shape(4096, 14336, 32, 8, 32000, 2), 512, f16, f16, 4, 213.02, 208.52},
		{"4x7B", shape(4096, 14336, 32, 8, 32000, 2), 8192, f16, f16, 64, 580.02, 216.02},
		{"8x22B", shape(6144, 16384, 48, 8, 32768, 2), 512, f16, f16, 4, 257.02, 252.52},
		{"8x22B", shape(6144, 16384, 48, 8, 32768, 2), 8192, f16, f16, 64, 860.02, 260.02},
		{"Llama 3 70B", shape(8192, 28672, 64, 8, 128256, 0), 512, f16, f16, 4, 335.52, 331.02},
		{"Llama 3 70B", shape(8192, 28672, 64, 8, 128256, 0), 8192, f16, f16, 64, 1140.02, 338.52},
		{"Llama 3.2 1B", shape(2048, 8192, 32, 8, 128256, 0), 512, f16, f16, 2, 273.52, 271.02},
		{"Llama 3.2 1B", shape(2048, 8192, 32, 8, 128256, 0), 8192, f16, f16, 32, 554.02, 282.52},
		{"Qwen 2 0.5B", shape(896, 4864, 14, 2, 151936, 0), 512, f16, f16, 0.5, 307.02, 306.02},
		{"Qwen 2 0.5B", shape(896, 4864, 14, 2, 151936, 0), 8192, f16, f16, 8, 323.77, 315.27},
		{"Qwen 3 0.6B", heads(shape(1024, 3072, 16, 8, 151936, 0)), 512, f16, f16, 4, 313.77, 307.27},
		{"Qwen 3 0.6B", heads(shape(1024, 3072, 16, 8, 151936, 0)), 8192, f16, f16, 64, 326.77, 316.77},
		{"Qwen 3 30B-A3B", heads(shape(2048, 768, 32, 4, 151936, 8)), 512, f16, f16, 2, 319.77, 317.27},
		{"Qwen 3 30B-A3B", heads(shape(2048, 768, 32, 4, 151936, 8)), 8192, f16, f16, 32, 566.02, 324.77},
		{"Qwen 3 235B-A22B", heads(shape(4096, 1536, 64, 4, 151936, 8)), 300, f16, f16, 2, 199.08, 197.62},
		{"Qwen 3 235B-A22B", heads(shape(4096, 1536, 64, 4, 151936, 8)), 4096, f16, f16, 16, 594.02, 340.77},
		{"Qwen 3 235B-A22B", heads(shape(4096, 1536, 64, 4, 151936, 8)), 32768, f16, f16, 128, 4234.02, 376.77},
		{"eight of sixteen experts", shape(1024, 4096, 16, 4, 8192, 8), 300, f16, f16, 1, 119.54, 118.66},
		{"eight of sixteen experts", shape(1024, 4096, 16, 4, 8192, 8), 32768, f16, f16, 64, 1101.02, 234.02},
		{"Llama 2 7B", shape(4096, 11008, 32, 32, 32000, 0), 4096, f16, f16, 128, 328.02, 108.52},
		{"as many KV heads, large vocabulary", shape(2048, 5632, 16, 16, 128256, 0), 512, f16, f16, 8, 283.52, 271.02},
		{"as many KV heads, large vocabulary", shape(2048, 5632, 16, 16, 128256, 0), 8192, f16, f16, 128, 304.02, 282.52},
		{"as many KV heads, large vocabulary", shape(2048, 5632, 16, 16, 128256, 0), 100000, f16, f16, 1564, 3355.52, 368.27},
		{"as many KV heads of 128", heads(shape(1024, 1024, 16, 16, 1024, 0)), 300, f16, f16, 8, 25.20, 15.54},
		{"as many KV heads of 128", heads(shape(1024, 1024, 16, 16, 1024, 0)), 4096, f16, f16, 64, 162.02, 30.02},
		{"one KV head", shape(4096, 1024, 32, 1, 1024, 0), 4096, f16, f16, 4, 312.52, 52.02},
		{"one KV head", shape(4096, 1024, 32, 1, 1024, 0), 32768, f16, f16, 32, 2160.52, 80.02},
		{"heads eight times as wide as the stream", heads(shape(512, 1024, 32, 32, 1024, 0)), 4096, f16, f16, 128, 301.02, 41.02},
		{"heads eight times as wide as the stream", heads(shape(512, 1024, 32, 32, 1024, 0)), 32768, f16, f16, 1024, 2149.02, 69.02},
	} {
		for flash, reserved := range map[bool]float64{false: c.off, true: c.on} {
			if reserved == 0 {
				continue
			}
			t.Run(fmt.Sprint(c.name, " ", c.context, " ", c.keys, " ", flash), func(t *testing.T) {
				m, err := choose.NewMemory(c.shape, choose.Setting{Context: c.context, Keys: c.keys, Values: c.values, FlashAttention: flash})
				require.NoError(t, err)
				require.Equal(t, c.cache, float64(m.Cache)/(1<<20))
				estimate := float64(m.Compute) / (1 << 20)
				require.GreaterOrEqual(t, estimate, reserved)
				require.LessOrEqual(t, estimate, 1.2*reserved)
			})
		}
	}
}

// Windows make caches shorter, and have masks of their own: testdata/gemma2, measured as
// above.
func TestMemoryOfWindows(t *testing.T) {
	layer := func(window int) graph.Layer {
		attention := graph.Attention{Heads: 4, KVHeads: 2, KeyLen: 32, ValueLen: 32, Window: window}
		return graph.Layer{{Mixers: []graph.Mixer{attention}}, {Mixers: []graph.Mixer{graph.Network{Hidden: 128}}}}
	}
	spec := &graph.Spec{Width: 64, Vocabulary: 384, Layers: []graph.Layer{layer(16), layer(0), layer(16), layer(0)}}
	for _, c := range []struct {
		context           int
		flash             bool
		cache, reservedBy float64
	}{
		{512, true, 0.5, 2.40}, {4096, true, 2.375, 6.1523}, {16384, true, 8.375, 18.1523},
		{512, false, 0.5, 7.64}, {4096, false, 2.375, 43.14}, {16384, false, 8.375, 163.1445},
	} {
		m, err := choose.NewMemory(spec, choose.Setting{Context: c.context, Keys: gguf.F16, Values: gguf.F16, FlashAttention: c.flash})
		require.NoError(t, err)
		require.Equal(t, c.cache, float64(m.Cache)/(1<<20))
		estimate := float64(m.Compute) / (1 << 20)
		require.GreaterOrEqual(t, estimate, c.reservedBy)
		require.LessOrEqual(t, estimate, 1.2*c.reservedBy)
	}
}

// An indexer has keys of its own, but not in a layer that shares one: as measured of small models like GLM 5.
func TestMemoryOfAnIndexer(t *testing.T) {
	indexer := graph.Indexer{Heads: 16, KeyLen: 64, TopK: 12}
	layer := func(shared int) graph.Layer {
		m := graph.MLA{Heads: 3, KeyLen: 32, ValueLen: 18, Rank: 24, Rope: graph.RopeSpec{Dims: 12}, Absorbed: true, Indexer: indexer}
		m.Indexer.Shared = shared
		return graph.Layer{{Mixers: []graph.Mixer{m}}, {Mixers: []graph.Mixer{graph.Network{Hidden: 48}}}}
	}
	spec := &graph.Spec{Width: 32, Vocabulary: 384, Layers: []graph.Layer{layer(0), layer(1), layer(0)}}
	for _, c := range []struct {
		context    int
		flash      bool
		reservedBy float64
	}{
		{512, true, 6.03}, {4096, true, 19.03}, {16384, true, 67.03}, {512, false, 9.53}, {4096, false, 53.03}, {16384, false, 209.78},
	} {
		m, err := choose.NewMemory(spec, choose.Setting{Context: c.context, Keys: gguf.F16, Values: gguf.F16, FlashAttention: c.flash})
		require.NoError(t, err)
		require.EqualValues(t, c.context*2*(3*36+2*64), m.Cache)
		estimate := float64(m.Compute) / (1 << 20)
		require.GreaterOrEqual(t, estimate, c.reservedBy)
		require.LessOrEqual(t, estimate, 1.5*c.reservedBy)
	}
}

// TestMemoryOfStreams has several streams, and what each layer adds for a token: shapes of Gemma 3n, measured as above.
func TestMemoryOfStreams(t *testing.T) {
	for _, c := range []struct {
		width, hidden, layers, vocabulary int
		reserved                          [4]float64 // 512 tokens without and with flash attention, 2048
	}{
		{256, 512, 6, 384, [4]float64{16.0234, 14.5312, 29.5234, 16.28}},
		{256, 512, 25, 384, [4]float64{55.0234, 53.5312, 58.5234, 55.2812}},
		{256, 4096, 6, 384, [4]float64{35.0234, 33.5312, 38.5234, 35.2812}},
		{256, 512, 6, 8000, [4]float64{20.6484, 19.1562, 29.5234, 20.9062}},
		{1024, 512, 6, 384, [4]float64{48.5234, 47.0312, 52.0234, 48.7812}},
	} {
		spec := &graph.Spec{Width: c.width, Vocabulary: c.vocabulary, AltUp: graph.AltUp{Streams: 4}}
		for i := range c.layers {
			attention := graph.Attention{Heads: 4, KVHeads: 2, KeyLen: 32, ValueLen: 32}
			if (i+1)%5 != 0 {
				attention.Window = 16
			}
			spec.Layers = append(spec.Layers, graph.Layer{{Mixers: []graph.Mixer{attention, graph.Laurel{Rank: 64}, graph.Network{Hidden: c.hidden}, graph.PerLayer{Width: 256}}}})
		}
		for i, reserved := range c.reserved {
			m, err := choose.NewMemory(spec, choose.Setting{Context: []int{512, 2048}[i/2], Keys: gguf.F16, Values: gguf.F16, FlashAttention: i%2 == 1})
			require.NoError(t, err)
			estimate := float64(m.Compute) / (1 << 20)
			require.GreaterOrEqual(t, estimate, reserved, "%v", c)
			require.LessOrEqual(t, estimate, 1.2*reserved, "%v", c)
		}
	}
}

func TestMemoryOfAnEndlessContext(t *testing.T) {
	for _, flash := range []bool{false, true} {
		m, err := choose.NewMemory(shape(4096, 14336, 32, 8, 32000, 0),
			choose.Setting{Context: math.MaxInt, Keys: gguf.F16, Values: gguf.F16, FlashAttention: flash})
		require.NoError(t, err)
		require.Greater(t, m.Bytes(), int64(1<<60))
	}
}

func TestMemoryRefusesWhatLlamaCppRefuses(t *testing.T) {
	narrow := shape(256, 512, 16, 2, 4096, 0) // heads of 16
	for _, c := range []struct {
		shape   *graph.Spec
		setting choose.Setting
		says    string
	}{
		{shape(256, 512, 8, 2, 4096, 0), choose.Setting{Keys: gguf.F16, Values: gguf.Q8_0}, "values can be kept in Q8_0 only with flash attention"},
		{shape(256, 512, 8, 2, 4096, 0), choose.Setting{Keys: gguf.Q6_K, Values: gguf.F16}, "keys cannot be kept in Q6_K, only in F32, F16, BF16, Q8_0,"},
		{narrow, choose.Setting{Keys: gguf.F16, Values: gguf.Q4_0, FlashAttention: true}, "values of 16 elements cannot be kept in Q4_0, whose blocks have 32"},
	} {
		_, err := choose.NewMemory(c.shape, c.setting)
		require.ErrorContains(t, err, c.says)
	}
}

func TestFlagsOfLlamaCpp(t *testing.T) {
	require.Equal(t, "-c 8192", choose.Setting{Context: 8192, Keys: gguf.F16, Values: gguf.F16, FlashAttention: true}.Flags())
	require.Equal(t, "-c 512 -fa off -ctk q8_0 -ctv bf16", choose.Setting{Context: 512, Keys: gguf.Q8_0, Values: gguf.BF16}.Flags())
	require.Equal(t, "-ngl 33 --n-cpu-moe 4", choose.Offload{Layers: 33, ExpertsOnCPU: 4}.Flags())
	require.Equal(t, "-ngl 0", choose.Offload{}.Flags())
}

// tensors are those of a mixture with four layers: 10 bytes of embeddings, 20 of output, and in
// each layer 6 and 100 of experts.
func tensors(experts, output bool) []gguf.TensorInfo {
	add := func(all []gguf.TensorInfo, name string, bytes int64) []gguf.TensorInfo {
		return append(all, gguf.TensorInfo{Name: name, Type: gguf.F16, Shape: []int64{bytes / 2, 1}})
	}
	all := add(nil, "token_embd.weight", 10)
	if output {
		all = add(all, "output.weight", 20)
	}
	for i := range 4 {
		all = add(all, fmt.Sprintf("blk.%d.attn_q.weight", i), 6)
		if experts {
			all = add(all, fmt.Sprintf("blk.%d.ffn_up_exps.weight", i), 100)
		}
	}
	return all
}

func TestSplit(t *testing.T) {
	memory := choose.Memory{Cache: 4, Compute: 7}
	split := func(experts, output bool, gpu int64) choose.Offload {
		return choose.Split(tensors(experts, output), 4, memory, gpu)
	}
	require.Equal(t, choose.Offload{Layers: 5, GPU: 455, CPU: 10}, split(true, true, 455), "all of it")
	require.Equal(t, choose.Offload{Layers: 5, ExpertsOnCPU: 1, GPU: 355, CPU: 117}, split(true, true, 454))
	require.Equal(t, choose.Offload{Layers: 5, ExpertsOnCPU: 4, GPU: 55, CPU: 417}, split(true, true, 154), "no experts")
	require.Equal(t, choose.Offload{Layers: 4, ExpertsOnCPU: 4, GPU: 48, CPU: 424}, split(true, true, 54), "without the first layer")
	require.Equal(t, choose.Offload{Layers: 1, ExpertsOnCPU: 4, GPU: 27, CPU: 445}, split(true, true, 30), "the output alone")
	require.Equal(t, choose.Offload{CPU: 465}, split(true, true, 26), "nothing")
	require.Equal(t, choose.Offload{Layers: 3, GPU: 41, CPU: 31}, split(false, true, 47), "a dense model")
	require.Equal(t, choose.Offload{Layers: 5, GPU: 45, CPU: 10}, split(false, false, 45), "a copy of the embeddings")
}

// TestMoreRoomIsUsed checks that more room on the GPU never means less there, and that nothing is
// lost between GPU and CPU.
func TestMoreRoomIsUsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		experts := rapid.Bool().Draw(t, "experts")
		memory := choose.Memory{Cache: 4 * rapid.Int64Range(0, 50).Draw(t, "cache"), Compute: rapid.Int64Range(0, 200).Draw(t, "compute")}
		gpu := rapid.Int64Range(0, 1000).Draw(t, "gpu")
		less, more := choose.Split(tensors(experts, true), 4, memory, gpu), choose.Split(tensors(experts, true), 4, memory,
			gpu+rapid.Int64Range(0, 300).Draw(t, "more"))
		require.LessOrEqual(t, less.GPU, gpu)
		require.LessOrEqual(t, less.GPU, more.GPU)
		var weights int64
		for _, info := range tensors(experts, true) {
			weights += info.Bytes()
		}
		require.GreaterOrEqual(t, less.GPU+less.CPU, weights+memory.Cache)
		require.LessOrEqual(t, less.GPU+less.CPU, weights+memory.Cache+2*memory.Compute)
	})
}
