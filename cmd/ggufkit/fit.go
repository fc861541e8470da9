package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/choose"
)

// defaultContext is the context for which there has to be memory, if --ctx does not
// say otherwise.
const defaultContext = 8192

// fitFlags say what memory there is, and what it is for.
type fitFlags struct {
	fit, gpu         int64 // bytes, 0 if not given
	contexts         []int
	noFlashAttention bool
	cache            gguf.Type  // of keys and values
	keys, values     *gguf.Type // if they have others
}

// newFitFlags returns what applies where nothing is given: a context as llama.cpp runs it by default.
func newFitFlags() fitFlags {
	return fitFlags{contexts: []int{defaultContext}, cache: gguf.F16}
}

func (f *fitFlags) flags() []cli.Flag {
	return []cli.Flag{
		sizeFlag("fit", "memory there is for the model, of CPU and GPU together, `SIZE`, such as 24G", &f.fit),
		sizeFlag("gpu", "say how llama.cpp splits the model between a GPU with `SIZE` of free memory and the CPU", &f.gpu),
		parsedFlag("ctx", strconv.Itoa(defaultContext), "tokens of context that have to fit, `N`, or several: N,N", &f.contexts, parseContexts, "c"),
		parsedFlag("flash-attn", "auto", "count with flash attention, `on|off|auto`; auto is on, as llama.cpp has it on CPUs and with CUDA",
			&f.noFlashAttention, parseFlashAttention, "fa"),
		parsedFlag("cache-type", "F16", "`TYPE` of keys and values in the cache, such as Q8_0", &f.cache, gguf.ParseType),
		tensorTypeFlag("cache-type-k", "`TYPE` of the keys alone", &f.keys, "ctk"),
		tensorTypeFlag("cache-type-v", "`TYPE` of the values alone", &f.values, "ctv"),
	}
}

// parseContexts reads the numbers in --ctx, and sorts them.
func parseContexts(list string) (contexts []int, err error) {
	for _, number := range splitList(list) {
		context, err := strconv.Atoi(strings.TrimSpace(number))
		if err != nil || context < 1 {
			return nil, fmt.Errorf("--ctx is %s, not a number above 0", number)
		}
		contexts = append(contexts, context)
	}
	if len(contexts) == 0 {
		return nil, fmt.Errorf("--ctx is empty")
	}
	slices.Sort(contexts)
	return slices.Compact(contexts), nil
}

func parseFlashAttention(mode string) (off bool, err error) {
	if !slices.Contains([]string{"on", "off", "auto"}, mode) {
		return false, fmt.Errorf("--flash-attn is %q, not on, off or auto", mode)
	}
	return mode == "off", nil
}

// settings are the contexts, from short to long.
func (f *fitFlags) settings() (settings []choose.Setting) {
	for _, context := range f.contexts {
		settings = append(settings, choose.Setting{
			Context: context, FlashAttention: !f.noFlashAttention,
			Keys: *cmp.Or(f.keys, &f.cache), Values: *cmp.Or(f.values, &f.cache),
		})
	}
	return settings
}
