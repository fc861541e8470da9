package arch

import (
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// DeepSeek is DeepSeekMoE 16B, with the code that comes with its checkpoint: Llama
// with a mixture of experts in all but the first layers, and experts that every
// token uses. Those are stored as one that is as wide as all of them. llama.cpp
// does not divide the weights of the others by their sum, whatever norm_topk_prob
// says, and cannot run models without shared experts.
var DeepSeek = Architecture{
	Class:   "DeepseekForCausalLM",
	Name:    "deepseek",
	Family:  "DeepSeekMoE 16B",
	Special: "without rope scaling",
	read:    readDeepSeek,
	experts: "n_routed_experts",
	restore: func(r *restorer) {
		r.take("leading_dense_block_count", "first_k_dense_replace")
		r.take("expert_feed_forward_length", "moe_intermediate_size")
		r.take("expert_shared_count", "n_shared_experts")
		r.set("norm_topk_prob", false)
		r.set("moe_layer_freq", 1)
		const published = "deepseek-ai/deepseek-moe-16b-base--" // the code that comes with it
		r.set("model_type", "deepseek")
		r.set("auto_map", map[string]string{
			"AutoConfig": published + "configuration_deepseek.DeepseekConfig", "AutoModel": published + "modeling_deepseek.DeepseekModel",
			"AutoModelForCausalLM": published + "modeling_deepseek.DeepseekForCausalLM",
		})
	},
}

type deepSeek struct {
	mixture
	expertWidth   int64
	sharedExperts int64 // each as wide as an expert
	denseLayers   int64 // the first ones, without experts
}

func readDeepSeek(r *reader) family {
	d := &deepSeek{mixture: r.mixture("silu", "swish")}
	d.expertWidth = orZero(r.whole(0, 1<<24, "moe_intermediate_size"))
	d.sharedExperts = orZero(r.whole(0, 1<<16, "n_shared_experts"))
	d.denseLayers = orZero(r.whole(0, d.Layers, "first_k_dense_replace"))
	if d.expertWidth == 0 {
		r.fail(gguf.ErrCorrupt, "moe_intermediate_size is missing")
	}
	d.refuseScaling(r) // convert_hf_to_gguf.py writes that there is none
	return d
}

// keys has what DeepseekModel.set_gguf_parameters adds.
func (d *deepSeek) keys(k *keys) {
	d.commonKeys(k)
	k.set("rope.dimension_count", uint32(d.HeadLength()))
	k.set("rope.scaling.type", "none")
	k.set("leading_dense_block_count", uint32(d.denseLayers))
	k.set("vocab_size", uint32(d.VocabSize))
	k.set("expert_feed_forward_length", uint32(d.expertWidth))
	k.set("expert_weights_scale", float32(1))
	k.set("expert_shared_count", uint32(d.sharedExperts))
}

func (d *deepSeek) tensors(m mapper) {
	d.outside(m)
	shared := d.sharedExperts * d.expertWidth
	for i, layer := range m.layers(d.Layers) {
		d.norms(layer)
		d.attention(layer, weights.Interleave)
		d.attentionBiases(layer, weights.Interleave)
		if i < d.denseLayers {
			d.mlp(layer)
			continue
		}
		d.router(layer)
		d.apart(layer, "mlp.experts.", downFirst, d.expertWidth)
		d.sharedExpert(layer, shared)
	}
}

// sharedExpert maps an expert that every token uses, or several as one, if it has any width.
func (x *mixture) sharedExpert(layer mapper, width int64) {
	if width > 0 {
		x.gated(layer, "mlp.shared_experts.", "_shexp", width)
	}
}
