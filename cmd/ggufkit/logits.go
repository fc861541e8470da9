package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
)

type logitsFlags struct {
	tokens       []int32
	last, greedy int
}

func logitsCommand() *cli.Command {
	var f logitsFlags
	return &cli.Command{
		Name:      "logits",
		Usage:     "what a model makes of token ids, to compare implementations",
		ArgsUsage: "MODEL",
		Description: "All is computed in float32 on dequantized weights. No token is added to those that are given. The\n" +
			"tokens of --greedy are computed one at a time, each from what the model keeps of those before it.\n" +
			"Embeddings are what logits are made of, the last layer's result, normalised; encoders have no logits.",
		Flags: []cli.Flag{
			repeatedFlag("tokens", "token ids, `ID,...`", &f.tokens, tokenIDs),
			&cli.IntFlag{Name: "last", Usage: "show the logits of the last `N` positions; 0 is all", Destination: &f.last, Action: atLeast("last", 0)},
			&cli.IntFlag{Name: "greedy", Usage: "continue with `N` tokens, each the most likely one", Destination: &f.greedy, Action: atLeast("greedy", 0)},
		},
		Action: action(func(c *call) error { return showLogits(c, f) }),
	}
}

// tokenIDs is a parser of a list of them.
func tokenIDs(list string) ([]int32, error) {
	var ids []int32
	for _, part := range splitList(list) {
		id, err := strconv.ParseInt(part, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is not a token id", part)
		}
		ids = append(ids, int32(id))
	}
	return ids, nil
}

type logitsReport struct {
	Logits     [][]float32 `json:"logits,omitempty"` // of the last positions
	Argmax     []int32     `json:"argmax,omitempty"` // the most likely token after each position
	Greedy     []int32     `json:"greedy,omitempty"`
	Embeddings [][]float32 `json:"embeddings,omitempty"` // of the last positions
}

func showLogits(c *call, f logitsFlags) error {
	args, err := c.arguments("MODEL")
	if err != nil {
		return err
	}
	if len(f.tokens) == 0 {
		return c.usagef("--tokens is needed")
	}
	model, err := openModel(c, args[0])
	if err != nil {
		return err
	}
	defer model.Close()
	engine, err := engineOf(model, infer.Options{Threads: c.threads, Compute: infer.Exact})
	if err != nil {
		return err
	}
	report, err := logitsOf(c, engine, f)
	if err != nil {
		return about(model, err)
	}
	if c.json {
		return printJSON(c, report)
	}
	if report.Logits == nil {
		fmt.Fprintf(c.stdout, "%d embeddings of %d numbers, which --json shows\n", len(report.Embeddings), engine.Spec().Width)
	}
	first := len(report.Argmax) - len(report.Logits)
	for i, logits := range report.Logits {
		best := report.Argmax[first+i]
		fmt.Fprintf(c.stdout, "position %d: best token %d with %.5g\n", first+i, best, logits[best])
	}
	for _, id := range report.Greedy {
		fmt.Fprintf(c.stdout, "then token %d\n", id)
	}
	return nil
}

func logitsOf(c *call, engine *infer.Model, f logitsFlags) (*logitsReport, error) {
	var report logitsReport
	first := 0
	if f.last > 0 {
		first = max(0, len(f.tokens)-f.last)
	}
	chunks := infer.Chunks([][]int32{f.tokens}, 0)
	err := engine.Embed(c.ctx, chunks, func(_, pos int, embedding []float32) {
		if pos >= first {
			report.Embeddings = append(report.Embeddings, slices.Clone(embedding))
		}
	})
	if err != nil || engine.Spec().Encoder && f.greedy == 0 {
		return &report, err
	}
	report.Logits, report.Argmax = make([][]float32, len(f.tokens)-first), make([]int32, len(f.tokens))
	err = engine.Forward(c.ctx, chunks, func(_, pos int, logits []float32) {
		report.Argmax[pos] = best(logits)
		if pos >= first {
			report.Logits[pos-first] = slices.Clone(logits)
		}
	})
	if err != nil || f.greedy == 0 {
		return &report, err
	}
	session, err := engine.NewSession(len(f.tokens)+f.greedy, gguf.F32)
	if err != nil {
		return nil, err
	}
	logits, err := session.Start(c.ctx, f.tokens)
	for err == nil {
		report.Greedy = append(report.Greedy, best(logits))
		if len(report.Greedy) == f.greedy {
			return &report, nil
		}
		logits, err = session.Add(c.ctx, report.Greedy[len(report.Greedy)-1])
	}
	return nil, err
}

// best returns the most likely token, the first of several.
func best(logits []float32) int32 {
	var best int32
	for id, v := range logits {
		if v > logits[best] {
			best = int32(id)
		}
	}
	return best
}
