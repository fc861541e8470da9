package infer

import (
	"context"
	"slices"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// choice is one expert that the router gives a token to.
type choice struct {
	expert int
	weight float32
}

// mixture adds the experts that the router of layer l chooses to the residual
// stream. Each expert in turn multiplies all the tokens that chose it, so that its
// weights are read once; a token's results are added in the order of the experts.
func (p *pass) mixture(ctx context.Context, l *layer) error {
	choices, err := p.route(ctx, l)
	if err != nil {
		return err
	}
	used, width := p.m.expertsUsed, p.m.width
	rows := make([][]int, p.m.experts)
	weights := make([][]float32, p.m.experts)
	for i, c := range choices {
		rows[c.expert] = append(rows[c.expert], i/used)
		weights[c.expert] = append(weights[c.expert], c.weight)
	}
	for e, rows := range rows {
		if len(rows) == 0 {
			continue
		}
		if err := p.swiGLU(ctx, rows, l.experts[e]); err != nil {
			return err
		}
		out := p.scratch[:len(rows)*width]
		if err := p.product(ctx, out, len(rows), l.experts[e].down, false); err != nil {
			return err
		}
		err := blocks(ctx, p.workers, len(rows), taskRows, func(first, end int) {
			for i := first; i < end; i++ {
				kernel.AddScaled(p.x[rows[i]*width:][:width], out[i*width:][:width], weights[e][i])
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// route returns the experts that each token, normalised, is given to.
func (p *pass) route(ctx context.Context, l *layer) ([]choice, error) {
	if err := p.pack(ctx, p.normed, p.m.width, nil, l.router); err != nil {
		return nil, err
	}
	experts, used := p.m.experts, p.m.expertsUsed
	logits := p.scratch[:p.tokens*experts]
	if err := p.product(ctx, logits, p.tokens, l.router, false); err != nil {
		return nil, err
	}
	routing := Routing{Layer: l.index, Tokens: p.tokens, Experts: experts}
	if p.m.router != nil {
		routing.Logits = slices.Clone(logits) // choose overwrites them
	}
	choices := make([]choice, p.tokens*used)
	err := blocks(ctx, p.workers, p.tokens, taskRows, func(first, end int) {
		for t := first; t < end; t++ {
			p.m.choose(choices[t*used:][:used], logits[t*experts:][:experts])
		}
	})
	if err == nil && p.m.router != nil {
		for _, c := range choices {
			routing.Chosen = append(routing.Chosen, int32(c.expert))
		}
		p.m.router(routing)
	}
	return choices, err
}

// choose picks the len(best) experts of highest probability, of equals the one
// with the lower index. Their weights are their probabilities, divided by the sum
// of these or not, times the model's factor. The logits are overwritten.
func (m *Model) choose(best []choice, logits []float32) {
	const taken = -1
	total := kernel.ExpSum(logits, 1) // probabilities but for this factor
	var chosen float32
	for i := range best {
		best[i].expert = -1
		for e, v := range logits {
			if v != taken && (best[i].expert < 0 || v > best[i].weight) {
				best[i] = choice{e, v}
			}
		}
		logits[best[i].expert] = taken
		chosen += best[i].weight
	}
	if m.relative {
		total = chosen
	}
	for i := range best {
		best[i].weight = best[i].weight / total * float32(m.expertScale)
	}
}
