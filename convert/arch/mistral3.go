package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// Mistral3 is the text part of Mistral Small 3.1 and later, and Ministral 3, which scales
// positions, and queries by how far on they are.
var Mistral3 = Architecture{
	Class:      "Mistral3ForConditionalGeneration",
	Others:     []string{"Ministral3ForCausalLM"},
	Name:       "mistral3",
	Family:     "Mistral Small 3.1 and later, Ministral 3",
	Special:    "tekken.json or tokenizer.json",
	Vocabulary: vocab.Rules{Llama: true},
	types: []modelType{{
		name: "ministral3", theta: 10000,
		fields: append(denseFields(131072, 4096, 14336, 34, 32, 262144, 1e-5),
			field{"num_key_value_heads", whole, int64(8)}, field{"head_dim", whole, int64(128)}, field{"pad_token_id", whole | null, int64(11)},
			field{"bos_token_id", whole | null, int64(1)}, field{"eos_token_id", whole | wholes | null, int64(2)},
			field{"sliding_window", whole | null, nil}, field{"attention_dropout", whole | decimal, 0.0},
		),
		derive: func(h hparams) {
			if h["rope_parameters"] == nil {
				h["rope_parameters"] = map[string]any{"type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": int64(16384),
					"max_position_embeddings": h["max_position_embeddings"], "beta_fast": 32.0, "beta_slow": 1.0, "mscale_all_dim": 1.0, "mscale": 1.0,
					"llama_4_scaling_beta": 0.1}
			}
		},
	}},
	read:    readMistral3,
	restore: restoreMistral3,
}

type mistral3 struct {
	llama
	yarnLog, temperature *float64 // of Ministral
}

func readMistral3(r *reader) family {
	m := &mistral3{llama: llama{Config: r.dense("silu", "swish")}}
	if r.has("text_config") {
		m.TieEmbeddings = true // in transformers the whole model says so, and not its text part
	}
	if r.hparams["model_type"] == "mistral4" {
		r.fail(gguf.ErrUnsupported, "%s of model_type mistral4", r.class)
	}
	if r.hparams["model_type"] != "ministral3" {
		return m
	}
	rope := reader{hparams: m.Rope.parameters}
	m.yarnLog, m.temperature = rope.number("mscale_all_dim"), rope.number("llama_4_scaling_beta")
	if m.Rope.Type != "yarn" || m.yarnLog == nil || m.temperature == nil || rope.err != nil {
		r.fail(gguf.ErrCorrupt, "rope_parameters of ministral3 are not yarn with mscale_all_dim and llama_4_scaling_beta")
	}
	return m
}

// keys has what Mistral3Model adds for Ministral.
func (m *mistral3) keys(k *keys) {
	m.llama.keys(k)
	k.number("rope.scaling.yarn_log_multiplier", m.yarnLog)
	k.number("attention.temperature_scale", m.temperature)
}

// restoreMistral3 makes Ministral a model of its own, and others the text part of one that
// sees.
func restoreMistral3(r *restorer) {
	r.ropeFactors()
	r.set("sliding_window", nil)
	if r.hasKey("attention.temperature_scale") {
		r.set("architectures", []string{"Ministral3ForCausalLM"})
		r.takeScaling("rope.scaling.yarn_log_multiplier", "mscale_all_dim")
		r.takeScaling("rope.scaling.yarn_log_multiplier", "mscale") // so that nothing is scaled by it
		r.takeScaling("attention.temperature_scale", "llama_4_scaling_beta")
		return
	}
	r.set("model_type", "mistral")
	r.asPartOf("mistral3")
}
