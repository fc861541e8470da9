// Package allocate finds which type each tensor of a model should have, so that the
// model loses least at a given size.
//
// A file type such as Q4_K_M gives tensors their types by rules that were found on
// other models. Here it is measured what each type costs in each tensor of this one: [Measure].
// [Sensitivity.Fit] then chooses a type for each, so that the file is not larger than a budget and the sum of the
// costs is least.
//
//	s, err := allocate.Measure(ctx, base, importance, texts, allocate.Options{Types: types, Budget: 4 << 30})
//	if err != nil {
//		return err
//	}
//	m, err := s.Fit(4<<30, recipe.Q4_K_M)
//	if err != nil {
//		return err
//	}
//	fmt.Println(m.Bytes, m.Predicted)
//
// What a type costs in a tensor is the product of two things. One is which part of the squares of its output the type changes, which
// one run of the model tells for all types and tensors. The other is how much divergence such a change makes, which is measured for groups of
// tensors, by giving them one type, the swap, in a part of the text. A group is the tensors of one kind in a layer, such as blk.3.ffn_up_exps, or in several
// layers that follow each other where there would be more than 64 groups.
//
// All takes about as long as ten runs of the model on the text at most, in float32 ([infer.Exact]), whatever the number of layers, kinds, experts and types, if
// there is memory for a few windows at a time. In tokens that go through layers it is two runs of all windows, five of swaps, more by a third
// at most where there is little text, and half a run of the original that leads them. Weights are read four times: by these two runs, and by all swaps together, which go through the
// layers side by side ([infer.Strands]), those of the original and the swapped ones. Swapped ones are quick to make; the rows that are quantized to every type are so few that they
// take about half of a run.
//
// That divergences grow with the squares of what changes, and that they add up, are assumptions: errors of rounding are small and point in
// different directions, and then the divergence of the whole is, to the second order,
// the sum of those of its parts. Mix.Predicted is therefore good for choosing only.
// What a mix really loses is for package drift to measure, on text that it was not
// chosen by: see [Split].
//
// Memory is Options.Engine.Memory or less, unless a single chunk needs more: what the
// original predicts for the scored tokens, 4 bytes for each token of the vocabulary,
// takes half of it at most, and residual streams a quarter of what is left.
package allocate

import (
	"context"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/results"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// Options says how to measure.
type Options struct {
	perplexity.Options
	Types []gguf.Type // that tensors may be given, beside their own
	// Budget is about how large the file is to become that Fit is asked for, 0 for 4.5 bits per weight. Costs are
	// measured close to it; what they are elsewhere is less certain.
	Budget int64
	Engine infer.Options // but for Compute, Input, Sums, Residual and Router
	// Results, if not nil, is where what is measured is kept as it comes, in units: groups, and all tensors together. What is there already is not measured again. The error
	// wraps a *results.Partial if units are missing that are not this process's to do.
	Results *results.Place
}

// Sensitivity is what a model loses by each type of each of its tensors.
type Sensitivity struct {
	base       gguf.Source
	importance *imatrix.Matrix
	parts      []part
	fixed      int64 // bytes of a file that are not the parts'
}

// Mix is a type for every tensor that can be quantized.
type Mix struct {
	// View is the model as the mix makes it. recipe.OverrideOf says in lines for
	// --tensor-type-file which types its tensors have.
	View      *quant.View
	Bytes     int64   // of the file
	Predicted float64 // mean divergence, in nats: the sum of what the types cost
}

// Measure finds out what each type costs on the texts. Importance may be nil; without
// it, the smallest types are not used. The error wraps gguf.ErrUnsupported if tensors of the
// base are quantized already.
func Measure(ctx context.Context, base gguf.Source, importance *imatrix.Matrix, texts []drift.Text, opts Options) (*Sensitivity, error) {
	s, err := measure(ctx, base, importance, texts, opts)
	if err != nil {
		return nil, fmt.Errorf("mix: %w", err)
	}
	return s, nil
}

func measure(ctx context.Context, base gguf.Source, importance *imatrix.Matrix, texts []drift.Text, opts Options) (*Sensitivity, error) {
	s := &Sensitivity{base: base, importance: importance}
	var err error
	if s.parts, err = findParts(base, importance, opts.Types); err != nil {
		return nil, err
	}
	windows, counts, err := perplexity.TextWindows(texts, opts.Options)
	if err != nil {
		return nil, err
	}
	chunks := make([][]int32, len(windows))
	for i, w := range windows {
		if chunks[i] = w.Tokens; len(chunks[i]) != len(chunks[0]) {
			return nil, fmt.Errorf("%w: windows of different lengths", gguf.ErrUnsupported)
		}
	}
	original, err := s.mix(make([]int, len(s.parts)), recipe.Q8_0)
	if err != nil {
		return nil, err
	}
	s.fixed = original.Bytes
	elements := int64(0)
	for _, p := range s.parts {
		s.fixed -= p.bytes[0]
		elements += base.Tensors()[p.tensor].Elements()
	}
	bits := 4.5
	if opts.Budget > 0 {
		bits = 8 * float64(opts.Budget-s.fixed) / float64(elements)
	}
	p, err := newProbe(base, importance, s.parts, chunks, opts.Engine)
	if err != nil {
		return nil, err
	}
	chooseSwaps(base.Tensors(), s.parts, importance, bits, len(chunks)*len(chunks[0]), expertsUsed(p.model.Spec()))
	if opts.Results == nil {
		every := make([]int, 1+len(p.groups))
		for n := range every {
			every[n] = n
		}
		err = p.measure(ctx, every, func(...int) error { return nil })
	} else {
		var store *results.Store
		if store, err = opts.Results.Open(ctx, "mix", 1+len(p.groups), p.facts(windows, counts, opts)...); err == nil {
			err = p.keep(ctx, store)
		}
	}
	if err != nil {
		return nil, err
	}
	p.calibrate()
	return s, nil
}

// Fit returns the mix with the least predicted divergence of those whose file has
// budget bytes or less. The error wraps ErrTooSmall if there is none.
//
// The file is called a ft, which has to be a quantized file type, since recipes apply to
// no others. Nothing else depends on it: the recipe has all tensors.
func (s *Sensitivity) Fit(budget int64, ft recipe.FileType) (*Mix, error) {
	chosen, err := allocate(s.parts, budget-s.fixed)
	if err != nil {
		return nil, fmt.Errorf("mix: %w", err)
	}
	m, err := s.mix(chosen, ft)
	if err != nil {
		return nil, fmt.Errorf("mix: %w", err)
	}
	return m, nil
}

// mix returns the mix that gives each part the chosen one of its types.
func (s *Sensitivity) mix(chosen []int, ft recipe.FileType) (*Mix, error) {
	m := &Mix{}
	opts := quant.ViewOptions{Importance: s.importance}
	for i, p := range s.parts {
		m.Predicted += p.costs[chosen[i]]
		info := s.base.Tensors()[p.tensor]
		info.Type = p.types[chosen[i]]
		o, err := recipe.OverrideOf(info)
		if err != nil {
			return nil, err
		}
		opts.Recipe.Overrides = append(opts.Recipe.Overrides, o)
	}
	var err error
	if m.View, err = quant.NewView(s.base, ft, opts); err != nil {
		return nil, err
	}
	_, m.Bytes, err = gguf.Layout(m.View)
	return m, err
}

// Split takes n windows of ctx tokens, evenly spread, out of a text: those to choose a mix
// by. The rest is what to measure it on. Both are cut into the same windows as the
// text is, which package perplexity runs each from an empty context.
func Split(text drift.Text, ctx, n int) (chosen, rest drift.Text) {
	windows := len(text.Tokens) / ctx
	chosen, rest = text, text
	chosen.Tokens, rest.Tokens = nil, nil
	for i := range windows {
		window := text.Tokens[i*ctx:][:ctx]
		if (i+1)*n/windows > i*n/windows {
			chosen.Tokens = append(chosen.Tokens, window...)
		} else {
			rest.Tokens = append(rest.Tokens, window...)
		}
	}
	return chosen, rest
}

// asideWindows is how many windows of all texts together a mix is chosen by, at least two of
// each and not more than half.
const asideWindows = 9

// SetAside splits one of some texts: a few of its windows to choose a mix by, and the rest to measure on. It
// does not if there are fewer than four, two for each, or if they are of different lengths, as conversations are.
func SetAside(text drift.Text, texts int, opts perplexity.Options) (aside, rest drift.Text, ok bool) {
	windows := opts.Windows(len(text.Tokens))
	if windows < 4 || text.Windows != nil {
		return aside, text, false
	}
	text.Tokens = text.Tokens[:windows*opts.Ctx]
	aside, rest = Split(text, opts.Ctx, min(max(2, asideWindows/texts), windows/2))
	return aside, rest, true
}
