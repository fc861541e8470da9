package main

import (
	"cmp"
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
	settings []choose.Setting // from short to long
	gpu      int64            // bytes, or 0
}

// fittingContext is a context as llama.cpp runs it by default.
func fittingContext(context int) fitting {
	return fitting{settings: []choose.Setting{{Context: context, Keys: gguf.F16, Values: gguf.F16, FlashAttention: true}}}
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
		f.settings = append(f.settings, setting)
	}
	if len(f.settings) == 0 {
		return f, usagef(c, "--ctx is empty")
	}
	slices.SortFunc(f.settings, func(a, b choose.Setting) int { return cmp.Compare(a.Context, b.Context) })
	f.settings = slices.Compact(f.settings)
	return f, nil
}
