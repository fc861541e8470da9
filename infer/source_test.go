package infer_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
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
	arch := s.arch
	if arch == "" {
		arch = "llama"
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	src := &source{meta: gguf.NewMetadata(
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
	)}
	if s.experts > 0 {
		src.meta.Set(arch+".expert_count", uint32(s.experts))
		src.meta.Set(arch+".expert_used_count", uint32(s.used))
	}
	expertHidden := s.hidden
	if s.expertHidden > 0 {
		expertHidden = s.expertHidden
		src.meta.Set(arch+".expert_feed_forward_length", uint32(expertHidden))
	}
	switch arch {
	case "deepseek":
		src.meta.Set("deepseek.rope.scaling.type", "none")
		src.meta.Set("deepseek.leading_dense_block_count", uint32(s.denseBlocks))
		src.meta.Set("deepseek.expert_shared_count", uint32(s.sharedHidden/expertHidden))
		src.meta.Set("deepseek.expert_weights_scale", s.expertScale)
	case "gemma2":
		src.meta.Set("gemma2.attention.sliding_window", uint32(s.window))
		src.meta.Set("gemma2.attn_logit_softcapping", s.scoreCap)
		src.meta.Set("gemma2.final_logit_softcapping", s.logitCap)
	case "qwen2moe":
		src.meta.Set("qwen2moe.expert_shared_feed_forward_length", uint32(s.sharedHidden))
	}
	if s.ropeScale > 0 {
		src.meta.Set(arch+".rope.scaling.type", "linear")
		src.meta.Set(arch+".rope.scaling.factor", s.ropeScale)
	}
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
		if s.biased {
			add(name+".bias", 0, 0.3, rows)
		}
	}
	add("token_embd.weight", 0, 1, s.width, s.vocabulary)
	add("output_norm.weight", 1, 0.2, s.width)
	if !s.tied {
		add("output.weight", 0, 1, s.width, s.vocabulary)
	}
	if s.ropeFactors != nil {
		add("rope_freqs.weight", 0, 0, len(s.ropeFactors))
		copy(src.data[len(src.data)-1], s.ropeFactors)
	}
	for i := range s.layers {
		p := fmt.Sprintf("blk.%d.", i)
		add(p+"attn_norm.weight", 1, 0.2, s.width)
		linear(p+"attn_q", s.heads*s.keyLen, s.width)
		linear(p+"attn_k", s.kvHeads*s.keyLen, s.width)
		linear(p+"attn_v", s.kvHeads*s.valueLen, s.width)
		linear(p+"attn_output", s.width, s.heads*s.valueLen)
		if strings.HasPrefix(arch, "qwen3") {
			add(p+"attn_q_norm.weight", 1, 0.3, s.keyLen)
			add(p+"attn_k_norm.weight", 1, 0.3, s.keyLen)
		}
		add(p+"ffn_norm.weight", 1, 0.2, s.width)
		if arch == "gemma2" {
			add(p+"post_attention_norm.weight", 1, 0.2, s.width)
			add(p+"post_ffw_norm.weight", 1, 0.2, s.width)
		}
		if s.experts == 0 || i < s.denseBlocks {
			linear(p+"ffn_gate", s.hidden, s.width)
			linear(p+"ffn_up", s.hidden, s.width)
			linear(p+"ffn_down", s.width, s.hidden)
			continue
		}
		add(p+"ffn_gate_inp.weight", 0, 1, s.width, s.experts)
		add(p+"ffn_gate_exps.weight", 0, 0.2, s.width, expertHidden, s.experts)
		add(p+"ffn_up_exps.weight", 0, 0.2, s.width, expertHidden, s.experts)
		add(p+"ffn_down_exps.weight", 0, 0.2, expertHidden, s.width, s.experts)
		if s.sharedHidden > 0 {
			add(p+"ffn_gate_shexp.weight", 0, 0.2, s.width, s.sharedHidden)
			add(p+"ffn_up_shexp.weight", 0, 0.2, s.width, s.sharedHidden)
			add(p+"ffn_down_shexp.weight", 0, 0.2, s.sharedHidden, s.width)
		}
		if arch == "qwen2moe" {
			add(p+"ffn_gate_inp_shexp.weight", 0, 0.5, s.width)
		}
	}
	return src
}
