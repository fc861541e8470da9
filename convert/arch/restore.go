package arch

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Restored is a checkpoint that converts to a GGUF model.
type Restored struct {
	// Model is its architecture and what Config says.
	*Model
	// Config has the parameters of config.json, but for those of the vocabulary and the
	// type of the tensors.
	Config map[string]any
	// List has the tensors, in an order of files in which converting them puts those of
	// the model in the order that they had.
	weights.List
	// Starts are the tensors that must be the first of a file for that.
	Starts []string
}

// Restore returns the checkpoint that a GGUF model was converted from, as far as the model
// tells: the same expressions that convert tensors say, undone, what a checkpoint has, and
// Architecture.restore its config.json. Tensors that are quantized are what their blocks
// stand for. The error wraps gguf.ErrUnsupported if the architecture is not known or the
// model has tensors that it has not, and gguf.ErrCorrupt if some are missing.
func Restore(src gguf.Source) (*Restored, error) {
	r := &restorer{src: src, params: make(map[string]any), index: make(map[string]int), lists: make(map[string][]int32), tensorsOfKeys: make(map[string]weights.Rows)}
	for i, t := range src.Tensors() {
		r.index[t.Name] = i
	}
	config, err := r.config()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	m, err := Read(text)
	if err != nil {
		return nil, fmt.Errorf("config.json of its metadata: %w", err)
	}
	restored := &Restored{Model: m, Config: config}
	return restored, r.tensors(restored)
}

// restorer makes a checkpoint of a GGUF model. After the first error it takes nothing.
type restorer struct {
	src    gguf.Source
	prefix string         // of the names of keys
	params map[string]any // of config.json
	index  map[string]int // of tensors
	err    error

	lists         map[string][]int32      // values of keys that have one for each layer, until a class takes them
	tensorsOfKeys map[string]weights.Rows // of the checkpoint, that are metadata in the model
	usual, saved  string                  // how names of the checkpoint's tensors begin for architectures, and in its files, if that is not the same
}

// common gives the names in config.json of what commonKeys and Rope.keys write as it is.
var common = []struct{ key, name string }{
	{"context_length", "max_position_embeddings"}, {"embedding_length", "hidden_size"}, {"block_count", "num_hidden_layers"},
	{"feed_forward_length", "intermediate_size"}, {"attention.head_count", "num_attention_heads"}, {"attention.head_count_kv", "num_key_value_heads"},
	{"attention.key_length", "head_dim"}, {"attention.layer_norm_rms_epsilon", "rms_norm_eps"}, {"attention.layer_norm_epsilon", "layer_norm_eps"},
	{"attention.causal", "is_causal"}, {"expert_used_count", "num_experts_per_tok"}, {"expert_group_count", "n_group"},
	{"expert_group_used_count", "topk_group"}, {"rope.freq_base", "rope_theta"}, {"rope.freq_base_swa", "rope_local_base_freq"},
}

// scaling gives the names, in an object of their own, of what says how positions are scaled.
var scaling = []struct{ key, name string }{
	{"rope.scaling.factor", "factor"}, {"rope.scaling.original_context_length", "original_max_position_embeddings"},
	{"rope.scaling.yarn_truncate", "truncate"}, {"rope.scaling.yarn_ext_factor", "extrapolation_factor"},
	{"rope.scaling.yarn_attn_factor", "attention_factor"}, {"rope.scaling.yarn_beta_fast", "beta_fast"}, {"rope.scaling.yarn_beta_slow", "beta_slow"},
}

// config returns config.json of the metadata.
func (r *restorer) config() (map[string]any, error) {
	name, err := gguf.Value[string](r.src.Metadata(), "general.architecture")
	if err != nil {
		return nil, err
	}
	r.prefix = name + "."
	class, err := r.class(name)
	if err != nil {
		return nil, err
	}
	embeddings, ok := r.index["token_embd.weight"]
	if !ok {
		return nil, fmt.Errorf("%w: tensor \"token_embd.weight\" is missing", gguf.ErrCorrupt)
	}
	r.set("architectures", []string{class.Class})
	r.set("vocab_size", r.src.Tensors()[embeddings].Rows())
	r.set("tie_word_embeddings", !r.has("output.weight"))
	r.set("hidden_act", "silu")
	for _, p := range common {
		if v, ok := r.src.Metadata().Get(r.prefix + p.key); ok {
			if list, ok := v.([]int32); ok {
				r.lists[p.key] = list
				continue
			}
		}
		r.take(p.key, p.name)
	}
	if class.experts != "" {
		r.take("expert_count", class.experts)
	}
	if r.params["num_key_value_heads"] == nil { // each head of queries has its own
		r.set("num_key_value_heads", r.params["num_attention_heads"])
	}
	switch r.whole("expert_gating_func") {
	case gatingSoftmax:
		r.set("scoring_func", "softmax")
	case gatingSigmoid:
		r.set("scoring_func", "sigmoid")
	}
	r.biases(class)
	r.scaling()
	if len(class.types) > 0 {
		t := &class.types[0]
		r.set("model_type", t.name)
		if _, ok := r.src.Metadata().Get(r.prefix + "attention.head_count_kv"); !ok && t.noKVHeads {
			r.set("num_key_value_heads", nil)
		}
	}
	if class.restore != nil {
		class.restore(r)
	}
	for key := range r.lists {
		r.fail(fmt.Errorf("%w: metadata key %s%s is a list", gguf.ErrCorrupt, r.prefix, key))
	}
	return r.params, r.err
}

// class returns the architecture of a name.
func (r *restorer) class(name string) (*Architecture, error) {
	mixture := r.whole("expert_count") > 0
	var found *Architecture
	var known []string
	for _, a := range Architectures {
		known = append(known, a.Name)
		if a.Name != name && !slices.Contains(a.Variants, name) {
			continue
		}
		if (a.experts != "") == mixture {
			return a, nil
		}
		found = cmp.Or(found, a)
	}
	if found != nil {
		return found, nil
	}
	return nil, fmt.Errorf("%w: models of architecture %.100q as a checkpoint (known: %s)", gguf.ErrUnsupported, name, strings.Join(slices.Compact(known), ", "))
}

// biases says which biases there are, for classes that can be without.
func (r *restorer) biases(class *Architecture) {
	flags := []string{"attention_bias"} // of classes that transformers does not know
	if len(class.types) > 0 {
		flags = nil
		for _, f := range class.types[0].fields {
			flags = append(flags, f.name)
		}
	}
	for flag, tensors := range map[string][]string{
		"attention_bias": {"blk.0.attn_q.bias", "blk.0.attn_output.bias"}, "mlp_bias": {"blk.0.ffn_gate.bias", "blk.0.ffn_down.bias"},
	} {
		if slices.Contains(flags, flag) && slices.ContainsFunc(tensors, r.has) {
			r.set(flag, true)
		}
	}
}

// scaling is the reverse of Rope.keys, but for what is a parameter of its own.
func (r *restorer) scaling() {
	all := r.params
	r.params = make(map[string]any)
	defer func() { r.params = all }()
	if sections, err := gguf.Value[[]int32](r.src.Metadata(), r.prefix+"rope.dimension_sections"); err == nil {
		for len(sections) > 0 && sections[len(sections)-1] == 0 {
			sections = sections[:len(sections)-1]
		}
		r.set("rope_type", "default")
		r.set("mrope_section", sections)
	}
	switch kind, err := gguf.Value[string](r.src.Metadata(), r.prefix+"rope.scaling.type"); {
	case errors.Is(err, gguf.ErrNoKey), err == nil && (kind == "none" || kind == "longrope" && r.has("rope_factors_long.weight")): // see longRope
	case err != nil:
		r.fail(err)
	case kind == "linear" || kind == "yarn":
		r.set("rope_type", kind)
		for _, p := range scaling {
			r.take(p.key, p.name)
		}
	default:
		r.fail(fmt.Errorf("%w: rope scaling %.100q as a checkpoint", gguf.ErrUnsupported, kind))
	}
	if len(r.params) > 0 {
		all["rope_scaling"] = r.params
	}
}

// longRope is the reverse of Rope.longFactors, of a model that was made for so many positions first.
func (r *restorer) longRope(original int64) {
	if !r.has("rope_factors_long.weight") {
		return
	}
	scaling := map[string]any{"rope_type": "longrope", "original_max_position_embeddings": original}
	for _, part := range []string{"long", "short"} {
		factors := []json.Number{}
		for _, v := range r.values("rope_factors_" + part + ".weight") {
			factors = append(factors, decimalOf(v))
		}
		scaling[part+"_factor"] = factors
	}
	r.set("rope_scaling", scaling)
}

// fail notes an error, if it is the first.
func (r *restorer) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *restorer) has(tensor string) bool { _, ok := r.index[tensor]; return ok }

func (r *restorer) hasKey(key string) bool { _, ok := r.src.Metadata().Get(r.prefix + key); return ok }

// set sets a parameter.
func (r *restorer) set(name string, value any) { r.params[name] = value }

// take sets a parameter to the value of a key, if there is one.
func (r *restorer) take(key, name string) {
	v, ok := r.src.Metadata().Get(r.prefix + key)
	if !ok {
		return
	}
	switch v := v.(type) {
	case bool, string:
		r.set(name, v)
	case float32:
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			r.fail(fmt.Errorf("%w: metadata key %s%s is %v", gguf.ErrCorrupt, r.prefix, key, v))
		}
		r.set(name, decimalOf(v))
	default:
		n, err := r.src.Metadata().Uint(r.prefix + key)
		if err != nil {
			r.fail(err)
		}
		r.set(name, n)
	}
}

// list returns the values of a key of commonKeys that has one for each layer.
func (r *restorer) list(key string) []int32 {
	list, ok := r.lists[key]
	if delete(r.lists, key); !ok || uint64(len(list)) != uint64(r.whole("block_count")) {
		r.fail(fmt.Errorf("%w: metadata key %s%s has not a value for each layer", gguf.ErrCorrupt, r.prefix, key))
		return nil
	}
	return list
}

// takeScaling is take for what is said beside how positions are scaled, if they are.
func (r *restorer) takeScaling(key, name string) {
	all := r.params
	defer func() { r.params = all }()
	if scaling, ok := all["rope_scaling"].(map[string]any); ok {
		r.params = scaling
		r.take(key, name)
	}
}

// rename gives a parameter the name that its class has for it.
func (r *restorer) rename(from, to string) {
	if v, ok := r.params[from]; ok {
		delete(r.params, from)
		r.set(to, v)
	}
}

// partial sets which part of each head is rotated: the part of so many elements that
// rope.dimension_count of each of so many heads are.
func (r *restorer) partial(name string, elements, heads int64) {
	rotated := r.whole("rope.dimension_count")
	part := float64(rotated) * float64(heads) / float64(max(1, elements))
	if int64(part*float64(elements)) < rotated*heads { // which is cut off, not rounded
		part = math.Nextafter(part, 1)
	}
	r.set(name, jsonNumber(part, 64))
}

// asPartOf makes all parameters those of the text part of a model for images, of a type.
func (r *restorer) asPartOf(model string) {
	text := r.params
	r.params = map[string]any{
		"architectures": text["architectures"], "model_type": model, "tie_word_embeddings": text["tie_word_embeddings"], "text_config": text,
	}
	delete(text, "architectures")
	r.usual, r.saved = "model.", "model.language_model."
}

// layers returns a number of layers, which is not more than there are.
func (r *restorer) layers(key string) int64 {
	n, all := r.whole(key), r.whole("block_count")
	if n > all || n > 1<<16 {
		r.fail(fmt.Errorf("%w: metadata key %s%s is %d, of %d layers", gguf.ErrCorrupt, r.prefix, key, n, all))
		return 0
	}
	return n
}

// values returns those of a vector that is F32.
func (r *restorer) values(tensor string) []float32 {
	index, ok := r.index[tensor]
	if !ok {
		r.fail(fmt.Errorf("%w: tensor %q is missing", gguf.ErrCorrupt, tensor))
		return nil
	}
	info := r.src.Tensors()[index]
	if info.Type != gguf.F32 || len(info.Shape) != 1 || info.Shape[0] < 1 || info.Shape[0] > 1<<16 {
		r.fail(fmt.Errorf("%w: tensor %q is of type %s and shape %v", gguf.ErrCorrupt, info.Name, info.Type, info.Shape))
		return nil
	}
	data, values := make([]byte, info.Bytes()), make([]float32, info.Shape[0])
	if err := r.src.ReadRows(data, index, 0, 1); err != nil {
		r.fail(err)
		return nil
	}
	weights.F32.Float32(values, data)
	return values
}

// decimalOf returns the shortest number that is v as a float32, with what tells it from a
// whole one.
func decimalOf(v float32) json.Number { return jsonNumber(float64(v), 32) }

// rounded returns the number of the fewest digits near v that is as good: parameters that
// others were computed of are round.
func rounded(v float64, isAsGood func(v float64) bool) json.Number {
	for digits := range 9 {
		shift := math.Pow10(digits)
		if short := math.Round(v*shift) / shift; isAsGood(short) {
			return jsonNumber(short, 64)
		}
	}
	return jsonNumber(v, 64)
}

func jsonNumber(v float64, bits int) json.Number {
	text := strconv.FormatFloat(v, 'g', -1, bits)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return json.Number(text)
}

// whole returns the value of a key, 0 if there is none.
func (r *restorer) whole(key string) int64 {
	n, err := r.src.Metadata().Uint(r.prefix + key)
	if err != nil && !errors.Is(err, gguf.ErrNoKey) {
		r.fail(err)
	}
	return int64(min(n, math.MaxInt64))
}

// number returns the value of a key that must be there.
func (r *restorer) number(key string) float64 {
	v, err := r.src.Metadata().Float(r.prefix + key)
	if err != nil {
		r.fail(err)
	}
	return v
}

// tensors adds those of the checkpoint. Architectures are asked twice: first what they
// would make of a checkpoint that has all that it may have, then, knowing what each tensor
// is for, of one that has what the model has.
func (r *restorer) tensors(to *Restored) error {
	of := make(map[string]bool) // of sources, whether all that is made of them is in the model
	p := to.imagine(r.most(), func(string) bool { return true })
	if p.err != nil {
		return p.err
	}
	for _, t := range p.planned {
		for src := range sources(t.Rows) {
			known, ok := of[src.name]
			of[src.name] = r.has(t.Name) && (known || !ok)
		}
	}
	p = to.imagine(r.most(), func(name string) bool { return of[name] })
	if p.err != nil {
		return p.err
	}
	made := make(map[string]planned, len(p.planned))
	last := make(map[int]string) // of tensors that are written together, the name that they wait for
	for _, t := range p.planned {
		if !r.has(t.Name) {
			if position(t.Rows) < 0 { // converting makes it of nothing
				continue
			}
			return fmt.Errorf("%w: tensor %q is missing", gguf.ErrCorrupt, t.Name)
		}
		made[t.Name] = t
		for src := range sources(t.Rows) {
			last[t.group] = max(last[t.group], src.name)
		}
	}
	restored := make(map[string]weights.Rows)
	inverse := weights.NewInverse(func(operand, is weights.Rows) bool {
		src, ok := operand.(*source)
		if ok {
			restored[src.name] = is
		}
		return ok
	})
	for i, info := range r.src.Tensors() {
		t, ok := made[info.Name]
		switch {
		case ok:
		case r.isScale(info.Name, made):
			continue
		default:
			return fmt.Errorf("%w: %s of %d layers has no tensor for %.200q", gguf.ErrUnsupported, to.Class, to.Layers, info.Name)
		}
		shape := slices.Clone(info.Shape)
		slices.Reverse(shape)
		if !slices.Equal(dimensions(shape), dimensions(t.Shape())) {
			return fmt.Errorf("%w: tensor %.200q has shape %v, the metadata imply %v", gguf.ErrCorrupt, info.Name, shape, t.Shape())
		}
		is, err := r.tensor(i, t.Shape(), made)
		if err != nil {
			return err
		}
		if err := inverse.Add(t.Rows, is); err != nil {
			return fmt.Errorf("tensor %.200q: %w", info.Name, err)
		}
	}
	files := r.inFiles(made, last)
	for name, is := range r.tensorsOfKeys {
		restored[name] = is
		files[0] = append(files[0], name)
		slices.Sort(files[0])
	}
	for i, names := range files {
		for j, name := range names {
			is := restored[name]
			if is == nil {
				return fmt.Errorf("%w: tensor %q, of which the model has a part", gguf.ErrUnsupported, name)
			}
			if rest, ok := strings.CutPrefix(name, r.usual); ok {
				name = r.saved + rest
			}
			if i > 0 && j == 0 {
				to.Starts = append(to.Starts, name)
			}
			if err := to.Add(name, is); err != nil {
				return err
			}
		}
	}
	return nil
}

// The ends of the names of what llama.cpp multiplies the products of NVFP4 matrices with,
// and divides their inputs by.
const scaleEnd, inputScaleEnd = ".scale", ".input_scale"

// isScale reports whether a tensor is one of these of a matrix of the model.
func (r *restorer) isScale(name string, made map[string]planned) bool {
	for _, end := range []string{inputScaleEnd, scaleEnd} {
		if matrix, ok := strings.CutSuffix(name, end); ok {
			_, ok = made[matrix+".weight"]
			return ok
		}
	}
	return false
}

// tensor returns a tensor of the model, multiplied by its scale if it has one that is not a
// tensor of the checkpoint, too.
func (r *restorer) tensor(index int, shape []int64, made map[string]planned) (weights.Rows, error) {
	is, err := weights.FromSource(r.src, index, shape)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(r.src.Tensors()[index].Name, ".weight") + scaleEnd
	scale, ok := r.index[name]
	if _, own := made[name]; !ok || own {
		return is, nil
	}
	matrices := int64(1)
	if len(shape) > 2 {
		matrices = shape[0]
	}
	info := r.src.Tensors()[scale]
	if info.Type != gguf.F32 || info.Elements() != matrices || len(info.Shape) != 1 {
		return nil, fmt.Errorf("%w: tensor %.200q is of type %s and shape %v, for %d matrices", gguf.ErrCorrupt, info.Name, info.Type, info.Shape, matrices)
	}
	data, scales := make([]byte, info.Bytes()), make([]float32, matrices)
	if err := r.src.ReadRows(data, scale, 0, 1); err != nil {
		return nil, err
	}
	weights.F32.Float32(scales, data)
	rows, length := weights.Count(shape)
	return weights.Compute(shape, weights.F32, 1, func(dst []float32, first, n int64) error {
		if err := is.ReadRows(dst, first, n); err != nil {
			return err
		}
		for i := range dst {
			dst[i] *= scales[(first+int64(i)/length)/(rows/matrices)]
		}
		return nil
	}, is), nil
}

// most returns how many tensors a checkpoint of the model can have: for each expert in a
// tensor one, and some biases and norms that the model does without.
func (r *restorer) most() int {
	n := int64(64)
	for _, t := range r.src.Tensors() {
		experts := int64(1)
		if len(t.Shape) > 2 {
			experts = t.Shape[2]
		}
		n += 4 * experts
	}
	return int(n)
}

// imagine returns the plan of a checkpoint that is not there and has at most so many tensors.
func (m *Model) imagine(most int, has func(name string) bool) *plan {
	p := &plan{sources: make(map[string]*source), imagined: has, most: most}
	m.family.tensors(mapper{plan: p})
	return p
}

// dimensions returns those from the first that is not 1 on.
func dimensions(shape []int64) []int64 {
	for len(shape) > 1 && shape[0] == 1 {
		shape = shape[1:]
	}
	return shape
}

// The order of tensors is worth so many files, and one more for so many weights: real
// checkpoints have fewer. What quantizes files sorts the tensors in its own way.
const (
	someFiles   = 8
	fileWeights = 1 << 29
)

// inFiles returns the names of the checkpoint's tensors, in files. Converting takes
// those of a file in the order of their names, so that where the model has another order
// another file begins: the files of the checkpoint that it was made of, if it was.
func (r *restorer) inFiles(made map[string]planned, last map[int]string) [][]string {
	files := make([][]string, 1)
	listed := make(map[string]bool)
	before := ""
	for _, info := range r.src.Tensors() {
		t := made[info.Name]
		key := last[t.group]
		if key == "" {
			continue
		}
		if key < before {
			files = append(files, nil)
		}
		before = key
		for src := range sources(t.Rows) {
			if !listed[src.name] {
				listed[src.name] = true
				files[len(files)-1] = append(files[len(files)-1], src.name)
			}
		}
	}
	if int64(len(files)) > someFiles+gguf.Elements(r.src)/fileWeights {
		files = [][]string{slices.Concat(files...)}
	}
	for _, names := range files {
		slices.Sort(names)
	}
	return slices.DeleteFunc(files, func(names []string) bool { return len(names) == 0 })
}
