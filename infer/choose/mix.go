package choose

import (
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/allocate"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/interval"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// Mix is what became of a mix of types that was tried against a choice.
type Mix struct {
	Name string
	// FileType is what the mix is called as a file, see allocate.Sensitivity.Fit.
	FileType  recipe.FileType
	Predicted float64       // mean divergence
	Better    interval.Mean // mean divergence of the best of the others less its own, paired
	Offered   bool          // and so chosen
	Reason    string        // as Considered has it
}

// TryMix finds the best mix of the tensor types of all candidates that takes no more than there is room
// for, has it measured on the windows that the others were measured on, and offers it ([Choice.Offer]). With
// Limits.MaxKLD, where the smallest is chosen, there is room for what the chosen one takes, otherwise for
// what fits into memory. sensitivity measures what the types cost, on other windows.
func (c *Choice) TryMix(sensitivity func(types []gguf.Type, budget int64) (*allocate.Sensitivity, error), measure func([]drift.Candidate) ([]drift.Result, error)) (*Mix, error) {
	best := c.Considered[c.Chosen]
	budget := best.Bytes
	if c.MaxKLD == 0 {
		budget = c.Fit - c.Memory.Bytes()
	}
	fileType, err := recipe.ParseFileType(best.Name)
	if err != nil {
		return nil, err
	}
	fileType = fileType.Of() // a variant has types that no recipe changes
	if base, err := fileType.Base(); err != nil || !base.Quantized() {
		fileType = recipe.Q8_0 // recipes apply to quantized types only
	}
	s, err := sensitivity(c.types(), budget)
	if err != nil {
		return nil, err
	}
	made, err := s.Fit(budget, fileType)
	if err != nil {
		return nil, err
	}
	m := &Mix{Name: "mix", FileType: fileType, Predicted: made.Predicted}
	candidate := Candidate{Candidate: drift.Candidate{Name: m.Name, Source: made.View}, Bytes: made.Bytes}
	results, err := measure([]drift.Candidate{candidate.Candidate})
	if err != nil {
		return nil, err
	}
	if m.Better, err = drift.Difference(*best.Result, results[0]); err != nil {
		return nil, err
	}
	if err := c.Offer(candidate, &results[0]); err != nil {
		return nil, err
	}
	at := slices.IndexFunc(c.Considered, func(considered Considered) bool { return considered.Name == m.Name })
	m.Offered, m.Reason = c.Chosen == at, c.Considered[at].Reason
	return m, nil
}

// types returns those that candidates give to tensors that can be quantized.
func (c *Choice) types() []gguf.Type {
	var types []gguf.Type
	for _, considered := range c.Considered {
		for _, t := range considered.Source.Tensors() {
			if recipe.Quantizable(t) && !slices.Contains(types, t.Type) {
				types = append(types, t.Type)
			}
		}
	}
	return types
}
