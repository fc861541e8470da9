package choose

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// Offload is how a model is split between a GPU and the CPU, in llama.cpp's terms.
type Offload struct {
	// Layers is how many of the model's layers are on the GPU (-ngl): the matrix of
	// the output counts as one and is the first to go there, then come the layers
	// from the last to the first.
	Layers int
	// ExpertsOnCPU is of how many layers, from the first, the experts stay on the CPU
	// though all else is on the GPU (--n-cpu-moe).
	ExpertsOnCPU int
	GPU, CPU     int64 // bytes of memory that this takes
}

// block is what a layer weighs.
type block struct{ experts, rest int64 }

// Split returns the split with the most on the GPU that takes at most so many bytes there. The
// tensors are the model's, which has so many layers, and m is what it takes to run
// it. A mixture has the experts of its first layers on the CPU before it has whole layers there: most of
// its weights are theirs, and few of them are used for a token.
func Split(tensors []gguf.TensorInfo, layers int, m Memory, gpu int64) Offload {
	blocks := make([]block, layers)
	var embeddings, output, all int64
	for _, t := range tensors {
		n := t.Bytes()
		all += n
		switch layer, _ := gguf.SplitName(t.Name); {
		case layer >= 0 && layer < layers && strings.Contains(t.Name, "_exps."):
			blocks[layer].experts += n
		case layer >= 0 && layer < layers:
			blocks[layer].rest += n
		case strings.HasPrefix(t.Name, "token_embd."):
			embeddings += n // always on the CPU
		default:
			output += n
		}
	}
	if !hasOutput(tensors) {
		output += embeddings // of which the GPU has a copy
	}
	cache := m.Cache / int64(max(layers, 1))
	split := func(onGPU, expertsOnCPU int) Offload {
		o := Offload{Layers: onGPU, ExpertsOnCPU: expertsOnCPU}
		weights := int64(0)
		if onGPU > 0 {
			weights = output
		}
		first := layers - max(onGPU-1, 0) // of those on the GPU
		for i, b := range blocks {
			switch {
			case i < first:
			case i < expertsOnCPU:
				weights += b.rest + cache
			default:
				weights += b.rest + b.experts + cache
			}
		}
		o.GPU = weights
		o.CPU = all + m.Cache - weights
		if !hasOutput(tensors) && onGPU > 0 {
			o.CPU += embeddings
		}
		if onGPU > 0 {
			o.GPU += m.Compute
		}
		if first > 0 || expertsOnCPU > 0 {
			o.CPU += m.Compute
		}
		return o
	}
	// From the most on the GPU to the least.
	withExperts := 0
	for i, b := range blocks {
		if b.experts > 0 {
			withExperts = i + 1
		}
	}
	for experts := 0; experts <= withExperts; experts++ {
		if o := split(layers+1, experts); o.GPU <= gpu {
			return o
		}
	}
	for onGPU := layers; onGPU > 0; onGPU-- {
		if o := split(onGPU, withExperts); o.GPU <= gpu {
			return o
		}
	}
	return split(0, 0)
}

// Flags are those of llama.cpp that split a model so.
func (o Offload) Flags() string {
	flags := fmt.Sprintf("-ngl %d", o.Layers)
	if o.ExpertsOnCPU > 0 {
		flags += fmt.Sprintf(" --n-cpu-moe %d", o.ExpertsOnCPU)
	}
	return flags
}

// hasOutput reports whether the output has a matrix of its own, not that of the embeddings.
func hasOutput(tensors []gguf.TensorInfo) bool {
	for _, t := range tensors {
		if t.Name == "output.weight" {
			return true
		}
	}
	return false
}
