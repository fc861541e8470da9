package drift

import (
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/results"
)

// Plan returns what Measure does with the same arguments, or what it does of a part. Units are windows, and those that are run once more for the
// floor. Of the models it needs headers (gguf.Headers). Results that are
// there already, and UntilSeparated, are not looked at.
func Plan(base gguf.Source, candidates []Candidate, texts []Text, part results.Part, opts Options) (perplexity.Planned, error) {
	p, err := plan(base, candidates, texts, part, opts)
	if err != nil {
		return p, fmt.Errorf("drift: %w", err)
	}
	return p, nil
}

func plan(base gguf.Source, candidates []Candidate, texts []Text, part results.Part, opts Options) (p perplexity.Planned, err error) {
	r, once, err := newRunners(base, candidates, texts, opts)
	if err != nil {
		return p, err
	}
	p.Units = len(r.parts) + len(once.parts)
	for _, r := range []*runner{once, r} {
		for i := range r.parts {
			if part.Has(i) {
				r.running = append(r.running, i)
			}
		}
		engines, err := r.engines()
		if err != nil {
			return p, err
		}
		work, err := infer.Plan(engines, r.chunks())
		if err != nil {
			return p, err
		}
		work.Memory += r.bytes()
		p.Part += len(r.running)
		p.Work.Add(work)
	}
	return p, nil
}
