package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/choose"
)

// defaultContext is the context for which there has to be memory, if --ctx does not
// say otherwise.
const defaultContext = 8192

// fitFlags say what memory there is, and what it is for.
func fitFlags() []cli.Flag {
	return []cli.Flag{
		sizeFlag("fit", "memory there is for the model, of CPU and GPU together, `SIZE`, such as 24G"),
		sizeFlag("gpu", "say how llama.cpp splits the model between a GPU with `SIZE` of free memory and the CPU"),
		&cli.StringFlag{Name: "ctx", Aliases: []string{"c"}, Value: strconv.Itoa(defaultContext), Usage: "tokens of context that have to fit, `N`, or several: N,N"},
		&cli.StringFlag{Name: "flash-attn", Aliases: []string{"fa"}, Value: "auto", Usage: "count with flash attention, `on|off|auto`; auto is on, as llama.cpp has it on CPUs and with CUDA"},
		&cli.StringFlag{Name: "cache-type", Value: "F16", Usage: "`TYPE` of keys and values in the cache, such as Q8_0"},
		&cli.StringFlag{Name: "cache-type-k", Aliases: []string{"ctk"}, Usage: "`TYPE` of the keys alone"},
		&cli.StringFlag{Name: "cache-type-v", Aliases: []string{"ctv"}, Usage: "`TYPE` of the values alone"},
	}
}

// fitting is what a model has to fit into.
type fitting struct {
	contexts []fitContext // from short to long
	gpu      int64        // bytes, or 0
	layers   int          // of the model
}

// fitContext is a context, and what it takes.
type fitContext struct {
	setting choose.Setting
	memory  choose.Memory
}

// fittingContext is a context as llama.cpp runs it by default.
func fittingContext(context int) fitting {
	return fitting{contexts: []fitContext{{setting: choose.Setting{Context: context, Keys: gguf.F16, Values: gguf.F16, FlashAttention: true}}}}
}

func parseFit(c *cli.Context) (f fitting, err error) {
	if f.gpu, err = size(c, "gpu"); err != nil {
		return f, err
	}
	setting := choose.Setting{FlashAttention: c.String("flash-attn") != "off"}
	if mode := c.String("flash-attn"); !slices.Contains([]string{"on", "off", "auto"}, mode) {
		return f, usagef(c, "--flash-attn is %q, not on, off or auto", mode)
	}
	for flag, t := range map[string]*gguf.Type{"cache-type-k": &setting.Keys, "cache-type-v": &setting.Values} {
		if *t, err = gguf.ParseType(cmp.Or(c.String(flag), c.String("cache-type"))); err != nil {
			return f, usagef(c, "--%s: %w", flag, err)
		}
	}
	for _, number := range splitList(c.String("ctx")) {
		if setting.Context, err = strconv.Atoi(strings.TrimSpace(number)); err != nil || setting.Context < 1 {
			return f, usagef(c, "--ctx is %s, not a number above 0", number)
		}
		f.contexts = append(f.contexts, fitContext{setting: setting})
	}
	if len(f.contexts) == 0 {
		return f, usagef(c, "--ctx is empty")
	}
	slices.SortFunc(f.contexts, func(a, b fitContext) int { return cmp.Compare(a.setting.Context, b.setting.Context) })
	f.contexts = slices.Compact(f.contexts)
	return f, nil
}

// measure finds out what a model of some shape takes with each context.
func (f *fitting) measure(shape infer.Shape) (err error) {
	f.layers = shape.Layers
	for i := range f.contexts {
		if f.contexts[i].memory, err = choose.NewMemory(shape, f.contexts[i].setting); err != nil {
			return err
		}
	}
	return nil
}

// longest returns the context that has to fit.
func (f fitting) longest() fitContext { return f.contexts[len(f.contexts)-1] }

// fitReport is what there has to be room for.
type fitReport struct {
	// What has to fit beside the weights: the cache for so many tokens, the most that
	// are asked for, and buffers.
	Ctx            int                `json:"ctx"`
	CacheBytes     int64              `json:"cache_bytes"`
	ComputeBytes   int64              `json:"compute_bytes"`
	FlashAttention bool               `json:"flash_attn"`
	CacheTypeK     string             `json:"cache_type_k"`
	CacheTypeV     string             `json:"cache_type_v"`
	GPUBytes       *int64             `json:"gpu_bytes"` // null without --gpu
	Contexts       []fitReportContext `json:"contexts"`
}

// fitReportContext is what a context takes, and what fits with it.
type fitReportContext struct {
	Ctx          int      `json:"ctx"`
	CacheBytes   int64    `json:"cache_bytes"`
	ComputeBytes int64    `json:"compute_bytes"`
	Fits         []string `json:"fits"` // names of candidates
}

// consideredContext is what a candidate takes with a context.
type consideredContext struct {
	Ctx         int            `json:"ctx"`
	NeededBytes int64          `json:"needed_bytes"`
	Fits        bool           `json:"fits"`
	Split       *offloadReport `json:"split,omitempty"` // with --gpu
	Flags       string         `json:"llama_cpp"`       // to run it
}

// offloadReport is choose.Offload.
type offloadReport struct {
	Layers       int   `json:"gpu_layers"`
	ExpertsOnCPU int   `json:"cpu_moe_layers"`
	GPUBytes     int64 `json:"gpu_bytes"`
	CPUBytes     int64 `json:"cpu_bytes"`
}

func (f fitting) report(choice *choose.Choice) fitReport {
	longest := f.longest()
	r := fitReport{
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
		r.Contexts = append(r.Contexts, fitReportContext{context.setting.Context, context.memory.Cache, context.memory.Compute, fits})
	}
	return r
}

// needs returns what a candidate takes with each context, if there are so many bytes, or 0
// for enough.
func (f fitting) needs(candidate choose.Considered, bytes int64) []consideredContext {
	var needs []consideredContext
	for _, context := range f.contexts {
		need := consideredContext{Ctx: context.setting.Context, NeededBytes: candidate.Bytes + context.memory.Bytes(), Flags: context.setting.Flags()}
		need.Fits = bytes == 0 || need.NeededBytes <= bytes
		if f.gpu > 0 {
			split := choose.Split(candidate.Source.Tensors(), f.layers, context.memory, f.gpu)
			need.Split = &offloadReport{split.Layers, split.ExpertsOnCPU, split.GPU, split.CPU}
			need.Flags = split.Flags() + " " + need.Flags
		}
		needs = append(needs, need)
	}
	return needs
}

// terms says in sentences what the chosen one takes.
func (f fitting) terms(choice *choose.Choice, base driftBase) []string {
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
		terms = append(terms, fmt.Sprintf("It takes %s of memory of %s: the file, %s of cache for %d tokens (keys and values of all layers in %s), and %s of buffers, an upper estimate of what llama.cpp takes %s flash attention.",
			bytesText(needs[len(needs)-1].NeededBytes), bytesText(choice.Fit), bytesText(longest.memory.Cache), longest.setting.Context, types, bytesText(longest.memory.Compute), attention))
		for i, need := range needs[:len(needs)-1] {
			at := slices.IndexFunc(choice.Considered, func(other choose.Considered) bool { return f.needs(other, choice.Fit)[i].Fits })
			largest := choice.Considered[at]
			terms = append(terms, fmt.Sprintf("With %d tokens it takes %s; the largest candidate that fits with so many is %s, %s.",
				need.Ctx, bytesText(need.NeededBytes), largest.Name, bytesText(f.needs(largest, choice.Fit)[i].NeededBytes)))
		}
		if base.Bytes+longest.memory.Bytes() <= choice.Fit {
			terms = append(terms, fmt.Sprintf("The original, %s, fits as it is.", base.Type))
		}
	}
	if f.gpu > 0 {
		for _, need := range needs {
			terms = append(terms, fmt.Sprintf("llama.cpp with %s of a GPU: %s. That takes %s there and %s of main memory.", bytesText(f.gpu), need.Flags, bytesText(need.Split.GPUBytes), bytesText(need.Split.CPUBytes)))
		}
	}
	return terms
}

// FitColumns are those of the memory that is taken.
func (r *choiceReport) FitColumns() (columns []string) {
	switch {
	case r.FitBytes == nil:
	case len(r.Contexts) == 1:
		columns = append(columns, "memory")
	default:
		for _, context := range r.Contexts {
			columns = append(columns, fmt.Sprintf("memory for %d", context.Ctx))
		}
	}
	if r.GPUBytes != nil {
		columns = append(columns, "llama.cpp's flags")
	}
	return columns
}

// fitCells are a candidate's in FitColumns. What does not fit is in brackets.
func (r *choiceReport) fitCells(c consideredReport) (cells []string) {
	if r.FitBytes != nil {
		for _, need := range c.Contexts {
			cell := bytesText(need.NeededBytes)
			if !need.Fits {
				cell = "(" + cell + ")"
			}
			cells = append(cells, cell)
		}
	}
	if r.GPUBytes != nil {
		cells = append(cells, c.Contexts[len(c.Contexts)-1].Flags)
	}
	return cells
}
