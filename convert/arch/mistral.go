package arch

import "slices"

// Mistral is the dense model of Mistral 7B. Its sliding_window has no place in
// the metadata: llama.cpp attends to the whole context.
var Mistral = Architecture{
	Class: "MistralForCausalLM",
	Name:  "llama",
	Defaults: Config{
		VocabSize: 32000, HiddenSize: 4096, IntermediateSize: 14336, Layers: 32, Heads: 32, KVHeads: new(int64(8)),
		MaxPositions: 4096 * 32, RMSNormEps: 1e-6, RopeTheta: 10000,
	},
	DefaultHeadDim: true,
	Keys:           llamaKeys,
	Tensors:        slices.Concat(llamaTensors, llamaMLP),
	Extra:          ropeFreqs,
}
