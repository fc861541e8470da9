package arch

import "slices"

// Qwen2VL is the text part of Qwen 2 VL and 2.5 VL: Qwen2 with positions that have a time, a
// height and a width.
var Qwen2VL = Architecture{
	Class:   "Qwen2_5_VLForConditionalGeneration",
	Others:  []string{"Qwen2VLForConditionalGeneration"},
	Name:    "qwen2vl",
	Family:  "Qwen 2 VL, 2.5 VL",
	Special: "the text part",
	types: []modelType{
		{name: "qwen2_5_vl_text", parts: []string{"qwen2_5_vl"}, theta: 1e6, layerTypes: "full_attention", fields: qwen2VLFields},
		{name: "qwen2_vl_text", parts: []string{"qwen2_vl"}, theta: 1e6, layerTypes: "full_attention", fields: qwen2VLFields},
		// Published models have the parameters of the text part at the top.
		{name: "qwen2_5_vl", theta: 1e6, layerTypes: "full_attention", fields: qwen2VLFields},
		{name: "qwen2_vl", theta: 1e6, layerTypes: "full_attention", fields: qwen2VLFields},
	},
	read: func(r *reader) family { return &qwen2{readQwen(r)} },
	restore: func(r *restorer) {
		r.asPartOf("qwen2_5_vl")
	},
}

var qwen2VLFields = append(slices.Clone(denseFields(152064, 8192, 29568, 80, 64, 32768, 1e-5)),
	field{"num_key_value_heads", whole | null, int64(8)}, field{"use_sliding_window", flag | null, false},
	field{"sliding_window", whole | null, int64(4096)}, field{"max_window_layers", whole | null, int64(80)}, field{"layer_types", texts | null, nil},
	field{"attention_dropout", whole | decimal | null, 0.0}, field{"bos_token_id", whole | null, int64(151643)},
	field{"eos_token_id", whole | wholes | null, int64(151645)})
