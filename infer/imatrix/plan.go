package imatrix

import (
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/results"
)

// Plan returns what Measure does with the same arguments, or what it does of a part. Of the model it needs headers (gguf.Headers).
// Results that are there already are not looked at.
func Plan(src gguf.Source, texts []perplexity.Text, part results.Part, opts Options) (p perplexity.Planned, err error) {
	r, err := newRunner(src, texts, opts)
	if err != nil {
		return p, fmt.Errorf("imatrix: %w", err)
	}
	p.Units = len(r.units)
	for i, chunks := range r.units {
		if !part.Has(i) {
			continue
		}
		p.Part++
		work, err := infer.Plan([]*infer.Model{r.model}, chunks)
		if err != nil {
			return p, err
		}
		p.Work.Add(work)
	}
	return p, nil
}
