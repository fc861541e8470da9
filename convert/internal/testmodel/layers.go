package testmodel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What WithAttention adds to Tensors for Qwen2, and for Qwen3 with heads of 32 elements.
var (
	Qwen2Biases = map[string]int64{"q_proj.bias": 64, "k_proj.bias": 32, "v_proj.bias": 32}
	Qwen3Norms  = map[string]int64{"q_norm.weight": 32, "k_norm.weight": 32}
)

// WithAttention returns the tensors and in each layer vectors of the given
// lengths, by their names below self_attn.
func WithAttention(tensors []Tensor, vectors map[string]int64) []Tensor {
	tensors = slices.Clone(tensors)
	for layer := range 2 {
		for _, name := range slices.Backward(slices.Sorted(maps.Keys(vectors))) { // the order of the golden data
			tensors = append(tensors, Tensor{Name: fmt.Sprintf("model.layers.%d.self_attn.%s", layer, name), Dtype: tensors[0].Dtype,
				Shape: []int64{vectors[name]}})
		}
	}
	return tensors
}

// WithHeads returns the tensors with attention heads of another length.
func WithHeads(tensors []Tensor, length int64) []Tensor {
	tensors = slices.Clone(tensors)
	for i := range tensors {
		switch name := tensors[i].Name; {
		case strings.HasSuffix(name, "q_proj.weight"):
			tensors[i].Shape = []int64{4 * length, 64}
		case strings.HasSuffix(name, "k_proj.weight"), strings.HasSuffix(name, "v_proj.weight"):
			tensors[i].Shape = []int64{2 * length, 64}
		case strings.HasSuffix(name, "o_proj.weight"):
			tensors[i].Shape = []int64{64, 4 * length}
		}
	}
	return tensors
}

// WithExperts returns the tensors of a dense model with experts of the given
// width, named as those of Qwen and DeepSeek are, instead of the feed-forward part
// of the layers from first on. If shared is not empty, it is the name of an expert
// of the width sharedWidth; Qwen's shared_expert has a gate.
func WithExperts(tensors []Tensor, first int, experts, width int64, shared string, sharedWidth int64) []Tensor {
	dtype := tensors[0].Dtype
	for layer := first; layer < 2; layer++ {
		mlp := fmt.Sprintf("model.layers.%d.mlp.", layer)
		tensors = slices.DeleteFunc(slices.Clone(tensors), func(t Tensor) bool { return strings.HasPrefix(t.Name, mlp) })
		add := func(name string, shape ...int64) {
			tensors = append(tensors, Tensor{Name: mlp + name + ".weight", Dtype: dtype, Shape: shape})
		}
		network := func(name string, width int64) {
			add(name+".gate_proj", width, 64)
			add(name+".up_proj", width, 64)
			add(name+".down_proj", 64, width)
		}
		add("gate", experts, 64)
		for e := range experts {
			network(fmt.Sprintf("experts.%d", e), width)
		}
		if shared != "" {
			network(shared, sharedWidth)
		}
		if shared == "shared_expert" {
			add("shared_expert_gate", 1, 64)
		}
	}
	return tensors
}
