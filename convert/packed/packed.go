// Package packed unpacks checkpoints whose weights are quantized: GPTQ, AWQ, FP8 and
// others.
//
// A [Format] is one file, named after it. It replaces the tensors that a packed
// matrix is made of, such as codes and scales, by one that is computed from them
// when it is read. Which matrices are packed, and how, is told by the tensors that are
// there, matrix by matrix; what is configured ([Config]) is only checked against them,
// and says what they cannot. Lists of exceptions are not looked at: every tool reads
// them in its own way.
//
// Adding a format is one file and a line in [Formats]. Checkpoints of others are
// refused by name.
//
//	config, err := packed.ReadConfig(dir, configJSON)
//	if err != nil {
//		return err
//	}
//	set, err = packed.Unpack(set, config)
package packed

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Format is a way to pack weights.
type Format struct {
	// Name is what it is called.
	Name string
	// Methods are the names that tools have for it in the configuration, quant_method.
	Methods []string
	// unpack looks at one tensor. If it is the one that a packed matrix of this format
	// is recognised by, it returns the name of the matrix and the matrix, and drops
	// what else that is made of. Otherwise it returns no matrix. In c.layout it says what
	// there is to tell beside the name of the format, such as "4-bit g128". It reads little or
	// nothing. Errors wrap gguf.ErrCorrupt or gguf.ErrUnsupported, and name the tensor.
	unpack func(c *checkpoint, name string) (matrix string, r weights.Rows, err error)
}

// Formats lists what can be unpacked. The first that recognises a tensor has it, and those
// behind it do not see what it is made of.
var Formats = []*Format{&TorchAO, &NVFP4, &MXFP4, &FP8, &CompressedTensors, &GPTQ, &AWQ, &EXL2, &EXL3, &BitsAndBytes, &LLMInt8, &HQQ}

// others are formats that are not read, by the ends of the names of tensors that only
// they have. Checkpoints often come without a configuration that would name them.
var others = []struct{ end, name string }{
	{".codebooks", "AQLM"}, {".Qidxs", "QuIP#"}, {".centroids", "VPTQ"}, {".dense_weights", "SpQR"}, {".weight_scales", "EETQ"}, {".weight._data", "Quanto"},
	{".B", "Marlin"},
	{".weight_packed", "compressed-tensors"}, {".bitmask", "compressed-tensors (sparse)"},
}

// activations are the ends of the names of what activations, or keys and values in the
// cache, are quantized with.
var activations = []string{
	"activation_scale", ".input_scale", ".input_scale_ub", ".input_zero_point", ".output_scale", ".output_zero_point", ".qscale_act",
	".input_global_scale", ".output_global_scale", ".q_scale", ".k_scale", ".v_scale", ".kv_scale", ".k_zero_point", ".v_zero_point", ".prob_scale",
}

// checkpoint is what is unpacked.
type checkpoint struct {
	weights.Set
	*Config
	settings map[reflect.Type]any
	replaced map[string]tensor // what becomes of tensors, by their names
	packings map[string]gguf.Packing
	// Of the matrix that is unpacked: what there is to say of its format, and the bytes of
	// the tensors that were dropped.
	layout string
	bytes  int64
}

// tensor is one with its name; none if it has no Rows.
type tensor struct {
	name string
	weights.Rows
}

// Set is a checkpoint whose packed matrices are unpacked as they are read.
type Set struct {
	weights.List
	packings map[string]gguf.Packing
}

// Packing returns how a tensor is packed; ok is false if it is not.
func (s *Set) Packing(name string) (p gguf.Packing, ok bool) {
	p, ok = s.packings[name]
	return p, ok
}

// Unpack returns a [Set] with what is packed replaced by what it stands for, or the same set if
// nothing is. config is nil if there is none. The error wraps gguf.ErrUnsupported if the format is not known
// and gguf.ErrCorrupt if tensors do not fit together, and so does that of reading codes
// that stand for no number.
func Unpack(set weights.Set, config *Config) (weights.Set, error) {
	if config == nil {
		config = new(Config)
	}
	if known := func(f *Format) bool { return slices.Contains(f.Methods, config.Method) }; config.Method != "" && !slices.ContainsFunc(Formats, known) {
		return nil, config.unsupported(fmt.Sprintf("method %.100q", config.Method))
	}
	c := &checkpoint{
		Set: set, Config: config, settings: make(map[reflect.Type]any), replaced: make(map[string]tensor), packings: make(map[string]gguf.Packing),
	}
	for _, f := range Formats {
		for _, name := range set.Names() {
			if err := c.unpack(f, name); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range set.Names() {
		if _, gone := c.replaced[name]; gone {
			continue
		}
		if err := c.leftOver(name); err != nil {
			return nil, err
		}
	}
	if len(c.replaced) == 0 {
		return set, nil
	}
	unpacked := &Set{packings: c.packings}
	for _, name := range set.Names() {
		t, ok := c.replaced[name]
		if !ok {
			t = tensor{name, set.Get(name)}
		}
		if t.Rows == nil {
			continue
		}
		if err := unpacked.Add(t.name, t.Rows); err != nil {
			return nil, err
		}
	}
	return unpacked, nil
}

// unpack unpacks the matrix of a format that is recognised by a tensor, if it is such a
// one.
func (c *checkpoint) unpack(f *Format, name string) error {
	if _, gone := c.replaced[name]; gone {
		return nil
	}
	c.layout, c.bytes = "", 0
	matrix, r, err := f.unpack(c, name)
	if err != nil || r == nil {
		return err
	}
	if c.Method != "" && !slices.Contains(f.Methods, c.Method) {
		return fmt.Errorf("%w: tensor %.200q is one of %s, %s says %.100q", gguf.ErrCorrupt, name, f.Name, c.File, c.Method)
	}
	c.packings[matrix] = gguf.Packing{Format: f.Name, Layout: c.layout, Elements: count(r), Bytes: c.bytes + weights.Bytes(c.Get(name))}
	c.replaced[name] = tensor{matrix, r}
	return nil
}

// leftOver refuses a tensor that is of no format that is read, and drops what only a
// quantized computation needs.
func (c *checkpoint) leftOver(name string) error {
	has := func(end string) bool { return strings.HasSuffix(name, end) }
	for _, o := range others {
		if has(o.end) {
			return c.unsupported(fmt.Sprintf("tensor %.200q is one of %s", name, o.name))
		}
	}
	switch {
	case (c.Method != "" || len(c.packings) > 0) && slices.ContainsFunc(activations, has):
		c.drop(name)
	case slices.ContainsFunc([]string{".weight_scale", "_scale_inv", ".qscale_weight"}, has):
		return fmt.Errorf("%w: tensor %.200q has the scales of a matrix that is not there, or is not packed", gguf.ErrCorrupt, name)
	case has(".weight") && !c.Get(name).Dtype().Float():
		return c.unsupported(fmt.Sprintf("tensor %.200q is of type %s", name, c.Get(name).Dtype()))
	}
	return nil
}

// part returns a tensor that a packed matrix, recognised by another one, cannot do
// without, and drops it from the set.
func (c *checkpoint) part(of, name string) (weights.Rows, error) {
	r := c.Get(name)
	if r == nil {
		return nil, fmt.Errorf("%w: tensor %.200q is packed, and %.200q is missing", gguf.ErrCorrupt, of, name)
	}
	c.drop(name)
	return r, nil
}

// drop takes tensors out of the set, those of them that are there.
func (c *checkpoint) drop(names ...string) {
	for _, name := range names {
		if _, gone := c.replaced[name]; !gone && c.Get(name) != nil {
			c.bytes += weights.Bytes(c.Get(name))
		}
		c.replaced[name] = tensor{}
	}
}

// settings returns the configuration as a T, whose fields are named in JSON. It is
// read once.
func settings[T any](c *checkpoint) (*T, error) {
	key := reflect.TypeFor[T]()
	if s, ok := c.settings[key]; ok {
		return s.(*T), nil
	}
	s := new(T)
	if err := c.decode(s); err != nil {
		return nil, err
	}
	c.settings[key] = s
	return s, nil
}
