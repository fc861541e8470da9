package arch

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// This file has what transformers 5.12 knows of the parameters of models: their types
// and defaults. AutoConfig.from_pretrained refuses a config.json with a parameter of
// another type; convert_hf_to_gguf.py then takes the file as it is.

// kind is a set of the types that a parameter can have.
type kind int

const (
	null kind = 1 << iota
	whole
	decimal
	flag
	text
	object
	wholes // a list of whole numbers
	texts  // a list of texts
)

// kindOf returns the types that v is of: one, or two for an empty list.
func kindOf(v any) kind {
	switch v := v.(type) {
	case nil:
		return null
	case int64:
		return whole
	case float64:
		return decimal
	case bool:
		return flag
	case string:
		return text
	case map[string]any:
		return object
	case []any:
		all := wholes | texts
		for _, item := range v {
			switch kindOf(item) {
			case whole:
				all &= wholes
			case text:
				all &= texts
			default:
				return 0
			}
		}
		return all
	}
	return 0
}

// field is a parameter of a class.
type field struct {
	name  string
	kinds kind
	value any // where config.json lacks it
}

// modelType is one of transformers' configuration classes, by the model_type that it is
// for.
type modelType struct {
	name       string
	unless     string   // it is not for files with this parameter
	parts      []string // types of models for images or sound whose text part is of this type where it says none
	theta      float64
	fields     []field
	renamed    map[string]string // what is kept under another name
	headDim    bool              // head_dim is hidden_size / num_attention_heads where it is not said
	noKVHeads  bool              // num_key_value_heads may stay null
	layerTypes string            // the type of layers, where they are not said
	everyFull  int64             // where they are not said, each so manyth layer is of full attention and the others have a window
	partial    float64           // partial_rotary_factor where it is not said
	localTheta float64           // rope_parameters are those of each type of layers, and this is the base of layers with a window
	derive     func(hparams)     // sets what follows from other parameters in another way
	check      func(hparams) bool
}

// typeOf returns what transformers knows of parameters, nil if it is nothing.
func typeOf(file hparams) *modelType {
	for _, a := range Architectures {
		for i, t := range a.types {
			if file["model_type"] == t.name && (t.unless == "" || !file.has(t.unless)) {
				return &a.types[i]
			}
		}
	}
	return nil
}

// typeOfPart returns the type of the text part of a model for images or sound, empty if
// there is none.
func typeOfPart(model any) string {
	for _, a := range Architectures {
		for _, t := range a.types {
			if slices.ContainsFunc(t.parts, func(name string) bool { return name == model }) {
				return t.name
			}
		}
	}
	return ""
}

// denseFields has what most classes have.
func denseFields(vocab, width, hidden, layers, heads, context int64, epsilon float64) []field {
	return append(modelFields(vocab, width, hidden, layers, heads, context, epsilon), field{"hidden_act", text, "silu"})
}

// modelFields has what all these classes have. Most are those of all models. An epsilon of
// 0 is for classes without rms_norm_eps.
func modelFields(vocab, width, hidden, layers, heads, context int64, epsilon float64) []field {
	fields := []field{
		{"vocab_size", whole, vocab}, {"hidden_size", whole, width}, {"intermediate_size", whole, hidden}, {"num_hidden_layers", whole, layers},
		{"num_attention_heads", whole, heads},
		{"max_position_embeddings", whole, context}, {"initializer_range", decimal, 0.02},
		{"use_cache", flag, true}, {"tie_word_embeddings", flag, false}, {"rope_parameters", object | null, nil},
		{"pad_token_id", whole | null, nil}, {"bos_token_id", whole | null, nil}, {"eos_token_id", whole | wholes | null, nil},
		{"transformers_version", text | null, nil}, {"architectures", texts | null, nil}, {"output_hidden_states", flag | null, false},
		{"return_dict", flag | null, true},
		{"chunk_size_feed_forward", whole, int64(0)}, {"is_encoder_decoder", flag, false},
		{"id2label", object | null, nil}, {"label2id", object | null, nil}, {"problem_type", text | null, nil},
	}
	if epsilon > 0 {
		fields = append(fields, field{"rms_norm_eps", decimal, epsilon})
	}
	return fields
}

// without returns fields but for those of some names.
func without(fields []field, names ...string) []field {
	return slices.DeleteFunc(fields, func(f field) bool { return slices.Contains(names, f.name) })
}

// complete returns the parameters as the class of their model_type has them. It does not
// change file.
func complete(file hparams) hparams {
	class := typeOf(file)
	if class == nil {
		return file
	}
	h := maps.Clone(file)
	for _, f := range class.fields {
		v, ok := file[f.name]
		if !ok {
			v = f.value
		}
		if kindOf(v)&f.kinds == 0 {
			return file
		}
		h[f.name] = v
	}
	if h["num_attention_heads"] == int64(0) {
		return file // transformers divides by it
	}
	if class.headDim && h["head_dim"] == nil {
		h["head_dim"] = h["hidden_size"].(int64) / h["num_attention_heads"].(int64)
	}
	if h["num_key_value_heads"] == nil && !class.noKVHeads {
		h["num_key_value_heads"] = h["num_attention_heads"]
	}
	if class.layerTypes != "" && h["layer_types"] == nil && h["num_hidden_layers"].(int64) < 1<<16 {
		h["layer_types"] = slices.Repeat([]any{class.layerTypes}, int(max(0, h["num_hidden_layers"].(int64))))
	}
	if class.everyFull > 0 {
		class.setLayerTypes(h)
	}
	if class.partial > 0 && !h.has("partial_rotary_factor") {
		h["partial_rotary_factor"] = class.partial
	}
	if class.derive != nil {
		class.derive(h)
	}
	for from, to := range class.renamed {
		// The class has one of the names, the file may have the other, which then counts.
		isField := slices.ContainsFunc(class.fields, func(f field) bool { return f.name == from })
		other := from
		if isField {
			other = to
		}
		if v, ok := file[other]; ok {
			h[to] = v
		} else if isField {
			h[to] = h[from]
		}
		delete(h, from)
	}
	if class.check != nil && !class.check(h) || !knownTypes(h) || !knownLabels(h) || !knownLayerTypes(h) || !class.completeRope(h) {
		return file
	}
	if _, ok := file["use_return_dict"]; ok {
		return file
	}
	return h
}

// setLayerTypes sets layer_types where they are not said.
func (t *modelType) setLayerTypes(h hparams) {
	layers := h["num_hidden_layers"].(int64)
	if h["layer_types"] != nil || layers >= 1<<16 {
		return
	}
	every := t.everyFull
	if n, ok := h["sliding_window_pattern"].(int64); ok && n > 0 {
		every = n
	}
	var types []any
	for i := range layers {
		name := "sliding_attention"
		if (i+1)%every == 0 {
			name = "full_attention"
		}
		types = append(types, name)
	}
	h["layer_types"] = types
}

// torchTypes are the data types of PyTorch.
var torchTypes = strings.Fields("bcomplex32 bfloat16 bit bits16 bits1x8 bits2x4 bits4x2 bits8 bool cdouble cfloat chalf complex128 complex32 " +
	"complex64 double float float16 float32 float4_e2m1fn_x2 float64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu half " +
	"int int1 int16 int2 int3 int32 int4 int5 int6 int64 int7 int8 long qint32 qint8 quint2x4 quint4x2 quint8 short uint1 uint16 uint2 uint3 uint32 " +
	"uint4 uint5 uint6 uint64 uint7 uint8")

// knownTypes reports whether the data type of the tensors, if it is a name, is one of
// PyTorch.
func knownTypes(h hparams) bool {
	v := h["dtype"]
	if v == nil {
		v = h["torch_dtype"]
	}
	name, ok := v.(string)
	return !ok || slices.Contains(torchTypes, name)
}

// knownLabels reports whether the labels of classes have numbers.
func knownLabels(h hparams) bool {
	labels, _ := h["id2label"].(map[string]any)
	for id, label := range labels {
		if _, err := strconv.Atoi(strings.TrimSpace(id)); err != nil || kindOf(label) != text {
			return false
		}
	}
	count, counted := h["num_labels"]
	if counted && labels == nil && kindOf(count)&(whole|flag) == 0 {
		return false
	}
	if h["problem_type"] == "single_label_classification" && (len(labels) == 1 || labels == nil && count == int64(1)) {
		return false
	}
	ids, _ := h["label2id"].(map[string]any)
	kinds := whole | text
	for _, id := range ids {
		kinds &= kindOf(id)
	}
	if kinds == 0 {
		return false
	}
	problems := []any{nil, "regression", "single_label_classification", "multi_label_classification"}
	return slices.Contains(problems, h["problem_type"])
}

var allLayerTypes = strings.Fields("full_attention sliding_attention chunked_attention compressed_sparse_attention heavily_compressed_attention " +
	"minimax_m3_sparse linear_attention conv mamba attention sparse dense hybrid moe deepseek_sparse_attention")

// knownLayerTypes reports whether layer_types are those of as many layers as there are.
func knownLayerTypes(h hparams) bool {
	for _, name := range []string{"layer_types", "mlp_layer_types"} {
		if h[name] == nil {
			return true // and the second is not looked at
		}
		list, ok := h[name].([]any)
		if !ok || int64(len(list)) != h["num_hidden_layers"] {
			return false
		}
		for _, v := range list {
			if name, ok := v.(string); !ok || !slices.Contains(allLayerTypes, name) {
				return false
			}
		}
	}
	return true
}

// completeRope gathers rope_scaling, rope_theta and partial_rotary_factor in
// rope_parameters, and reports whether transformers takes them.
func (t *modelType) completeRope(h hparams) bool {
	if t.localTheta > 0 {
		return t.completeRopes(h)
	}
	rope, _ := h["rope_parameters"].(map[string]any)
	if v := h["rope_scaling"]; isTrue(v) {
		var ok bool
		if rope, ok = v.(map[string]any); !ok {
			return false
		}
	}
	rope = maps.Clone(rope)
	if rope == nil {
		rope = make(map[string]any)
	}
	setDefault := func(name string, value any) {
		if _, ok := rope[name]; !ok {
			rope[name] = value
		}
	}
	if v, ok := h["rope_theta"]; ok {
		setDefault("rope_theta", v)
	}
	setDefault("rope_theta", t.theta)
	if v := h["partial_rotary_factor"]; v != nil {
		setDefault("partial_rotary_factor", v)
	}
	if v, ok := rope["type"]; ok {
		setDefault("rope_type", v)
	}
	setDefault("rope_type", "default")
	switch rope["rope_type"] {
	case "llama3", "yarn", "longrope":
		setDefault("original_max_position_embeddings", h["max_position_embeddings"])
	}
	delete(h, "rope_scaling")
	delete(h, "rope_theta")
	h["rope_parameters"] = rope
	return validRope(rope)
}

// completeRopes is completeRope for rope_parameters of each type of layers.
func (t *modelType) completeRopes(h hparams) bool {
	all, _ := h["rope_parameters"].(map[string]any)
	all = maps.Clone(all)
	if all == nil {
		all = make(map[string]any)
	}
	scaling, ok := h["rope_scaling"].(map[string]any)
	if !ok && h["rope_scaling"] != nil {
		return false
	}
	for _, of := range []struct {
		layers, theta string
		base          float64
		scaling       map[string]any
	}{{"full_attention", "rope_theta", t.theta, scaling}, {"sliding_attention", "rope_local_base_freq", t.localTheta, nil}} {
		rope, ok := all[of.layers].(map[string]any)
		if !ok && all[of.layers] != nil {
			return false
		}
		rope = maps.Clone(rope)
		if rope == nil {
			rope = make(map[string]any)
		}
		maps.Copy(rope, of.scaling)
		if _, ok := rope["rope_theta"]; !ok {
			rope["rope_theta"] = of.base
			if v, ok := h[of.theta]; ok {
				rope["rope_theta"] = v
			}
		}
		if _, ok := rope["rope_type"]; !ok {
			rope["rope_type"] = "default"
			if v, ok := rope["type"]; ok {
				rope["rope_type"] = v
			}
		}
		all[of.layers] = rope
		delete(h, of.theta)
		if !validRope(rope) {
			return false
		}
	}
	delete(h, "rope_scaling")
	h["rope_parameters"] = all
	return true
}

// validRope reports whether a way to scale positions has the parameters that it needs,
// of types that transformers can compare.
func validRope(rope map[string]any) bool {
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { _, ok := rope[name]; return !ok })
	}
	isNumber := func(v any) bool { return kindOf(v)&(whole|decimal|flag) != 0 }
	switch rope["rope_type"] {
	case "linear", "dynamic":
		return has("factor")
	case "yarn":
		original, fast, slow := rope["original_max_position_embeddings"], rope["beta_fast"], rope["beta_slow"]
		return has("factor") && isNumber(original) && isTrue(original) && (!isTrue(fast) || isNumber(fast)) && (!isTrue(slow) || isNumber(slow))
	case "llama3":
		low, high := rope["low_freq_factor"], rope["high_freq_factor"]
		ordered := isNumber(low) && isNumber(high) || kindOf(low) == text && kindOf(high) == text
		return has("factor", "low_freq_factor", "high_freq_factor") && ordered && isNumber(rope["original_max_position_embeddings"])
	case "longrope":
		return has("short_factor", "long_factor")
	}
	return true
}

// isTrue reports whether Python takes a value for true.
func isTrue(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0 || math.IsNaN(v)
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}
