package infer_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

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
	tied, biased                                                        bool
	ropeFactors                                                         []float32
	ropeScale                                                           float32 // 0: none
}

// small has head lengths that differ, and dimensions that fill no panel.
var small = spec{layers: 2, width: 22, hidden: 37, heads: 4, kvHeads: 2, keyLen: 6, valueLen: 5, vocabulary: 41}

func (s spec) build(seed uint64) *source {
	rng := rand.New(rand.NewPCG(seed, 0))
	src := &source{meta: gguf.NewMetadata(
		gguf.KV{Key: "general.architecture", Value: "llama"},
		gguf.KV{Key: "llama.block_count", Value: uint32(s.layers)},
		gguf.KV{Key: "llama.embedding_length", Value: uint32(s.width)},
		gguf.KV{Key: "llama.feed_forward_length", Value: uint32(s.hidden)},
		gguf.KV{Key: "llama.attention.head_count", Value: uint32(s.heads)},
		gguf.KV{Key: "llama.attention.head_count_kv", Value: uint32(s.kvHeads)},
		gguf.KV{Key: "llama.attention.key_length", Value: uint32(s.keyLen)},
		gguf.KV{Key: "llama.attention.value_length", Value: uint32(s.valueLen)},
		gguf.KV{Key: "llama.attention.layer_norm_rms_epsilon", Value: float32(1e-5)},
		gguf.KV{Key: "llama.rope.freq_base", Value: float32(500)},
	)}
	if s.experts > 0 {
		src.meta.Set("llama.expert_count", uint32(s.experts))
		src.meta.Set("llama.expert_used_count", uint32(s.used))
	}
	if s.ropeScale > 0 {
		src.meta.Set("llama.rope.scaling.type", "linear")
		src.meta.Set("llama.rope.scaling.factor", s.ropeScale)
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
		add(p+"ffn_norm.weight", 1, 0.2, s.width)
		if s.experts == 0 {
			linear(p+"ffn_gate", s.hidden, s.width)
			linear(p+"ffn_up", s.hidden, s.width)
			linear(p+"ffn_down", s.width, s.hidden)
			continue
		}
		add(p+"ffn_gate_inp.weight", 0, 1, s.width, s.experts)
		add(p+"ffn_gate_exps.weight", 0, 0.2, s.width, s.hidden, s.experts)
		add(p+"ffn_up_exps.weight", 0, 0.2, s.width, s.hidden, s.experts)
		add(p+"ffn_down_exps.weight", 0, 0.2, s.hidden, s.width, s.experts)
	}
	return src
}
