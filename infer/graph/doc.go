// Package graph describes language models as data, and runs their layers on an engine.
//
// A [Spec] says what a model computes. Package infer/arch makes it of metadata, one file
// for each family of models:
//
//	graph.Spec{
//		Width: 4096,
//		Layers: []graph.Layer{{
//			{Norm: graph.Norm{Name: "attn_norm", Epsilon: 1e-5}, Mixers: []graph.Mixer{graph.Attention{Heads: 32, ...}}},
//			{Norm: graph.Norm{Name: "ffn_norm", Epsilon: 1e-5}, Mixers: []graph.Mixer{graph.Network{Hidden: 14336}}},
//		}, ...},
//		...
//	}
//
// A layer is a list of sub-layers, each of which adds to the residual stream
//
//	x += scale · postnorm(Σ mixer(norm(x)))
//
// where norms and scale may be missing, and may be normalised itself in the end. Two mixers of one sub-layer run in parallel, as
// attention and network do in Command R; a norm after them is what makes a sandwich of Gemma's.
// Every layer has values of its own: heads, widths, windows and bases may differ. There may be several streams ([AltUp]).
//
// A [Mixer] is data too: attention, a feed-forward network, a mixture of experts, each in
// a file of its own. It binds its tensors with a [Binder], says what it takes to run and
// what it keeps of a text, and computes with the steps that an [Engine] has. Package infer
// has two engines: one for many tokens of many texts, one for the next token of one.
package graph
