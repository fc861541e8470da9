package arch

import (
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// GPTOSS is gpt-oss: a mixture of experts in every layer, with biases everywhere, attention
// with sinks, and a window in every second layer. The experts of a layer are transposed: of
// each one the inputs are rows, and columns of gates and of the others take turns. Those that
// are published in MXFP4 stay what they are.
var GPTOSS = Architecture{
	Class:    "GptOssForCausalLM",
	Name:     "gpt-oss",
	Family:   "gpt-oss",
	Special:  "experts in MXFP4 stay what they are",
	Repacked: true,
	types: []modelType{{
		name: "gpt_oss", theta: 150000, everyFull: gptOSSPeriod,
		renamed: map[string]string{"num_experts": "num_local_experts"},
		fields: append(denseFields(201088, 2880, 2880, 36, 64, 131072, 1e-5),
			field{"num_local_experts", whole, int64(128)}, field{"head_dim", whole, int64(64)}, field{"num_key_value_heads", whole, int64(8)},
			field{"sliding_window", whole | null, int64(128)}, field{"attention_dropout", decimal | whole, 0.0},
			field{"num_experts_per_tok", whole, int64(4)}, field{"router_aux_loss_coef", decimal, 0.001}, field{"output_router_logits", flag, false},
			field{"layer_types", texts | null, nil}, field{"attention_bias", flag, true},
		),
		derive: func(h hparams) {
			if h["rope_parameters"] == nil {
				h["rope_parameters"] = map[string]any{"rope_type": "yarn", "factor": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "truncate": false,
					"original_max_position_embeddings": int64(4096)}
			}
		},
	}},
	read:    readGPTOSS,
	experts: "num_local_experts",
	restore: func(r *restorer) {
		r.take("attention.sliding_window", "sliding_window")
		if r.params["rope_scaling"] == nil {
			r.set("rope_scaling", map[string]any{"rope_type": "default"})
		}
	},
}

// gptOSSPeriod is how many layers are from one without a window to the next.
const gptOSSPeriod = 2

type gptOSS struct {
	mixture
	window int64
}

func readGPTOSS(r *reader) family {
	g := &gptOSS{r.mixture("silu", "swish"), r.needed(1, 1<<31, "sliding_window")}
	for i, t := range r.texts("layer_types") {
		if (t == "full_attention") != ((i+1)%gptOSSPeriod == 0) {
			r.fail(gguf.ErrUnsupported, "layer_types has %s for layer %d, in the architecture every second is full_attention", show(t), i)
		}
	}
	g.refuseScaling(r, "llama3")
	return g
}

// keys has what GptOssModel.set_gguf_parameters adds.
func (g *gptOSS) keys(k *keys) {
	g.commonKeys(k)
	k.set("attention.sliding_window", uint32(g.window))
	k.set("expert_feed_forward_length", uint32(g.IntermediateSize))
}

func (g *gptOSS) tensors(m mapper) {
	g.outside(m)
	for _, layer := range m.layers(g.Layers) {
		layer.take("input_layernorm.weight", "attn_norm.weight", g.HiddenSize)
		g.attention(layer, halves)
		g.attentionBiases(layer, halves)
		layer.take("self_attn.sinks", "attn_sinks.weight", g.Heads)
		layer.take("post_attention_layernorm.weight", "post_attention_norm.weight", g.HiddenSize)
		layer.take("mlp.router.weight", "ffn_gate_inp.weight", g.experts, g.HiddenSize)
		layer.take("mlp.router.bias", "ffn_gate_inp.bias", g.experts)
		g.network(layer)
	}
}

// network maps the experts of a layer.
func (g *gptOSS) network(layer mapper) {
	width := g.IntermediateSize
	down := layer.get("mlp.experts.down_proj", g.experts, width, g.HiddenSize)
	layer.put("ffn_down_exps.weight", weights.Transpose(down))
	layer.take("mlp.experts.down_proj_bias", "ffn_down_exps.bias", g.experts, g.HiddenSize)

	both := weights.Deinterleave(weights.Transpose(layer.get("mlp.experts.gate_up_proj", g.experts, g.HiddenSize, 2*width)), g.experts)
	layer.put("ffn_gate_exps.weight", weights.Slice(both, 0, width))
	layer.put("ffn_up_exps.weight", weights.Slice(both, width, width))

	bias := weights.Reshape(layer.get("mlp.experts.gate_up_proj_bias", g.experts, 2*width), g.experts, 2*width, 1)
	bias = weights.Deinterleave(bias, g.experts)
	layer.put("ffn_gate_exps.bias", weights.Reshape(weights.Slice(bias, 0, width), g.experts, width))
	layer.put("ffn_up_exps.bias", weights.Reshape(weights.Slice(bias, width, width), g.experts, width))
}
