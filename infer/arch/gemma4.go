package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// gemma4 is Gemma 4. Layers have a window, or see all with longer heads; the last ones may share keys and
// values, and each may add something of its own for a token.
func gemma4(k *keys) graph.Spec {
	own := k.layers - k.count("attention.shared_kv_layers", 0, 0)
	perLayer := graph.PerLayer{Width: k.count("embedding_length_per_layer_input", 0, 0), Norm: k.norm("per_layer_proj_norm")}
	s := k.decoder(func(i int) graph.Layer {
		a := k.gemma4(i)
		source := k.sharedBy(i, own)
		switch {
		case i >= own && source < 0:
			k.corrupt("no layer has keys and values for layer %d", i)
		case i >= own:
			a.Shared = i - source
		default:
			a.Kept = own < k.layers && source == i
		}
		layer := k.sandwich(a, k.geGLU(i))
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

// gemma4 returns the attention of a layer. Its scale is 1, since queries and keys are normalised.
func (k *keys) gemma4(layer int) graph.Attention {
	a := k.normedHeads(layer)
	if k.local(layer, 6) {
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
// is none such.
func (k *keys) sharedBy(layer, first int) int {
	for i := first - 1; i >= 0; i-- {
		if k.local(i, 6) == k.local(layer, 6) {
			return i
		}
	}
	return -1
}
