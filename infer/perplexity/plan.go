package perplexity

import (
	"fmt"

	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/results"
)

// Planned is what a run is to do.
type Planned struct {
	Units int // that Options.Results keeps
	Part  int // of these, the part's, or all
	Work  infer.Work
}

// Plan returns what ScoreTexts does with the same arguments, or what it does of a part. Results that are there already are not looked at.
func Plan(m *infer.Model, texts []Text, part results.Part, opts Options) (Planned, error) {
	windows, _, err := TextWindows(texts, opts)
	if err != nil {
		return Planned{}, fmt.Errorf("perplexity: %w", err)
	}
	p := Planned{Units: len(windows)}
	var own []Window
	for i, w := range windows {
		if part.Has(i) {
			own = append(own, w)
		}
	}
	p.Part = len(own)
	p.Work, err = infer.Plan([]*infer.Model{m}, InferChunks(own))
	return p, err
}
