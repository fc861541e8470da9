package infer

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// architecture is what the graph of one general.architecture has of its own.
type architecture struct {
	name string
	// halves says that the rotary embedding turns element i of a head of n
	// together with i + n/2 (ggml's "neox" layout). Otherwise, neighbours are
	// turned together, and converters have permuted the rows of q and k.
	halves bool
	// headNorm says that each head of queries and keys is normalised before it
	// is rotated.
	headNorm bool
	// relative says that the weights of the chosen experts are divided by their
	// sum. Otherwise they are the probabilities among all experts.
	relative bool
	// uniform says that experts are as wide as dense networks.
	uniform bool
	shared  sharedExpert
}

// sharedExpert says whether a mixture has a network for every token beside those
// that the router chooses from.
type sharedExpert int

const (
	noExpert    sharedExpert = iota
	plainExpert              // its result is added as it is
	gatedExpert              // its result is multiplied by the sigmoid of a product with the token
)

// architectures are those that can be run. They compute what llama.cpp does
// (src/models), which for the checkpoints that it converts is what
// transformers does.
var architectures = []architecture{
	{name: "llama", relative: true, uniform: true},
	{name: "qwen2", halves: true},
	{name: "qwen3", halves: true, headNorm: true},
	{name: "qwen2moe", halves: true, shared: gatedExpert},
	{name: "qwen3moe", halves: true, headNorm: true, relative: true},
	{name: "deepseek", shared: plainExpert},
}

func findArchitecture(meta *gguf.Metadata) (architecture, error) {
	name, err := gguf.Value[string](meta, "general.architecture")
	if err != nil {
		return architecture{}, err
	}
	var known []string
	for _, a := range architectures {
		if a.name == name {
			return a, nil
		}
		known = append(known, a.name)
	}
	return architecture{}, fmt.Errorf("%w: architecture %q, only these can be run: %s", gguf.ErrUnsupported, name, strings.Join(known, ", "))
}
