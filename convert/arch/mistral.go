package arch

import "slices"

// Mistral is the dense model of Mistral 7B. Its sliding_window has no place in
// the metadata: llama.cpp attends to the whole context.
var Mistral = Architecture{
	Class:   "MistralForCausalLM",
	Others:  []string{"MistralModel"},
	Name:    "llama",
	Keys:    llamaKeys,
	Tensors: slices.Concat(llamaTensors, llamaMLP),
	Extra:   ropeFreqs,
}
