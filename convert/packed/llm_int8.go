package packed

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// LLMInt8 has codes of 8 bits and a scale for each row, as transformers writes them with
// bitsandbytes (load_in_8bit). Of a matrix of n rows of k elements:
//
//	MODULE.weight         I8 [n, k]
//	MODULE.SCB            F32 [n]; MODULE.weight_scb in checkpoints of GPTQModel
//	MODULE.weight_format  U8, 0: others are laid out in tiles, for some GPUs
//
// An element is code * SCB * (1/127), with all three in float32.
var LLMInt8 = Format{Name: "LLM.int8", Methods: []string{"bitsandbytes"}, unpack: unpackLLMInt8}

func unpackLLMInt8(c *checkpoint, name string) (string, weights.Rows, error) {
	const suffix = ".weight"
	for _, end := range []string{".SCB", "_scb"} {
		if of, ok := strings.CutSuffix(name, end); ok {
			if codes := c.Get(strings.TrimSuffix(of, suffix) + suffix); codes == nil || codes.Dtype() != weights.I8 {
				return "", nil, fmt.Errorf("%w: tensor %.200q has the scales of a matrix that is not packed", gguf.ErrCorrupt, name)
			}
		}
	}
	module, ok := strings.CutSuffix(name, suffix)
	codes := c.Get(name)
	if !ok || codes.Dtype() != weights.I8 {
		return "", nil, nil
	}
	scb, format := module+".SCB", module+".weight_format"
	if c.Get(name+"_scb") != nil {
		scb = name + "_scb"
	}
	if c.Get(scb) == nil && c.Get(format) == nil {
		return "", nil, nil
	}
	scales, err := c.part(name, scb)
	if err != nil {
		return "", nil, err
	}
	if err := checkRowFormat(c, format); err != nil {
		return "", nil, err
	}
	shape := codes.Shape()
	if len(shape) != 2 || count(scales) != shape[0] || !scales.Dtype().Float() {
		return "", nil, fmt.Errorf("%w: tensor %.200q of shape %v has scales of type %s and shape %v", gguf.ErrCorrupt, name, shape, scales.Dtype(), scales.Shape())
	}
	read := func(dst []float32, first, n int64) error {
		buf := byteScratch.Get().(*[]byte)
		defer byteScratch.Put(buf)
		raw, err := readBytes(buf, codes, first*shape[1], n*shape[1])
		if err != nil {
			return err
		}
		factors, err := readFloats(scales, first, n)
		if err != nil {
			return err
		}
		for i, factor := range factors {
			if isNotFinite(factor * 128) {
				return fmt.Errorf("%w: tensor %.200q: the scale of row %d is %v", gguf.ErrCorrupt, scb, first+int64(i), factor)
			}
			var table [256]float32
			for code := range table {
				table[code] = float32(float32(int8(code))*factor) * (1.0 / 127)
			}
			row := dst[int64(i)*shape[1]:][:shape[1]]
			for k, code := range raw[int64(i)*shape[1]:][:len(row)] {
				row[k] = table[code]
			}
		}
		return nil
	}
	c.layout = "per row"
	return name, weights.Compute(shape, weights.F32, 1, func(dst []float32, first, n int64) error {
		return inBlocks(dst, shape[1], first, n, read)
	}, codes, scales), nil
}

// checkRowFormat drops weight_format, if it is there and says that rows are in their order.
func checkRowFormat(c *checkpoint, name string) error {
	r := c.Get(name)
	if r == nil {
		return nil
	}
	c.drop(name)
	if count(r) != 1 || r.Dtype() != weights.U8 {
		return fmt.Errorf("%w: tensor %.200q of type %s and shape %v", gguf.ErrCorrupt, name, r.Dtype(), r.Shape())
	}
	var format [1]byte
	if err := weights.ReadElements(r, format[:], 0); err != nil {
		return err
	}
	if format[0] != 0 {
		return c.unsupported(fmt.Sprintf("tensor %.200q: LLM.int8 in layout %d, which is for one kind of GPU", name, format[0]))
	}
	return nil
}
