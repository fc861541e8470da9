package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// AFMoE is Arcee's Trinity: a mixture of experts in all but the first layers, chosen with the
// help of a bias, experts that every token uses, a gate for what attention finds, norms in
// front of and behind both parts of a layer, and a window in three of four layers.
var AFMoE = Architecture{
	Class:      "AfmoeForCausalLM",
	Name:       "afmoe",
	Family:     "Trinity of Arcee",
	Special:    "with mup_enabled",
	Vocabulary: vocab.Rules{Llama: true},
	types: []modelType{{
		name: "afmoe", theta: 10000,
		fields: append(denseFields(200192, 2048, 6144, 32, 16, 16384, 1e-5),
			field{"moe_intermediate_size", whole, int64(1408)}, field{"num_dense_layers", whole | null, int64(1)},
			field{"num_key_value_heads", whole | null, nil}, field{"head_dim", whole | null, int64(128)}, field{"num_experts", whole | null, int64(64)},
			field{"num_experts_per_tok", whole | null, int64(6)}, field{"num_shared_experts", whole | null, int64(2)},
			field{"route_scale", decimal | null, 1.0}, field{"output_router_logits", flag, false},
			field{"global_attn_every_n_layers", whole | null, int64(4)}, field{"sliding_window", whole | null, int64(1024)},
			field{"layer_types", texts | null, nil}, field{"attention_dropout", decimal | whole | null, 0.0}, field{"mup_enabled", flag | null, false},
			field{"attention_bias", flag, false},
		),
		derive: func(h hparams) {
			every, _ := h["global_attn_every_n_layers"].(int64)
			layers := h["num_hidden_layers"].(int64)
			if h["layer_types"] != nil || every < 1 || layers < 0 || layers >= 1<<16 {
				return
			}
			types := make([]any, layers)
			for i := range types {
				types[i] = map[bool]string{true: "full_attention", false: "sliding_attention"}[(int64(i)+1)%every == 0]
			}
			h["layer_types"] = types
		},
	}},
	read:    readAFMoE,
	experts: "num_experts",
	restore: func(r *restorer) {
		r.take("expert_shared_count", "num_shared_experts")
		r.take("expert_feed_forward_length", "moe_intermediate_size")
		r.take("leading_dense_block_count", "num_dense_layers")
		r.take("expert_weights_norm", "route_norm")
		r.take("expert_weights_scale", "route_scale")
		r.set("sliding_window", nil)
		r.take("attention.sliding_window", "sliding_window")
		r.rename("scoring_func", "score_func")
		r.set("mup_enabled", true)
	},
}

// afmoePeriod is how many layers are from one without a window to the next.
const afmoePeriod = 4

type afmoe struct {
	mixture
	sharedExperts, expertWidth, denseLayers, window *int64
	scale                                           *float64
	divided                                         *bool // the weights of a token's experts by their sum
}

func readAFMoE(r *reader) family {
	r.can = sigmoidRouter
	a := &afmoe{mixture: r.mixture("silu", "swish")}
	a.sharedExperts, a.expertWidth = r.whole(0, 1<<16, "num_shared_experts"), r.whole(1, 1<<24, "moe_intermediate_size")
	a.denseLayers, a.window = r.whole(0, a.Layers, "num_dense_layers"), r.whole(1, 1<<31, "sliding_window")
	a.scale, a.divided = r.number("route_scale"), r.flag("route_norm")
	a.refuseScaling(r, "llama3")
	for i, t := range r.texts("layer_types") {
		if (t == "full_attention") != ((i+1)%afmoePeriod == 0) {
			r.fail(gguf.ErrUnsupported, "layer_types has %s for layer %d, in the architecture every fourth is full_attention", show(t), i)
		}
	}
	if !isTrue(r.hparams["mup_enabled"]) {
		r.fail(gguf.ErrUnsupported, "mup_enabled is false: the architecture scales embeddings")
	}
	return a
}

// keys has what AfmoeModel.set_gguf_parameters adds.
func (a *afmoe) keys(k *keys) {
	a.commonKeys(k)
	a.llamaKeys(k)
	k.count("expert_shared_count", a.sharedExperts)
	k.count("expert_feed_forward_length", a.expertWidth)
	k.count("leading_dense_block_count", a.denseLayers)
	if a.divided != nil {
		k.set("expert_weights_norm", *a.divided)
	}
	k.number("expert_weights_scale", a.scale)
	k.count("attention.sliding_window", a.window)
}

func (a *afmoe) tensors(m mapper) {
	a.outside(m)
	for i, layer := range m.layers(a.Layers) {
		layer.take("input_layernorm.weight", "attn_norm.weight", a.HiddenSize)
		layer.take("post_attention_layernorm.weight", "post_attention_norm.weight", a.HiddenSize)
		layer.take("pre_mlp_layernorm.weight", "ffn_norm.weight", a.HiddenSize)
		layer.take("post_mlp_layernorm.weight", "post_ffw_norm.weight", a.HiddenSize)
		a.attention(layer, halves)
		a.attentionBiases(layer, halves)
		layer.take("self_attn.gate_proj.weight", "attn_gate.weight", a.queries(), a.HiddenSize)
		a.queryKeyNorms(layer, a.HeadLength(), a.HeadLength())
		if i < orZero(a.denseLayers) {
			a.mlp(layer)
			continue
		}
		layer.take("mlp.router.gate.weight", "ffn_gate_inp.weight", a.experts, a.HiddenSize)
		layer.takeAny("mlp.expert_bias", "exp_probs_b.bias", a.experts)
		width := orZero(a.expertWidth)
		a.apart(layer, "mlp.experts.", gateFirst, width)
		a.sharedExpert(layer, orZero(a.sharedExperts)*width)
	}
}
