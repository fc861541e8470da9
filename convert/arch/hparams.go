package arch

import (
	"fmt"
	"maps"
	"math"
	"strings"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/gguf"
)

// hparams are the parameters of a model by their names in config.json, as
// convert_hf_to_gguf.py sees them: as transformers' class for the model_type completes
// them, or as they are in the file if that class knows nothing of them or refuses one.
type hparams map[string]any

// readHParams reads config.json. Those of the text part of a model for images or sound
// replace those of the whole.
func readHParams(data []byte) (hparams, error) {
	var file map[string]any
	if err := pyjson.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%w: %w", gguf.ErrCorrupt, err)
	}
	if file == nil {
		return nil, fmt.Errorf("%w: null is not an object", gguf.ErrCorrupt)
	}
	file, _ = specialFloats(file).(map[string]any)
	for _, name := range []string{"llm_config", "lm_config", "language_config"} { // other names of the text part
		if part, ok := file[name]; ok {
			file["text_config"] = part
		}
	}
	part, isWrapper := file["text_config"].(map[string]any)
	if !isWrapper {
		return complete(file), nil
	}
	if name := typeOfPart(file["model_type"]); name != "" {
		if part["model_type"] == nil {
			part["model_type"] = name
		}
		part = complete(part)
	}
	h := maps.Clone(file)
	maps.Copy(h, part)
	if h["architectures"] == nil {
		h["architectures"] = file["architectures"]
	}
	return h, nil
}

// specialFloats returns v with the numbers that transformers 5 writes as
// {"__float__": "Infinity"}.
func specialFloats(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if text, ok := v["__float__"].(string); ok && len(v) == 1 {
			switch text {
			case "NaN":
				return math.NaN()
			case "Infinity":
				return math.Inf(1)
			case "-Infinity":
				return math.Inf(-1)
			}
		}
		for name := range v {
			v[name] = specialFloats(v[name])
		}
	case []any:
		for i := range v {
			v[i] = specialFloats(v[i])
		}
	}
	return v
}

// class returns the name of the architecture.
func (h hparams) class() (string, error) {
	if list, ok := h["architectures"].([]any); ok && len(list) > 0 {
		if name, ok := list[0].(string); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("%w: no architectures", gguf.ErrUnsupported)
}

// find returns the first of the parameters that is there, and its name. It may be nil.
func (h hparams) find(names ...string) (name string, value any) {
	for _, name := range names {
		if value, ok := h[name]; ok {
			return name, value
		}
	}
	return names[0], nil
}

func (h hparams) has(name string) bool {
	_, ok := h[name]
	return ok
}

// setDefaults sets what is not there, or null.
func (h hparams) setDefaults(defaults hparams) {
	for name, v := range defaults {
		if h[name] == nil {
			h[name] = v
		}
	}
}

// reader reads parameters of their types and keeps the first error.
type reader struct {
	hparams
	class string // for errors
	can   feature
	err   error
}

// feature is a set of what only some architectures have a place for in their metadata.
type feature int

const (
	layerNorms       feature = 1 << iota // instead of RMS norms
	partialRotary                        // of part of each head
	longRope                             // tensors of factors for short and for long texts
	proportionalRope                     // of part of each head, with the frequencies of the whole
	sigmoidRouter                        // weights of experts by the sigmoid instead of the softmax
	latentAttention                      // heads that are not of hidden_size / num_attention_heads elements
	expertsOnly                          // no layer without experts, which would have a width of its own
)

func (r *reader) fail(err error, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{err}, args...)...)
	}
}

// whole returns a whole number between low and high, nil if there is none.
func (r *reader) whole(low, high int64, names ...string) *int64 {
	name, v := r.find(names...)
	if f, ok := v.(float64); ok && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		v = int64(f)
	}
	switch v := v.(type) {
	case nil:
		return nil
	case int64:
		if v < low || v > high {
			r.fail(gguf.ErrCorrupt, "%s is %d, it must be between %d and %d", name, v, low, high)
		}
		return &v
	default:
		r.fail(gguf.ErrCorrupt, "%s is %s, a whole number is needed", name, show(v))
		return nil
	}
}

// needed is whole for what no model is without.
func (r *reader) needed(low, high int64, names ...string) int64 {
	v := r.whole(low, high, names...)
	if v == nil {
		r.fail(gguf.ErrCorrupt, "%s is missing", strings.Join(names, " or "))
		return 0
	}
	return *v
}

// number returns a number, nil if there is none.
func (r *reader) number(names ...string) *float64 {
	name, v := r.find(names...)
	switch v := v.(type) {
	case nil:
		return nil
	case float64:
		return &v
	case int64:
		return new(float64(v))
	default:
		r.fail(gguf.ErrCorrupt, "%s is %s, a number is needed", name, show(v))
		return nil
	}
}

// numbers returns a list of numbers, nil if there is none.
func (r *reader) numbers(name string) []float64 {
	list, ok := r.hparams[name].([]any)
	if v := r.hparams[name]; !ok && v != nil {
		r.fail(gguf.ErrCorrupt, "%s is %s, a list is needed", name, show(v))
	}
	var values []float64
	for _, v := range list {
		item := reader{hparams: hparams{name: v}}
		n := item.number(name)
		if n == nil {
			r.fail(gguf.ErrCorrupt, "%s has %s, a number is needed", name, show(v))
			return nil
		}
		values = append(values, *n)
	}
	return values
}

// texts returns a list of texts, nil if there is none.
func (r *reader) texts(name string) []string {
	list, ok := r.hparams[name].([]any)
	if v := r.hparams[name]; !ok && v != nil {
		r.fail(gguf.ErrCorrupt, "%s is %s, a list is needed", name, show(v))
	}
	var values []string
	for _, v := range list {
		text, ok := v.(string)
		if !ok {
			r.fail(gguf.ErrCorrupt, "%s has %s, a text is needed", name, show(v))
			return nil
		}
		values = append(values, text)
	}
	return values
}

// positive is number for what must be above 0, and finite, as a float32.
func (r *reader) positive(names ...string) *float64 {
	v := r.number(names...)
	if v != nil && (!(float32(*v) > 0) || float32(*v) > math.MaxFloat32) {
		name, _ := r.find(names...)
		r.fail(gguf.ErrCorrupt, "%s is %v, it must be above 0", name, *v)
	}
	return v
}

// flag returns what is true or false, nil if there is none.
func (r *reader) flag(name string) *bool {
	switch v := r.hparams[name].(type) {
	case nil:
		return nil
	case bool:
		return &v
	default:
		r.fail(gguf.ErrCorrupt, "%s is %s, true or false is needed", name, show(v))
		return nil
	}
}

// text returns a text, empty if there is none.
func (r *reader) text(names ...string) (name, text string) {
	name, v := r.find(names...)
	switch v := v.(type) {
	case nil:
	case string:
		text = v
	default:
		r.fail(gguf.ErrCorrupt, "%s is %s, a text is needed", name, show(v))
	}
	return name, text
}

// object returns an object, nil if there is none or something that is false in Python.
func (r *reader) object(name string) hparams {
	v := r.hparams[name]
	object, ok := v.(map[string]any)
	if !ok && isTrue(v) {
		r.fail(gguf.ErrCorrupt, "%s is %s, an object is needed", name, show(v))
	}
	return object
}

// show writes a value into an error.
func show(v any) string {
	text := strings.ToValidUTF8(fmt.Sprintf("%#v", v), "")
	switch v := v.(type) {
	case map[string]any:
		return "an object"
	case []any:
		return "a list"
	case float64:
		text = fmt.Sprint(v)
	}
	if len(text) > 60 {
		text = text[:60] + "..."
	}
	return text
}
