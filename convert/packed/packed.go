// Package packed unpacks checkpoints whose weights are quantized: what config.json
// calls quantization_config.
//
// A [Format] is one file, named after it. It replaces the tensors that a packed
// matrix is made of, such as codes and scales, by one that is computed from them
// when it is read. Which matrices are packed is told by the tensors that are there,
// not by the lists of exceptions in config.json, which every tool reads in its own
// way.
//
// Adding a format is one file and a line in [Formats]. Checkpoints of others are
// refused by name.
//
//	format, err := packed.Find(config)
//	if err != nil {
//		return err
//	}
//	if format != nil {
//		set, err = format.Unpack(set)
//	}
package packed

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Format is a way to pack weights.
type Format struct {
	// Method is its name in config.json, quant_method.
	Method string
	// unpack returns the set with packed tensors replaced. config is
	// quantization_config.
	unpack func(config jsontext.Value, set weights.Set) (weights.Set, error)
}

// Formats lists what can be unpacked.
var Formats = []*Format{&FP8}

// Packing is how one checkpoint is packed.
type Packing struct {
	*Format
	config jsontext.Value
}

// Find returns how a checkpoint is packed by its config.json, nil if it is not. The
// error wraps gguf.ErrUnsupported if that is a way that is not known.
func Find(config []byte) (*Packing, error) {
	var file, text map[string]jsontext.Value
	if err := pyjson.Unmarshal(config, &file); err != nil {
		return nil, fmt.Errorf("%w: %w", gguf.ErrCorrupt, err)
	}
	if part := file["text_config"]; part.Kind() == '{' { // of a model for images or sound
		if err := pyjson.Unmarshal(part, &text); err != nil {
			return nil, fmt.Errorf("%w: text_config: %w", gguf.ErrCorrupt, err)
		}
	}
	value := file["quantization_config"]
	if inner, ok := text["quantization_config"]; ok {
		value = inner
	}
	if value == nil || value.Kind() == 'n' {
		return nil, nil
	}
	var method struct {
		Name string `json:"quant_method"`
	}
	if err := pyjson.Unmarshal(value, &method); err != nil {
		return nil, fmt.Errorf("%w: quantization_config: %w", gguf.ErrCorrupt, err)
	}
	for _, f := range Formats {
		if f.Method == method.Name {
			return &Packing{f, value}, nil
		}
	}
	return nil, unsupported(method.Name)
}

// unsupported returns an error that names the method, and what of it is not known.
func unsupported(method string, details ...any) error {
	return fmt.Errorf("%w: the checkpoint is quantized (quantization_config, method %.100q%s); use the original one", gguf.ErrUnsupported, method,
		fmt.Sprint(details...))
}

// Unpack returns the set with what is packed replaced by what it stands for. Nothing
// is read before rows are. The error wraps gguf.ErrCorrupt if tensors do not fit
// together, and so does that of reading codes that stand for no number.
func (p *Packing) Unpack(set weights.Set) (weights.Set, error) { return p.unpack(p.config, set) }
