package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
)

// Flags that many commands have, or that are of a kind that urfave/cli has not. Each fills in a
// variable. What its value cannot be is an error before the command begins.

// repeated is a flag whose every use adds something.
type repeated func(value string) error

// Set ignores an empty value, to which urfave/cli sets the other names of a flag.
func (r repeated) Set(value string) error {
	if value == "" {
		return nil
	}
	return r(value)
}

func (r repeated) String() string { return "" }

// repeatedFlag returns a flag that appends what parse makes of its values.
func repeatedFlag[T any](name, usage string, to *[]T, parse func(string) ([]T, error), aliases ...string) cli.Flag {
	add := func(value string) error {
		v, err := parse(value)
		*to = append(*to, v...)
		return err
	}
	return &cli.GenericFlag{Name: name, Aliases: aliases, Usage: usage, Value: repeated(add)}
}

// one makes a parser of one value into one of several.
func one[T any](parse func(string) (T, error)) func(string) ([]T, error) {
	return func(s string) ([]T, error) {
		v, err := parse(s)
		return []T{v}, err
	}
}

// itself is for values that are texts.
func itself(s string) (string, error) { return s, nil }

// list is a parser of several values in one.
func list(s string) ([]string, error) { return splitList(s), nil }

// splitList returns the parts of a list with commas, none if it is empty.
func splitList(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// parsedFlag returns a flag whose value is what parse makes of it. What is not given stays as it is; value
// is what the help shows for that.
func parsedFlag[T any](name, value, usage string, to *T, parse func(string) (T, error), aliases ...string) cli.Flag {
	return &cli.StringFlag{Name: name, Aliases: aliases, Value: value, Usage: usage, Action: func(c *cli.Context, s string) (err error) {
		*to, err = parse(s)
		return asUsage(c, err)
	}}
}

// optionalFlag returns a flag for a text, which may be empty if it is given.
func optionalFlag(name, usage string, to **string, aliases ...string) cli.Flag {
	return &cli.StringFlag{Name: name, Aliases: aliases, Usage: usage, Action: func(_ *cli.Context, s string) error {
		*to = &s
		return nil
	}}
}

// atLeast checks that a flag is not below what makes sense.
func atLeast(flag string, least int) func(*cli.Context, int) error {
	return func(c *cli.Context, n int) error {
		if n < least {
			return usagef(c, "--%s is %d, the least is %d", flag, n, least)
		}
		return nil
	}
}

// above0 checks that a flag is above 0.
func above0(flag string) func(*cli.Context, float64) error {
	return func(c *cli.Context, x float64) error {
		if !(x > 0) {
			return usagef(c, "--%s is %v, not above 0", flag, x)
		}
		return nil
	}
}

func ctxFlag(to *int, tokens int, usage string) cli.Flag {
	return &cli.IntFlag{Name: "ctx", Aliases: []string{"c"}, Value: tokens, Usage: usage, Destination: to, Action: atLeast("ctx", 1)}
}

// chunksFlag takes -1, llama.cpp's word for all, as 0.
func chunksFlag(to *int, usage string) cli.Flag {
	return &cli.IntFlag{Name: "chunks", Usage: usage + "; 0 is all", Destination: to, Action: func(c *cli.Context, n int) error {
		if n == -1 {
			*to = 0
			return nil
		}
		return atLeast("chunks", 0)(c, n)
	}}
}

// memoryFlag is for limitMemory, which finds the default.
func memoryFlag(to *int64) cli.Flag {
	return sizeFlag("memory", "use at most `SIZE` of memory, such as 4G; default: half of what is free, 1 GiB where that is not known", to)
}

// smallestSize is the least that a size without a unit may be: --fit 24 means
// 24 gigabytes.
const smallestSize = 1 << 20

// shardSizeFlag returns the flag for how large the files of a checkpoint become.
func shardSizeFlag(to *int64) cli.Flag {
	return sizeFlag("shard-size", "write files of at most this `SIZE`; default: 5G", to)
}

// sizeFlag returns a flag for a number of bytes.
func sizeFlag(name, usage string, to *int64) cli.Flag {
	return &cli.StringFlag{Name: name, Usage: usage, Action: func(c *cli.Context, s string) error {
		if s == "" {
			return nil
		}
		n, err := humanize.ParseBytes(s)
		if err != nil || n == 0 || n > math.MaxInt64 {
			return usagef(c, "--%s is %q, not a size such as 4G", name, s)
		}
		if unit := strings.TrimLeft(s, "0123456789., "); unit == "" && n < smallestSize {
			return usagef(c, "--%s is %s bytes: a unit is missing, as in %sG", name, s, s)
		}
		*to = int64(n)
		return nil
	}}
}

// computeFlag chooses int8 if it is not given.
func computeFlag(to *infer.Compute) cli.Flag {
	*to = infer.Int8
	return parsedFlag("compute", infer.Int8.String(),
		"`HOW` products are computed. int8: quantized weights with activations rounded to 8 bits, as llama.cpp does; exact: in float32", to, infer.ParseCompute)
}

// tensorTypeFlag returns a flag for a type, nil if it is not given.
func tensorTypeFlag(name, usage string, to **gguf.Type, aliases ...string) cli.Flag {
	return parsedFlag(name, "", usage, to, func(s string) (*gguf.Type, error) {
		t, err := gguf.ParseType(s)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
		return &t, nil
	}, aliases...)
}

func dryRunFlag(to *bool) cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "print what would be written and write nothing", Destination: to}
}

func requantizeFlag(to *bool) cli.Flag {
	return &cli.BoolFlag{Name: "allow-requantize", Usage: "quantize tensors that are quantized already, at a loss", Destination: to}
}

func imatrixFlag(to *string) cli.Flag {
	return &cli.StringFlag{Name: "imatrix", Usage: "use the importance matrix in `FILE`, as llama-imatrix writes it", Destination: to}
}

func seedFlag(to *int) cli.Flag {
	return &cli.IntFlag{Name: "seed", Usage: "`N`; the same seed gives the same result", Destination: to}
}

// textFlags say on which texts a model is run, and how.
type textFlags struct {
	files   []string
	ctx     int    // tokens of a window
	most    int    // tokens of a conversation, 0 for the default
	scored  string // tokens of conversations; "" where files of them are texts like others
	chunks  int    // windows of each text, 0 for all
	compute infer.Compute
	memory  int64 // bytes; 0 before limitMemory, where it was not given
}

func (f *textFlags) textFlag(usage string) cli.Flag {
	return repeatedFlag("file", usage+" in `FILE`, or standard input: -; may be repeated", &f.files, one(itself), "f")
}

// windowFlag is the flag for how long windows are, and conversations at most.
func (f *textFlags) windowFlag(usage string) cli.Flag {
	return &cli.IntFlag{
		Name: "ctx", Aliases: []string{"c"}, Value: perplexity.DefaultCtx,
		Usage:       usage + fmt.Sprintf("; conversations are cut to it if it is given, else to %d", perplexity.DefaultConversation),
		Destination: &f.ctx,
		Action: func(c *cli.Context, n int) error {
			f.most = n
			return atLeast("ctx", 1)(c, n)
		},
	}
}

// scoreFlag is the flag for which tokens of conversations are scored.
func (f *textFlags) scoreFlag() cli.Flag {
	f.scored = report.Assistant
	return parsedFlag("score", f.scored, "`WHOSE` tokens of conversations are scored: assistant or all", &f.scored, func(s string) (string, error) {
		if s != report.Assistant && s != report.AllTokens {
			return "", fmt.Errorf("--score is %q, not %s or %s", s, report.Assistant, report.AllTokens)
		}
		return s, nil
	})
}

// need refuses a command without texts.
func (f *textFlags) need(c *call) error {
	if len(f.files) == 0 {
		return c.usagef("a text is needed: --file FILE")
	}
	return nil
}

// windows are those to score.
func (f *textFlags) windows() perplexity.Options {
	return perplexity.Options{Ctx: f.ctx, Chunks: f.chunks}
}

// engine says how to run models on the texts.
func (f *textFlags) engine(c *call) infer.Options {
	return infer.Options{Threads: c.threads, Compute: f.compute, Memory: f.memory}
}
