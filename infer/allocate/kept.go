package allocate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/results"
)

// whole is what is kept of the first unit of a run: what all tensors cost together, and what types change of each. The other units are the groups,
// of which the sum of divergences is kept. All is JSON.
type whole struct {
	All       float64     `json:"all"`
	Errors    [][]float64 `json:"errors"` // of each part, part.errors
	SwapError []float64   `json:"swap_error"`
}

// facts are what the results depend on, beside model and importance matrix.
func (p *probe) facts(windows []perplexity.Window, counts []int, opts Options) []gguf.Fact {
	return append(perplexity.WindowFacts(windows, counts),
		gguf.Fact{What: "tensor types", Is: fmt.Sprint(opts.Types)},
		gguf.Fact{What: "size", Is: fmt.Sprint(opts.Budget)},
		gguf.Fact{What: "tokens", Is: fmt.Sprintf("%d to %d of each window, %d of single groups", p.from, len(p.chunks[0]), p.prefix)})
}

// keep measures what is missing in a store, keeps it as it comes, and takes over all that is there.
func (p *probe) keep(ctx context.Context, store *results.Store) (err error) {
	defer func() { err = errors.Join(err, store.Close()) }()
	err = p.measure(ctx, store.Missing(), func(units ...int) error {
		records := make([]results.Record, len(units))
		for i, n := range units {
			data, err := p.encode(n)
			if err != nil {
				return err
			}
			records[i] = results.Record{Unit: n, Data: data}
		}
		return store.Keep(records...)
	})
	if err != nil {
		return err
	}
	return store.ReadAll(func(n int, data []byte, _ results.Cost) error { return p.decode(n, data) })
}

// encode returns what is known of a unit.
func (p *probe) encode(n int) ([]byte, error) {
	if n > 0 {
		return json.Marshal(p.swapped[n-1])
	}
	w := whole{All: p.all}
	for _, part := range p.parts {
		w.Errors, w.SwapError = append(w.Errors, part.errors), append(w.SwapError, part.swapError)
	}
	return json.Marshal(w)
}

// decode takes over what encode has made of a unit.
func (p *probe) decode(n int, data []byte) error {
	if n > 0 {
		return json.Unmarshal(data, &p.swapped[n-1])
	}
	var w whole
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	if len(w.Errors) != len(p.parts) || len(w.SwapError) != len(p.parts) {
		return fmt.Errorf("errors of %d tensors, not of %d", len(w.Errors), len(p.parts))
	}
	p.all = w.All
	for i := range p.parts {
		part := &p.parts[i]
		if len(w.Errors[i]) != len(part.types) {
			return fmt.Errorf("errors of %d types of a tensor, not of %d", len(w.Errors[i]), len(part.types))
		}
		part.errors, part.swapError = w.Errors[i], w.SwapError[i]
	}
	return nil
}
