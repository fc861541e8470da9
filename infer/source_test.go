package infer_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
)

// source is a model in memory, all of it F32.
type source struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	data    [][]float32
	readErr error
}

func (s *source) Metadata() *gguf.Metadata   { return s.meta }
func (s *source) Tensors() []gguf.TensorInfo { return s.tensors }

func (s *source) ReadRows(dst []byte, tensor int, first, n int64) error {
	info := s.tensors[tensor]
	if err := info.CheckRows(dst, first, n); err != nil {
		return err
	}
	if s.readErr != nil && n > 0 && len(info.Shape) > 1 {
		return s.readErr
	}
	for i, v := range s.data[tensor][first*info.RowLen() : (first+n)*info.RowLen()] {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
	return nil
}

// get returns the values of a tensor, nil if there is none.
func (s *source) get(name string) []float32 {
	i := s.find(name)
	if i < 0 {
		return nil
	}
	return s.data[i]
}

func (s *source) find(name string) int {
	return slices.IndexFunc(s.tensors, func(t gguf.TensorInfo) bool { return t.Name == name })
}

func (s *source) delete(name string) {
	i := s.find(name)
	s.tensors = slices.Delete(s.tensors, i, i+1)
	s.data = slices.Delete(s.data, i, i+1)
}

// spec says what random model to make.
type spec struct {
	layers, width, hidden, heads, kvHeads, keyLen, valueLen, vocabulary int
	experts, used                                                       int
	expertHidden, sharedHidden, denseBlocks                             int     // of architectures that have keys for them
	expertScale                                                         float32 // 0: none
	tied, biased                                                        bool
	ropeFactors                                                         []float32
	ropeScale                                                           float32 // 0: none
	arch                                                                string  // "": llama
	// Of Gemma 2.
	window             int
	scoreCap, logitCap float32
}

// small has head lengths that differ, and dimensions that fill no panel.
var small = spec{layers: 2, width: 22, hidden: 37, heads: 4, kvHeads: 2, keyLen: 6, valueLen: 5, vocabulary: 41}

// of returns the spec for an architecture: a mixture if its name says so.
func (s spec) of(arch string) spec {
	s.arch = arch
	if arch == "deepseek" || strings.HasSuffix(arch, "moe") {
		s.experts, s.used, s.expertHidden = 5, 2, 13
	}
	switch arch {
	case "deepseek":
		s.layers, s.denseBlocks, s.sharedHidden, s.expertScale = 3, 1, 2*s.expertHidden, 1.5
	case "qwen2moe":
		s.sharedHidden = 43
	}
	if arch == "gemma2" {
		s.tied, s.window, s.scoreCap, s.logitCap = true, 7, 1.5, 2
	}
	s.biased = arch == "qwen2" || arch == "qwen2moe"
	return s
}

func (s spec) build(seed uint64) *source {
	src := random{Spec: s.graph(), tied: s.tied, biased: s.biased, ropeFactors: s.ropeFactors}.build(seed)
	src.meta = s.metadata()
	return src
}

func (s spec) metadata() *gguf.Metadata {
	arch := s.arch
	if arch == "" {
		arch = "llama"
	}
	meta := gguf.NewMetadata(
		gguf.KV{Key: "general.architecture", Value: arch},
		gguf.KV{Key: arch + ".block_count", Value: uint32(s.layers)},
		gguf.KV{Key: arch + ".embedding_length", Value: uint32(s.width)},
		gguf.KV{Key: arch + ".feed_forward_length", Value: uint32(s.hidden)},
		gguf.KV{Key: arch + ".attention.head_count", Value: uint32(s.heads)},
		gguf.KV{Key: arch + ".attention.head_count_kv", Value: uint32(s.kvHeads)},
		gguf.KV{Key: arch + ".attention.key_length", Value: uint32(s.keyLen)},
		gguf.KV{Key: arch + ".attention.value_length", Value: uint32(s.valueLen)},
		gguf.KV{Key: arch + ".attention.layer_norm_rms_epsilon", Value: float32(1e-5)},
		gguf.KV{Key: arch + ".rope.freq_base", Value: float32(500)},
	)
	if s.experts > 0 {
		meta.Set(arch+".expert_count", uint32(s.experts))
		meta.Set(arch+".expert_used_count", uint32(s.used))
	}
	if s.expertHidden > 0 {
		meta.Set(arch+".expert_feed_forward_length", uint32(s.expertHidden))
	}
	switch arch {
	case "deepseek":
		meta.Set("deepseek.rope.scaling.type", "none")
		meta.Set("deepseek.leading_dense_block_count", uint32(s.denseBlocks))
		meta.Set("deepseek.expert_shared_count", uint32(s.sharedHidden/s.expertHidden))
		meta.Set("deepseek.expert_weights_scale", s.expertScale)
	case "gemma2":
		meta.Set("gemma2.attention.sliding_window", uint32(s.window))
		meta.Set("gemma2.attn_logit_softcapping", s.scoreCap)
		meta.Set("gemma2.final_logit_softcapping", s.logitCap)
	case "qwen2moe":
		meta.Set("qwen2moe.expert_shared_feed_forward_length", uint32(s.sharedHidden))
	}
	if s.ropeScale > 0 {
		meta.Set(arch+".rope.scaling.type", "linear")
		meta.Set(arch+".rope.scaling.factor", s.ropeScale)
	}
	return meta
}

// graph returns what the model computes, said without package arch.
func (s spec) graph() graph.Spec {
	norm := func(name string) graph.Norm { return graph.Norm{Name: name, Epsilon: float64(float32(1e-5))} }
	g := graph.Spec{Architecture: s.arch, Vocabulary: s.vocabulary, Width: s.width, OutputNorm: norm("output_norm"), LogitCap: s.logitCap}
	attention := graph.Attention{
		Heads: s.heads, KVHeads: s.kvHeads, KeyLen: s.keyLen, ValueLen: s.valueLen, Scale: float32(1 / math.Sqrt(float64(s.keyLen))), Cap: s.scoreCap,
		Rope: graph.RopeSpec{Dims: s.keyLen, Base: 500, Factor: 1, NeoX: strings.HasPrefix(s.arch, "qwen") || s.arch == "gemma2", Factors: "rope_freqs.weight"},
	}
	if s.ropeScale > 0 {
		attention.Rope.Factor = float64(s.ropeScale)
	}
	if strings.HasPrefix(s.arch, "qwen3") {
		attention.QNorm, attention.KNorm = norm("attn_q_norm"), norm("attn_k_norm")
	}
	network := graph.Network{Hidden: s.hidden}
	mixture := graph.Mixture{
		Experts: s.experts, Used: s.used, Hidden: s.hidden, NormTopKProb: s.arch != "qwen2moe" && s.arch != "deepseek", WeightsScale: 1,
		Shared: graph.SharedExpert{Hidden: s.sharedHidden, Gated: s.arch == "qwen2moe"},
	}
	if s.expertHidden > 0 {
		mixture.Hidden = s.expertHidden
	}
	if s.expertScale > 0 {
		mixture.WeightsScale = float64(s.expertScale)
	}
	var after [2]graph.Norm
	if s.arch == "gemma2" {
		after = [2]graph.Norm{norm("post_attention_norm"), norm("post_ffw_norm")}
		network.Activation = graph.GELUTanh
		g.EmbeddingScale = float32(math.Sqrt(float64(s.width)))
	}
	for i := range s.layers {
		attention.Window = 0
		if i%2 == 0 {
			attention.Window = s.window
		}
		var second graph.Mixer = mixture
		if s.experts == 0 || i < s.denseBlocks {
			second = network
		}
		g.Layers = append(g.Layers, graph.Layer{
			{Norm: norm("attn_norm"), Mixers: []graph.Mixer{attention}, PostNorm: after[0]},
			{Norm: norm("ffn_norm"), Mixers: []graph.Mixer{second}, PostNorm: after[1]},
		})
	}
	return g
}

// random is a graph whose tensors are made at random.
type random struct {
	graph.Spec
	tied, biased  bool
	ropeFactors   []float32
	biasedExperts bool
}

func (r random) build(seed uint64) *source {
	rng := rand.New(rand.NewPCG(seed, 0))
	src := &source{meta: gguf.NewMetadata()}
	add := func(name string, mean, deviation float64, shape ...int) {
		info := gguf.TensorInfo{Name: name, Type: gguf.F32}
		for _, d := range shape {
			info.Shape = append(info.Shape, int64(d))
		}
		data := make([]float32, info.Elements())
		for i := range data {
			data[i] = float32(mean + deviation*rng.NormFloat64())
		}
		src.tensors = append(src.tensors, info)
		src.data = append(src.data, data)
	}
	linear := func(name string, rows, cols int) {
		add(name+".weight", 0, 1/math.Sqrt(float64(cols)), cols, rows)
		if r.biased {
			add(name+".bias", 0, 0.3, rows)
		}
	}
	norm := func(prefix string, n graph.Norm, deviation float64, length int) {
		if n.Name == "" {
			return
		}
		add(prefix+n.Name+".weight", 1, deviation, length)
		if n.Kind == graph.LayerNorm && r.biased {
			add(prefix+n.Name+".bias", 0, deviation, length)
		}
	}
	headNorm := func(p string, n graph.Norm, span graph.NormSpan, heads, length int) {
		switch span {
		case graph.AllHeads:
			norm(p, n, 0.3, heads*length)
		case graph.OwnHead:
			add(p+n.Name+".weight", 1, 0.3, length, heads)
		default:
			norm(p, n, 0.3, length)
		}
	}
	var mixer func(p string, m graph.Mixer)
	mixer = func(p string, m graph.Mixer) {
		switch m := m.(type) {
		case graph.Normed:
			norm(p, m.Norm, 0.2, r.Width)
			mixer(p, m.Mixer)
			norm(p, m.PostNorm, 0.2, r.Width)
		case graph.Attention:
			switch {
			case m.Shared > 0:
				linear(p+"attn_q", m.Heads*m.KeyLen, r.Width)
			case m.KeyValues:
				linear(p+"attn_q", m.Heads*m.KeyLen, r.Width)
				linear(p+"attn_k", m.KVHeads*m.KeyLen, r.Width)
			case m.Fused:
				linear(p+"attn_qkv", (m.Heads+m.KVHeads)*m.KeyLen+m.KVHeads*m.ValueLen, r.Width)
			default:
				queries := m.Heads * m.KeyLen
				if m.Gated {
					queries *= 2
				}
				linear(p+"attn_q", queries, r.Width)
				linear(p+"attn_k", m.KVHeads*m.KeyLen, r.Width)
				linear(p+"attn_v", m.KVHeads*m.ValueLen, r.Width)
			}
			if m.GateApart {
				linear(p+"attn_gate", m.Heads*m.ValueLen, r.Width)
			}
			linear(p+"attn_output", r.Width, m.Heads*m.ValueLen)
			headNorm(p, m.QNorm, m.NormSpan, m.Heads, m.KeyLen)
			if m.Shared == 0 {
				headNorm(p, m.KNorm, m.NormSpan, m.KVHeads, m.KeyLen)
				norm(p, m.VNorm, 0.3, m.ValueLen)
			}
			if m.Sinks {
				add(p+"attn_sinks.weight", 0, 1, m.Heads)
			}
		case graph.ShortConv:
			linear(p+"shortconv.in_proj", 3*m.Width, r.Width)
			linear(p+"shortconv.conv", m.Width, m.Inputs)
			linear(p+"shortconv.out_proj", r.Width, m.Width)
		case graph.Mamba:
			linear(p+"ssm_in", 2*m.Inner, r.Width)
			linear(p+"ssm_conv1d", m.Inner, m.Inputs)
			linear(p+"ssm_x", m.Rank+2*m.States, m.Inner)
			linear(p+"ssm_dt", m.Inner, m.Rank)
			linear(p+"ssm_out", r.Width, m.Inner)
			add(p+"ssm_a", -1, 0.3, m.States, m.Inner)
			add(p+"ssm_d", 1, 0.3, m.Inner)
			norm(p, m.StepNorm, 0.3, m.Rank)
			norm(p, m.InputNorm, 0.3, m.States)
			norm(p, m.StateNorm, 0.3, m.States)
		case graph.Mamba2:
			channels := m.Inner + 2*m.Groups*m.States
			linear(p+"ssm_in", m.Inner+channels+m.Heads, r.Width)
			linear(p+"ssm_conv1d", channels, m.Inputs)
			linear(p+"ssm_out", r.Width, m.Inner)
			add(p+"ssm_a", -1, 0.3, 1, m.Heads)
			add(p+"ssm_d", 1, 0.3, 1, m.Heads)
			add(p+"ssm_dt.bias", 0, 0.5, m.Heads)
			if m.Norm.Name != "" {
				add(p+m.Norm.Name+".weight", 1, 0.3, m.Inner/m.Groups, m.Groups)
			}
		case graph.DeltaNet:
			channels := 2*m.KeyHeads*m.KeyLen + m.Values
			linear(p+"attn_qkv", channels, r.Width)
			linear(p+"attn_gate", m.Values, r.Width)
			linear(p+"ssm_conv1d", channels, m.Inputs)
			linear(p+"ssm_out", r.Width, m.Values)
			add(p+"ssm_a", -1, 0.3, m.ValueHeads)
			add(p+"ssm_dt.bias", 0, 0.5, m.ValueHeads)
			norm(p, m.Norm, 0.3, m.Values/m.ValueHeads)
			if m.Paired {
				linear(p+"ssm_ba", 2*m.ValueHeads, r.Width)
			} else {
				linear(p+"ssm_beta", m.ValueHeads, r.Width)
				linear(p+"ssm_alpha", m.ValueHeads, r.Width)
			}
		case graph.MLA:
			plain := m.KeyLen - m.Rope.Dims
			if m.QueryRank > 0 {
				linear(p+"attn_q_a", m.QueryRank, r.Width)
				norm(p, m.QNorm, 0.3, m.QueryRank)
				linear(p+"attn_q_b", m.Heads*m.KeyLen, m.QueryRank)
			} else {
				linear(p+"attn_q", m.Heads*m.KeyLen, r.Width)
			}
			linear(p+"attn_kv_a_mqa", m.Rank+m.Rope.Dims, r.Width)
			norm(p, m.KVNorm, 0.3, m.Rank)
			if m.Absorbed {
				add(p+"attn_k_b.weight", 0, 0.4, plain, m.Rank, m.Heads)
				add(p+"attn_v_b.weight", 0, 0.4, m.Rank, m.ValueLen, m.Heads)
			} else {
				add(p+"attn_kv_b.weight", 0, 0.4, m.Rank, m.Heads*(plain+m.ValueLen))
			}
			if x := m.Indexer; x.TopK > 0 && x.Shared == 0 {
				linear(p+"indexer.attn_q_b", x.Heads*x.KeyLen, m.QueryRank)
				linear(p+"indexer.attn_k", x.KeyLen, r.Width)
				linear(p+"indexer.proj", x.Heads, r.Width)
				norm(p, x.Norm, 0.3, x.KeyLen)
			}
			linear(p+"attn_output", r.Width, m.Heads*m.ValueLen)
		case graph.Laurel:
			add(p+"laurel_l.weight", 0, 0.3, r.Width, m.Rank)
			add(p+"laurel_r.weight", 0, 0.3, m.Rank, r.Width)
			norm(p, m.Norm, 0.2, r.Width)
		case graph.PerLayer:
			add(p+"inp_gate.weight", 0, 0.3, r.Width, m.Width)
			add(p+"proj.weight", 0, 0.3, m.Width, r.Width)
		case graph.Network:
			up := m.Hidden
			switch {
			case m.Fused:
				up *= 2
			case !m.Ungated:
				linear(p+"ffn_gate", m.Hidden, r.Width)
			}
			linear(p+"ffn_up", up, r.Width)
			linear(p+"ffn_down", r.Width, m.Hidden)
		case graph.Mixture:
			add(p+"ffn_gate_inp.weight", 0, 1, r.Width, m.Experts)
			stack := func(name string, rows, cols int) {
				add(p+name+".weight", 0, 0.2, cols, rows, m.Experts)
				if r.biasedExperts {
					add(p+name+".bias", 0, 0.3, rows, m.Experts)
				}
			}
			if m.Fused {
				stack("ffn_gate_up_exps", 2*m.Hidden, r.Width)
			} else {
				if !m.Ungated {
					stack("ffn_gate_exps", m.Hidden, r.Width)
				}
				stack("ffn_up_exps", m.Hidden, r.Width)
			}
			stack("ffn_down_exps", r.Width, m.Hidden)
			if r.biasedExperts {
				add(p+"ffn_gate_inp.bias", 0, 0.3, m.Experts)
			}
			if m.Biased {
				add(p+"exp_probs_b.bias", 0, 0.3, m.Experts)
			}
			if m.Scaled {
				add(p+"ffn_down_exps.scale", 1, 0.3, m.Experts)
			}
			if m.Router != (graph.Norm{}) {
				add(p+"ffn_gate_inp.scale", 3, 1, r.Width)
			}
			norm(p, m.Norm, 0.2, r.Width)
			if m.Shared.Hidden > 0 {
				if !m.Ungated {
					add(p+"ffn_gate_shexp.weight", 0, 0.2, r.Width, m.Shared.Hidden)
				}
				add(p+"ffn_up_shexp.weight", 0, 0.2, r.Width, m.Shared.Hidden)
				add(p+"ffn_down_shexp.weight", 0, 0.2, m.Shared.Hidden, r.Width)
			}
			if m.Shared.Gated {
				add(p+"ffn_gate_inp_shexp.weight", 0, 0.5, r.Width)
			}
		}
	}
	add("token_embd.weight", 0, 1, r.Width, r.Vocabulary)
	if r.Positions > 0 {
		add("position_embd.weight", 0, 1, r.Width, r.Positions)
	}
	if r.TokenTypes > 0 {
		add("token_types.weight", 0, 1, r.Width, r.TokenTypes)
	}
	norm("", r.EmbeddingNorm, 0.2, r.Width)
	norm("", r.OutputNorm, 0.2, r.Width)
	if !r.tied {
		add("output.weight", 0, 1, r.Width, r.Vocabulary)
	}
	n := r.AltUp.Streams
	if n > 0 {
		add("altup_proj.weight", 0, 0.5, r.Width, r.Width, n-1)
		add("altup_unembd_proj.weight", 0, 0.5, r.Width, r.Width, n-1)
	}
	for m := range r.Mixers {
		if m, ok := m.(graph.PerLayer); ok && src.find("per_layer_model_proj.weight") < 0 {
			add("per_layer_token_embd.weight", 0, 1, len(r.Layers)*m.Width, r.Vocabulary)
			add("per_layer_model_proj.weight", 0, 1, r.Width, len(r.Layers)*m.Width)
			norm("", m.Norm, 0.2, m.Width)
		}
		if a, ok := m.(graph.Attention); ok && a.Rope.LongFactors != "" {
			add(a.Rope.Factors, 2, 0.2, a.Rope.Dims/2)
			add(a.Rope.LongFactors, 5, 0.5, a.Rope.Dims/2)
		}
	}
	if r.ropeFactors != nil {
		add("rope_freqs.weight", 0, 0, len(r.ropeFactors))
		copy(src.data[len(src.data)-1], r.ropeFactors)
	}
	for i, layer := range r.Layers {
		p := fmt.Sprintf("blk.%d.", i)
		if n > 0 {
			norm(p, r.AltUp.Norm, 0.2, r.Width)
			add(p+"altup_router.weight", 0, 5, r.Width, n)
			add(p+"altup_predict_coef.weight", 0, 0.3, n, n*n)
			add(p+"altup_correct_coef.weight", 0, 0.3, n, n)
			add(p+"altup_correct_scale.weight", 1, 0.3, r.Width)
		}
		for _, s := range layer {
			norm(p, s.Norm, 0.2, r.Width)
			for _, m := range s.Mixers {
				mixer(p, m)
			}
			norm(p, s.PostNorm, 0.2, r.Width)
			norm(p, s.EndNorm, 0.2, r.Width)
			if s.EndScale != "" {
				add(p+s.EndScale+".weight", 0.7, 0.1, 1)
			}
		}
	}
	return src
}
