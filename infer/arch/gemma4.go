package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// gemma4 is Gemma 4. Layers have a window, or see all with longer heads; the last ones may share keys and
// values, and each may add something of its own for a token.
func gemma4(k *keys) graph.Spec {
	perLayer := k.perLayer(0, 0)
	s := k.decoder(func(i int) graph.Layer {
		layer := k.sandwich(k.sharing(i, 6), k.geGLU(i))
		if k.hasIn(i, "ffn_gate_inp.weight") {
			layer[1].Norm, layer[1].Mixers = graph.Norm{}, k.gemma4Experts(i)
		}
		if perLayer.Width > 0 {
			layer = append(layer, graph.Sublayer{Mixers: []graph.Mixer{perLayer}, PostNorm: k.norm("post_norm")})
		}
		if k.hasIn(i, "layer_output_scale.weight") {
			layer[len(layer)-1].EndScale = "layer_output_scale"
		}
		return layer
	})
	s.EmbeddingScale = float32(math.Sqrt(float64(k.width)))
	s.LogitCap = float32(k.optional("final_logit_softcapping"))
	return s
}

// perLayer returns what each layer adds for a token, of a width of at least low.
func (k *keys) perLayer(low, fallback int) graph.PerLayer {
	return graph.PerLayer{
		Width:  k.count("embedding_length_per_layer_input", low, fallback),
		Tokens: k.rows("per_layer_token_embd.weight"), Norm: k.norm("per_layer_proj_norm"),
	}
}

// sharing returns the attention of a layer, whose keys and values may be those of another. All but every n-th has a window, unless
// the metadata say otherwise. Its scale is 1, since queries and keys are normalised.
func (k *keys) sharing(layer, n int) graph.Attention {
	a := k.normedHeads(layer)
	if k.local(layer, n) {
		a.Window = k.count("attention.sliding_window", 1, -1)
		a.KeyLen, a.ValueLen = k.count("attention.key_length_swa", 1, a.KeyLen), k.count("attention.value_length_swa", 1, a.ValueLen)
		a.Rope = graph.RopeSpec{Dims: k.count("rope.dimension_count_swa", 1, a.KeyLen), Base: k.float("rope.freq_base_swa", 10000), Factor: 1, NeoX: true}
		k.rotated(a.Rope.Dims, a.KeyLen)
	}
	a.Scale = 1
	a.VNorm = k.norm("")
	a.KeyValues = !k.hasIn(layer, "attn_v.weight")
	if a.KeyValues && a.KeyLen != a.ValueLen {
		k.corrupt("keys of %d elements cannot be values of %d", a.KeyLen, a.ValueLen)
	}
	own := k.layers - k.count("attention.shared_kv_layers", 0, 0)
	source := k.sharedBy(layer, own, n)
	switch {
	case layer >= own && source < 0:
		k.corrupt("no layer has keys and values for layer %d", layer)
	case layer >= own:
		a.Shared = layer - source
	default:
		a.Kept = own < k.layers && source == layer
	}
	return a
}

// gemma4Experts returns the network of a layer and, beside it, its experts.
func (k *keys) gemma4Experts(layer int) []graph.Mixer {
	m := k.mixture(k.expertHidden())
	m.Activation, m.NormTopKProb = graph.GELUTanh, true
	m.Fused, m.Scaled = k.hasIn(layer, "ffn_gate_up_exps.weight"), k.hasIn(layer, "ffn_down_exps.scale")
	m.Router, m.Norm = k.norm(""), k.norm("pre_ffw_norm_2")
	return []graph.Mixer{
		graph.Normed{Norm: k.norm("ffn_norm"), Mixer: k.geGLU(layer), PostNorm: k.norm("post_ffw_norm_1")},
		graph.Normed{Mixer: m, PostNorm: k.norm("post_ffw_norm_2")},
	}
}

// sharedBy returns the last of the first layers that has a window if a layer has, or none if that has none; -1 if there
// is none such. All but every n-th has one, unless the metadata say otherwise.
func (k *keys) sharedBy(layer, first, n int) int {
	for i := first - 1; i >= 0; i-- {
		if k.local(i, n) == k.local(layer, n) {
			return i
		}
	}
	return -1
}
