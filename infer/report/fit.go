package report

import (
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/graph"
)

// Fit is what a model has to fit into, and with which contexts.
type Fit struct {
	contexts []fitContext // from short to long
	gpu      int64        // bytes, or 0
	layers   int          // of the model
}

// fitContext is a context, and what it takes.
type fitContext struct {
	setting choose.Setting
	memory  choose.Memory
}

// NewFit finds out what models take with each context, from short to long. gpu is the free
// memory of a GPU that llama.cpp shares the model with, 0 for none.
func NewFit(spec *graph.Spec, settings []choose.Setting, gpu int64) (Fit, error) {
	f := Fit{gpu: gpu, layers: len(spec.Layers)}
	for _, setting := range settings {
		memory, err := choose.NewMemory(spec, setting)
		if err != nil {
			return f, err
		}
		f.contexts = append(f.contexts, fitContext{setting, memory})
	}
	return f, nil
}

// Memory returns what the longest context takes, which has to fit beside the weights.
func (f Fit) Memory() choose.Memory { return f.longest().memory }

// longest returns the context that has to fit.
func (f Fit) longest() fitContext { return f.contexts[len(f.contexts)-1] }

// Room is what there has to be room for.
type Room struct {
	// What has to fit beside the weights: the cache for so many tokens, the most that
	// are asked for, and buffers.
	Ctx            int           `json:"ctx"`
	CacheBytes     int64         `json:"cache_bytes"`
	ComputeBytes   int64         `json:"compute_bytes"`
	FlashAttention bool          `json:"flash_attn"`
	CacheTypeK     string        `json:"cache_type_k"`
	CacheTypeV     string        `json:"cache_type_v"`
	GPUBytes       *int64        `json:"gpu_bytes"` // null without --gpu
	Contexts       []RoomContext `json:"contexts"`
}

// RoomContext is what a context takes, and what fits with it.
type RoomContext struct {
	Ctx          int      `json:"ctx"`
	CacheBytes   int64    `json:"cache_bytes"`
	ComputeBytes int64    `json:"compute_bytes"`
	Fits         []string `json:"fits"` // names of candidates
}

// ContextNeeds is what a candidate takes with a context.
type ContextNeeds struct {
	Ctx         int      `json:"ctx"`
	NeededBytes int64    `json:"needed_bytes"`
	Fits        bool     `json:"fits"`
	Split       *Offload `json:"split,omitempty"` // with --gpu
	Flags       string   `json:"llama_cpp"`       // to run it
}

// Offload is choose.Offload.
type Offload struct {
	Layers       int   `json:"gpu_layers"`
	ExpertsOnCPU int   `json:"cpu_moe_layers"`
	GPUBytes     int64 `json:"gpu_bytes"`
	CPUBytes     int64 `json:"cpu_bytes"`
}

func (f Fit) room(choice *choose.Choice) Room {
	longest := f.longest()
	r := Room{
		Ctx: longest.setting.Context, CacheBytes: longest.memory.Cache, ComputeBytes: longest.memory.Compute,
		FlashAttention: longest.setting.FlashAttention, CacheTypeK: longest.setting.Keys.String(), CacheTypeV: longest.setting.Values.String(),
	}
	if f.gpu > 0 {
		r.GPUBytes = &f.gpu
	}
	for i, context := range f.contexts {
		fits := []string{}
		for _, considered := range choice.Considered {
			if f.needs(considered, choice.Fit)[i].Fits {
				fits = append(fits, considered.Name)
			}
		}
		r.Contexts = append(r.Contexts, RoomContext{context.setting.Context, context.memory.Cache, context.memory.Compute, fits})
	}
	return r
}

// needs returns what a candidate takes with each context, if there are so many bytes, or 0
// for enough.
func (f Fit) needs(candidate choose.Considered, bytes int64) []ContextNeeds {
	var needs []ContextNeeds
	for _, context := range f.contexts {
		need := ContextNeeds{Ctx: context.setting.Context, NeededBytes: candidate.Bytes + context.memory.Bytes(), Flags: context.setting.Flags()}
		need.Fits = bytes == 0 || need.NeededBytes <= bytes
		if f.gpu > 0 {
			split := choose.Split(candidate.Source.Tensors(), f.layers, context.memory, f.gpu)
			need.Split = &Offload{split.Layers, split.ExpertsOnCPU, split.GPU, split.CPU}
			need.Flags = split.Flags() + " " + need.Flags
		}
		needs = append(needs, need)
	}
	return needs
}

// terms says in sentences what the chosen one takes.
func (f Fit) terms(choice *choose.Choice, base Base) []string {
	chosen := choice.Considered[choice.Chosen]
	needs := f.needs(chosen, choice.Fit)
	longest := f.longest()
	var terms []string
	if choice.Fit > 0 {
		types := longest.setting.Keys.String()
		if longest.setting.Values != longest.setting.Keys {
			types = fmt.Sprintf("%s and %s", longest.setting.Keys, longest.setting.Values)
		}
		attention := "with"
		if !longest.setting.FlashAttention {
			attention = "without"
		}
		terms = append(terms, fmt.Sprintf("It takes %s of memory of %s: the file, %s of cache for %d tokens (keys and values of all layers in %s), and %s "+
			"of buffers, an upper estimate of what llama.cpp takes %s flash attention.",
			display.Bytes(needs[len(needs)-1].NeededBytes), display.Bytes(choice.Fit), display.Bytes(longest.memory.Cache), longest.setting.Context, types,
			display.Bytes(longest.memory.Compute), attention))
		for i, need := range needs[:len(needs)-1] {
			at := slices.IndexFunc(choice.Considered, func(other choose.Considered) bool { return f.needs(other, choice.Fit)[i].Fits })
			largest := choice.Considered[at]
			terms = append(terms, fmt.Sprintf("With %d tokens it takes %s; the largest candidate that fits with so many is %s, %s.",
				need.Ctx, display.Bytes(need.NeededBytes), largest.Name, display.Bytes(f.needs(largest, choice.Fit)[i].NeededBytes)))
		}
		if !base.IsPacked() && base.Bytes+longest.memory.Bytes() <= choice.Fit {
			terms = append(terms, fmt.Sprintf("The %s, %s, fits as it is.", base.noun(), base.Type))
		}
	}
	if f.gpu > 0 {
		for _, need := range needs {
			terms = append(terms, fmt.Sprintf("llama.cpp with %s of a GPU: %s. That takes %s there and %s of main memory.", display.Bytes(f.gpu), need.Flags,
				display.Bytes(need.Split.GPUBytes), display.Bytes(need.Split.CPUBytes)))
		}
	}
	return terms
}

// FitColumns are those of the memory that is taken.
func (c *Choice) FitColumns() (columns []string) {
	switch {
	case c.FitBytes == nil:
	case len(c.Contexts) == 1:
		columns = append(columns, "memory")
	default:
		for _, context := range c.Contexts {
			columns = append(columns, fmt.Sprintf("memory for %d", context.Ctx))
		}
	}
	if c.GPUBytes != nil {
		columns = append(columns, "llama.cpp's flags")
	}
	return columns
}

// fitCells are a candidate's in FitColumns. What does not fit is in brackets.
func (c *Choice) fitCells(candidate Considered) (cells []string) {
	if c.FitBytes != nil {
		for _, need := range candidate.Contexts {
			cell := display.Bytes(need.NeededBytes)
			if !need.Fits {
				cell = "(" + cell + ")"
			}
			cells = append(cells, cell)
		}
	}
	if c.GPUBytes != nil {
		cells = append(cells, candidate.Contexts[len(candidate.Contexts)-1].Flags)
	}
	return cells
}
