package moe

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/weights"
)

// output is an architecture that mixtures are written in. Names of tensors are
// those below model.layers.N.
type output struct {
	// name is mergekit-moe's.
	name      string
	class     *arch.Architecture
	modelType string
	// donors lists the architectures of models that it can be made of.
	donors []*arch.Architecture
	// acceptShared returns why it cannot have the shared experts of the recipe.
	acceptShared func(*Recipe) error
	// accept returns why it cannot have the attention of the base model. May be nil.
	accept func(*arch.Config) error
	// caveat returns what the user should know. May be nil.
	caveat func(*Recipe) string

	router     string
	experts    string            // networks, by the expert's number
	matrices   map[string]string // matrices of networks, where they are not called as in a dense model
	shared     string            // network of the shared expert
	sharedGate string            // empty if there is none
	// ownHead says that embeddings cannot be the output matrix, too.
	ownHead bool
	// fill returns tensors that the base model lacks. May be nil.
	fill func(base *model, dtype weights.Dtype) []tensor
	// config returns what config.json says of the mixture.
	config func(*Recipe, *arch.Config) map[string]any
}

// outputs lists the architectures in mergekit-moe's order.
var outputs = []*output{&mixtral, &deepSeekMoE, &qwenMoE, &qwen3MoE}

// donors returns the architectures of models that mixtures can be made of, and their
// names.
func donors() (list []*arch.Architecture, names string) {
	for _, o := range outputs {
		for _, a := range o.donors {
			if !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
	}
	for i, a := range list {
		switch i {
		case 0:
		case len(list) - 1:
			names += " and "
		default:
			names += ", "
		}
		names += strings.TrimSuffix(a.Class, "ForCausalLM")
	}
	return list, names
}

// outputs returns the architectures that the recipe allows.
func (r *Recipe) outputs() []*output {
	var allowed []*output
	for _, o := range outputs {
		if strings.HasPrefix(strings.ToLower(o.name), strings.ToLower(r.Architecture)) {
			allowed = append(allowed, o)
		}
	}
	return allowed
}

// output chooses the architecture for the given models: Mixtral if it is possible,
// else the first one that is.
func (r *Recipe) output(base *model, donors []*model) (*output, []string, error) {
	var possible []*output
	var names, reasons []string
	for _, o := range r.outputs() {
		if err := o.supports(r, base, donors); err != nil {
			reasons = append(reasons, fmt.Sprintf("%s: %v", o.name, err))
			continue
		}
		possible, names = append(possible, o), append(names, o.name)
	}
	if len(possible) == 0 {
		return nil, nil, fmt.Errorf("%w: the mixture fits no architecture (%s)", ErrRecipe, strings.Join(reasons, "; "))
	}
	o := possible[0]
	if o.accept != nil {
		if err := o.accept(base.config.Config); err != nil {
			return nil, nil, fmt.Errorf("%w: %s cannot become %s: %w", ErrRecipe, base.dir, o.name, err)
		}
	}
	var notes []string
	if len(possible) > 1 && o != &mixtral {
		notes = append(notes, fmt.Sprintf("%s are possible; the recipe's architecture chooses, without it it is the first", strings.Join(names, " and ")))
	}
	if o.caveat != nil {
		if note := o.caveat(r); note != "" {
			notes = append(notes, note)
		}
	}
	return o, notes, nil
}

// supports returns why the mixture cannot have the architecture.
func (o *output) supports(r *Recipe, base *model, donors []*model) error {
	for _, m := range donors {
		if m.config.Name != base.config.Name {
			return fmt.Errorf("%s is a %s and the base a %s", m.dir, m.config.Class, base.config.Class)
		}
	}
	if !slices.Contains(o.donors, base.config.Architecture) {
		return fmt.Errorf("it is not made of %s", base.config.Class)
	}
	return o.acceptShared(r)
}

func noShared(r *Recipe) error {
	if len(r.SharedExperts) > 0 {
		return errors.New("it has no shared experts")
	}
	return nil
}

// unnormalized tells of what llama.cpp does with architectures of which not all
// models have norm_topk_prob.
func unnormalized(r *Recipe) string {
	if r.perToken() == len(r.Experts) { // all weights together are 1 anyway
		return ""
	}
	return "llama.cpp, and so ggufkit, does not divide the weights of a token's experts by their sum, as this mixture wants it (norm_topk_prob) and " +
		"transformers does"
}

// matrix returns what one of a network's matrices, called as in a dense model, is
// called.
func (o *output) matrix(name string) string {
	if renamed, ok := o.matrices[name]; ok {
		return renamed
	}
	return name
}

// inLayer returns the name of a tensor in a layer.
func inLayer(layer int64, name string) string {
	return fmt.Sprintf("model.layers.%d.%s.weight", layer, name)
}
