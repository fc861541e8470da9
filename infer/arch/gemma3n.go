package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// gemma3n is Gemma 3n: several streams between layers (AltUp), LAuReL beside attention, gates that are sparse in some layers, and
// what Gemma 4 has of it. The graph is that of transformers: llama.cpp knows the published sizes and patterns only.
func gemma3n(k *keys) graph.Spec {
	altUp := graph.AltUp{Streams: k.count("altup.num_inputs", 2, 4), Active: k.count("altup.active_idx", 0, 0), Norm: k.norm("altup_router_norm")}
	if altUp.Active >= altUp.Streams {
		k.corrupt("stream %d of %d is active", altUp.Active, altUp.Streams)
	}
	perLayer := k.perLayer(1, -1)
	s := k.decoder(func(i int) graph.Layer {
		a := k.sharing(i, 5)
		a.KeyValues = false
		laurel := graph.Laurel{Rank: max(1, k.rowsIn(i, "laurel_l.weight")), Norm: k.norm("laurel_post_norm")}
		layer := k.sandwich(a, k.sparseGeGLU(i))
		layer[0].Mixers = []graph.Mixer{graph.Normed{Mixer: a, PostNorm: layer[0].PostNorm}, laurel}
		layer[0].PostNorm, layer[0].EndFactor = graph.Norm{}, math.Sqrt2/2
		return append(layer, graph.Sublayer{Mixers: []graph.Mixer{perLayer}, PostNorm: k.norm("post_norm")})
	})
	s.AltUp = altUp
	s.EmbeddingScale = float32(math.Sqrt(float64(k.width)))
	s.LogitCap = float32(k.optional("final_logit_softcapping"))
	return s
}

// sparseGeGLU is geGLU of a layer whose gates may be cut off so many standard deviations above their mean: -Inf where they are not.
func (k *keys) sparseGeGLU(layer int) graph.Network {
	n, cutoffs := k.geGLU(layer), value[[]float32](k, "activation_sparsity_scale", nil)
	if cutoffs == nil {
		return n
	}
	if len(cutoffs) < k.layers {
		k.corrupt("%sactivation_sparsity_scale has %d values for %d layers", k.prefix, len(cutoffs), k.layers)
		return n
	}
	cutoff := cutoffs[layer]
	switch {
	case math.IsNaN(float64(cutoff)):
		k.corrupt("%sactivation_sparsity_scale is %v in layer %d", k.prefix, cutoff, layer)
	case !math.IsInf(float64(cutoff), -1):
		n.Sparse, n.Cutoff = true, cutoff
	}
	return n
}
