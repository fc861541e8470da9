package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/results"
)

// score runs a model on texts, showing progress on what it does, and router what routers do, if it is not
// nil. Results are kept in a place, or nil. It returns the result for all of them and for each, and how many bytes of weights were read.
func score(c *call, f textFlags, model gguf.Source, texts []textFile, place *results.Place, router func(infer.Routing), what string) (together perplexity.Result,
	each []perplexity.Result, read int64, err error) {
	windows, engine := f.windows(), f.engine(c)
	windows.Results = place
	encoded, err := f.encode(c, model, texts)
	if err != nil {
		return together, nil, 0, err
	}
	noteContext(c, model, windows.Ctx)
	progress := newProgress(c, what, tokenRate(place))
	defer progress.stop()
	if place != nil {
		engine.BatchTokens = results.BatchTokens
	}
	engine.Router, engine.Read = router, progress.reading()
	engine.Progress = tokenProgress(progress, windowTokens(encoded, windows))
	m, err := engineOf(model, engine)
	if err != nil {
		return together, nil, 0, err
	}
	if err := fits(m, 1, longestWindow(encoded, windows)); err != nil {
		return together, nil, 0, err
	}
	if together, each, err = perplexity.ScoreTexts(c.ctx, m, encoded, windows); err == nil {
		err = gguf.Unchanged(model)
	}
	return together, each, m.BytesRead(), err
}

// noteContext says so if windows of ctx tokens are longer than a model's context.
func noteContext(c *call, model gguf.Source, ctx int) {
	if most := infer.ContextLength(model.Metadata()); ctx > most {
		printNotes(c, []string{fmt.Sprintf("windows of %d tokens are longer than the model's context of %d", ctx, most)})
	}
}

// fits reports an error if a window of so many tokens takes more than --memory allows with so many models like one.
func fits(m *infer.Model, models, tokens int) error {
	least := m.LeastMemory(models, tokens)
	if least <= m.Memory() {
		return nil
	}
	with := ""
	if models > 1 {
		with = fmt.Sprintf(" with %d models", models)
	}
	return fmt.Errorf("a window of %d tokens takes at least %s of memory%s, and --memory is %s", tokens, display.Bytes(least), with, display.Bytes(m.Memory()))
}

// limitMemory has Go's garbage collector keep to what --memory allows, which it sets to half of the memory that is free if it was not given.
func limitMemory(bytes *int64) {
	if *bytes == 0 {
		*bytes = infer.DefaultMemory
		if free, ok := infer.FreeMemory(os.DirFS("/")); ok {
			*bytes = max(free/2, smallestSize)
		}
	}
	debug.SetMemoryLimit(*bytes)
}
