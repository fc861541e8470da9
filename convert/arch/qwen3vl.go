package arch

import (
	"github.com/ggufkit/ggufkit/convert/weights"
)

// Qwen3VL is the text part of Qwen 3 VL: Qwen3, and the first layers get more of an image
// than its embeddings. Positions have a time, a height and a width.
var Qwen3VL = Architecture{
	Class:   "Qwen3VLForConditionalGeneration",
	Name:    "qwen3vl",
	Family:  "Qwen 3 VL",
	Special: "the text part",
	types: []modelType{{
		name: "qwen3_vl_text", parts: []string{"qwen3_vl"}, theta: 500000,
		fields: append(denseFields(151936, 4096, 22016, 32, 32, 128000, 1e-6),
			field{"num_key_value_heads", whole | null, int64(32)}, field{"head_dim", whole, int64(128)}, field{"attention_bias", flag, false},
			field{"attention_dropout", whole | decimal, 0.0},
		),
	}},
	read: func(r *reader) family { return &qwen3VL{qwen3{readQwen(r)}, r.deepStack()} },
	restore: func(r *restorer) {
		r.qwen3VL("qwen3_vl")
	},
}

type qwen3VL struct {
	qwen3
	deepStack uint32
}

// deepStack returns in how many layers an image is added.
func (r *reader) deepStack() uint32 {
	vision := reader{hparams: r.object("vision_config")}
	if !vision.has("deepstack_visual_indexes") {
		return 3 // transformers' default
	}
	layers := vision.numbers("deepstack_visual_indexes")
	if vision.err != nil && r.err == nil {
		r.err = vision.err
	}
	return uint32(len(layers))
}

// qwen3VL makes the text part of a model of a type, which has the layers that get more of an
// image.
func (r *restorer) qwen3VL(model string) {
	r.asPartOf(model)
	r.set("vision_config", map[string]any{"deepstack_visual_indexes": make([]int, r.layers("n_deepstack_layers"))})
}

func (q *qwen3VL) keys(k *keys) {
	q.commonKeys(k)
	k.set("n_deepstack_layers", q.deepStack)
}

// Qwen3VLMoE is Qwen3VL with the mixture of experts of Qwen3MoE. Fused experts are
// transposed in its checkpoints: of each one the inputs are rows.
var Qwen3VLMoE = Architecture{
	Class:   "Qwen3VLMoeForConditionalGeneration",
	Name:    "qwen3vlmoe",
	Family:  "Qwen 3 VL with experts",
	Special: "the text part; experts one by one or fused",
	types: []modelType{{
		name: "qwen3_vl_moe_text", parts: []string{"qwen3_vl_moe"}, theta: 500000, headDim: true,
		renamed: map[string]string{"num_experts": "num_local_experts"},
		fields: append(denseFields(151936, 2048, 5632, 24, 16, 128000, 1e-6),
			field{"num_key_value_heads", whole, int64(16)}, field{"tie_word_embeddings", flag, true}, field{"attention_bias", flag, false},
			field{"attention_dropout", whole | decimal, 0.0}, field{"decoder_sparse_step", whole, int64(1)},
			field{"moe_intermediate_size", whole, int64(1408)}, field{"num_experts_per_tok", whole, int64(4)}, field{"num_experts", whole, int64(60)},
			field{"router_aux_loss_coef", decimal, 0.001}, field{"mlp_only_layers", wholes | null, nil}, field{"head_dim", whole | null, nil},
		),
	}},
	read:    func(r *reader) family { return &qwen3VLMoE{readQwenMixture(r), r.deepStack()} },
	experts: "num_experts",
	restore: func(r *restorer) {
		r.qwenMixture(true)
		r.qwen3VL("qwen3_vl_moe")
	},
}

type qwen3VLMoE struct {
	qwenMixture
	deepStack uint32
}

func (q *qwen3VLMoE) keys(k *keys) {
	q.qwenMixture.keys(k)
	k.set("n_deepstack_layers", q.deepStack)
}

func (q *qwen3VLMoE) tensors(m mapper) {
	apart := m.layout(fusedExperts, expertsApart) == 1
	q.outside(m)
	width := orZero(q.expertWidth)
	for _, layer := range m.layers(q.Layers) {
		q.qwen3Attention(layer)
		if apart {
			q.network(layer, false)
			continue
		}
		q.router(layer)
		gateUp := weights.Transpose(layer.get("mlp.experts.gate_up_proj", q.experts, q.HiddenSize, 2*width))
		layer.put("ffn_gate_exps.weight", weights.Slice(gateUp, 0, width))
		layer.put("ffn_down_exps.weight", weights.Transpose(layer.get("mlp.experts.down_proj", q.experts, width, q.HiddenSize)))
		layer.put("ffn_up_exps.weight", weights.Slice(gateUp, width, width))
	}
}
