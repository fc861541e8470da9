package packed

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// TorchAO has floats or integers of 8 bits, or integers of less bits with a byte each, and a
// scale for each block of a matrix, as torchao writes its tensors into safetensors files and
// transformers with it. MODULE.weight, or another parameter, consists of
//
//	MODULE._weight_qdata       F8_E4M3, F8_E5M2 or I8, of its shape
//	MODULE._weight_scale       a float for each block
//	MODULE._weight_zero_point  the same, or I8; none if symmetric
//
// An element is (qdata - zero_point) * scale. The metadata of the files has JSON under its
// name, with the class of the tensor and the size of its blocks: Float8Tensor, Int8Tensor and
// IntxUnpackedToInt8Tensor are read. Version 0.14 wrote MODULE.weight:qdata and so on, and
// NAME:_data for tensors that are not packed.
var TorchAO = Format{Name: "torchao", Methods: []string{"torchao"}, unpack: unpackTorchAO}

// torchaoTensor is what the metadata say of a tensor.
type torchaoTensor struct {
	Class string `json:"_type"`
	Data  struct {
		BlockSize   []int64 `json:"block_size"`
		TargetDtype struct {
			Name string `json:"_data"`
		} `json:"target_dtype"`
	} `json:"_data"`
}

func unpackTorchAO(c *checkpoint, name string) (string, weights.Rows, error) {
	if plain, ok := strings.CutSuffix(name, ":_data"); ok {
		c.replaced[name] = tensor{plain, c.Get(name)}
		return "", nil, nil
	}
	matrix, prefix := torchaoNames(name)
	if matrix == "" {
		return "", nil, nil
	}
	t, err := torchaoMetadata(c, matrix)
	if err != nil {
		return "", nil, err
	}
	m := &scaled{name: matrix, codes: byteCodes(c.Get(name)), zeros: c.Get(prefix + "zero_point")}
	if dtype := m.codes.Dtype(); !slices.Contains(torchaoClasses[dtype], t.Class) {
		return "", nil, c.unsupported(fmt.Sprintf("tensor %.200q of type %s is of class %.100q of torchao", matrix, dtype, t.Class))
	}
	if c.Get(prefix+"act_pre_scale") != nil {
		return "", nil, c.unsupported(fmt.Sprintf("tensor %.200q has scales for its activations", matrix))
	}
	if m.scales, err = c.part(name, prefix+"scale"); err != nil {
		return "", nil, err
	}
	c.drop(prefix+"zero_point", prefix+"act_quant_scale", prefix+"act_quant_zero_point")
	var sizes []block
	size := t.Data.BlockSize
	if last := len(size) - 1; last > 0 && slices.Min(size) > 0 {
		sizes = append(sizes, block{size[last-1], size[last]})
	}
	r, err := m.unpacked(sizes)
	if err != nil {
		return "", nil, err
	}
	if len(sizes) > 0 && m.block != sizes[0] {
		return "", nil, m.misfit(fmt.Sprintf("they are of blocks of %v, the metadata say %v", m.block, size))
	}
	kind := t.Data.TargetDtype.Name
	switch {
	case m.codes.Dtype() != weights.I8:
		kind = "float8"
	case kind == "":
		kind = "int8"
	}
	c.layout = kind + " " + m.layout()
	return matrix, r, nil
}

// torchaoNames returns the name of the matrix that a tensor has the codes of, if it is such a
// one, and what the names of all its tensors begin with.
func torchaoNames(name string) (matrix, prefix string) {
	prefix, ok := strings.CutSuffix(name, "qdata")
	if !ok {
		return "", ""
	}
	if matrix, ok := strings.CutSuffix(prefix, ":"); ok {
		return matrix, prefix
	}
	at := strings.LastIndex(prefix, "._")
	if at < 0 || !strings.HasSuffix(prefix[at+2:], "_") {
		return "", ""
	}
	return prefix[:at+1] + prefix[at+2:len(prefix)-1], prefix
}

// torchaoClasses are the classes of tensors that are read, by the type of their codes; "" is
// one that nothing is said of.
var torchaoClasses = map[weights.Dtype][]string{
	weights.F8E4M3: {"Float8Tensor", ""},
	weights.F8E5M2: {"Float8Tensor", ""},
	weights.I8:     {"Int8Tensor", "IntxUnpackedToInt8Tensor", ""},
}

// torchaoMetadata returns what the metadata say of a tensor, nothing if there are none.
func torchaoMetadata(c *checkpoint, name string) (*torchaoTensor, error) {
	t := new(torchaoTensor)
	set, ok := c.Set.(interface{ Metadata(name string) string })
	if !ok {
		return t, nil
	}
	if text := set.Metadata(name); text != "" {
		if err := pyjson.Unmarshal([]byte(text), t); err != nil {
			return nil, fmt.Errorf("%w: metadata of tensor %.200q: %w", gguf.ErrCorrupt, name, err)
		}
	}
	return t, nil
}
