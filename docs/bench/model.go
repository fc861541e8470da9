package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/convert/weights"
)

// shape is that of a Mistral or, with experts, of a Mixtral.
type shape struct {
	hidden, intermediate, layers, heads, kvHeads, vocabulary, experts int
}

var (
	mixtral = shape{hidden: 2048, intermediate: 5632, layers: 8, heads: 32, kvHeads: 8, vocabulary: 32768, experts: 4} // 1.33 B
	small   = shape{hidden: 256, intermediate: 512, layers: 2, heads: 8, kvHeads: 2, vocabulary: 4096, experts: 4}
	donor   = shape{hidden: 4096, intermediate: 14336, layers: 2, heads: 32, kvHeads: 8, vocabulary: 32000} // two layers of Mistral 7B
)

// checkpoint returns a directory with a model of random weights in BF16, which it makes if it is not there.
func (b *bench) checkpoint(name string, s shape) (string, error) {
	return b.directory(name, s.tensors(), s.config())
}

// directory returns one with a model, which it makes if it is not there.
func (b *bench) directory(name string, tensors weights.Set, configuration map[string]any) (string, error) {
	dir := filepath.Join(b.dir, name)
	if _, err := os.Stat(filepath.Join(dir, "config.json")); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	for _, file := range []string{"tokenizer.model", "tokenizer_config.json"} {
		data, err := os.ReadFile(filepath.Join("testdata/beyonder-mini/base", file))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, file), data, 0o666); err != nil {
			return "", err
		}
	}
	if _, err := safetensors.Write(b.ctx, dir, tensors, safetensors.WriteOptions{ShardBytes: 1 << 30}); err != nil {
		return "", err
	}
	config, err := json.Marshal(configuration)
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o666)
}

func (s shape) config() map[string]any {
	config := map[string]any{
		"architectures": []string{"MistralForCausalLM"}, "model_type": "mistral", "torch_dtype": "bfloat16",
		"hidden_size": s.hidden, "intermediate_size": s.intermediate, "num_hidden_layers": s.layers, "num_attention_heads": s.heads,
		"num_key_value_heads": s.kvHeads, "vocab_size": s.vocabulary, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
	}
	if s.experts > 0 {
		config["architectures"], config["model_type"] = []string{"MixtralForCausalLM"}, "mixtral"
		config["num_local_experts"], config["num_experts_per_tok"] = s.experts, 2
	}
	return config
}

// tensors are those of Mistral or Mixtral.
func (s shape) tensors() weights.Set {
	c := newCheckpoint()
	c.matrix("model.embed_tokens.weight", s.vocabulary, s.hidden)
	head := s.hidden / s.heads
	for layer := range s.layers {
		prefix := fmt.Sprintf("model.layers.%d.", layer)
		c.values(prefix+"input_layernorm.weight", 1, s.hidden)
		c.matrix(prefix+"self_attn.q_proj.weight", s.heads*head, s.hidden)
		c.matrix(prefix+"self_attn.k_proj.weight", s.kvHeads*head, s.hidden)
		c.matrix(prefix+"self_attn.v_proj.weight", s.kvHeads*head, s.hidden)
		c.matrix(prefix+"self_attn.o_proj.weight", s.hidden, s.heads*head)
		c.values(prefix+"post_attention_layernorm.weight", 1, s.hidden)
		network := func(prefix, gate, down, up string) {
			c.matrix(prefix+gate+".weight", s.intermediate, s.hidden)
			c.matrix(prefix+down+".weight", s.hidden, s.intermediate)
			c.matrix(prefix+up+".weight", s.intermediate, s.hidden)
		}
		if s.experts == 0 {
			network(prefix+"mlp.", "gate_proj", "down_proj", "up_proj")
			continue
		}
		c.matrix(prefix+"block_sparse_moe.gate.weight", s.experts, s.hidden)
		for e := range s.experts {
			network(fmt.Sprintf("%sblock_sparse_moe.experts.%d.", prefix, e), "w1", "w2", "w3")
		}
	}
	c.values("model.norm.weight", 1, s.hidden)
	c.matrix("lm_head.weight", s.vocabulary, s.hidden)
	return c.set
}

// checkpoint is the tensors of a model.
type checkpoint struct {
	set        *weights.List
	parameters float64
}

func newCheckpoint() *checkpoint { return &checkpoint{set: new(weights.List)} }

func (c *checkpoint) add(name string, elements int, r weights.Rows) {
	c.parameters += float64(elements)
	if err := c.set.Add(name, r); err != nil {
		panic(err) // names differ
	}
}

// values adds a tensor whose elements are all the same.
func (c *checkpoint) values(name string, v float32, shape ...int) {
	n, dims := 1, make([]int64, len(shape))
	for i, d := range shape {
		n, dims[i] = n*d, int64(d)
	}
	c.add(name, n, weights.Values(weights.BF16, slices.Repeat([]float32{v}, n), dims...))
}

// matrix adds one that is normally distributed.
func (c *checkpoint) matrix(name string, rows, columns int) { c.matrices(name, rows, columns) }

// matrices adds a tensor of several such.
func (c *checkpoint) matrices(name string, rows, columns int, n ...int) {
	seed, shape, elements := uint64(len(c.set.Names())), []int64{int64(rows), int64(columns)}, rows*columns
	for _, n := range n {
		shape, elements = append([]int64{int64(n)}, shape...), n*elements
	}
	c.add(name, elements, weights.Compute(shape, weights.BF16, 1, func(dst []float32, first, n int64) error {
		for i := range n {
			rng := rand.New(rand.NewPCG(seed, uint64(first+i)))
			for j := range columns {
				dst[int(i)*columns+j] = float32(rng.NormFloat64() * 0.02)
			}
		}
		return nil
	}))
}
