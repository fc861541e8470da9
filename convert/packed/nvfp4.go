package packed

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// NVFP4 has floats of 4 bits, a scale for each group of 16 elements of a row, and one for
// the whole matrix, as TensorRT Model Optimizer (ModelOpt) and compressed-tensors write
// them (nvfp4-pack-quantized). Of a matrix of n rows of k elements:
//
//	ModelOpt        compressed-tensors
//	weight          weight_packed        U8 [n, k/2]       codes
//	weight_scale    weight_scale         F8_E4M3 [n, k/16]
//	weight_scale_2  weight_global_scale  F32               ModelOpt's is multiplied by, the other divides
//	input_scale     input_global_scale   F32               of activations, which are not rounded here
//
// An element is code * scale, times or over the scale of the matrix, rounded once.
var NVFP4 = Format{Name: "NVFP4", Methods: []string{"modelopt", "modelopt_fp4", "compressed-tensors"}, unpack: unpackNVFP4}

func unpackNVFP4(c *checkpoint, name string) (string, weights.Rows, error) {
	matrix, m, err := unpackFP4(c, name, weights.F8E4M3)
	if m == nil || err != nil {
		return "", nil, err
	}
	global, input := matrix+"_scale_2", "input_scale"
	if matrix != name {
		global, input, m.divide = matrix+"_global_scale", "input_global_scale", true
	}
	r, err := c.part(name, global)
	if err != nil {
		return "", nil, err
	}
	if !m.fitMatrices(r) {
		return "", nil, fmt.Errorf("%w: tensor %.200q is of type %s and shape %v; it has the scales of %d matrices", gguf.ErrCorrupt, global, r.Dtype(), r.Shape(), m.matrices())
	}
	m.global = m.matrixScales(global, r)
	input = strings.TrimSuffix(matrix, "weight") + input
	if r := c.Get(input); r != nil && m.fitMatrices(r) {
		m.inputs = m.matrixScales(input, r)
	}
	return matrix, m.unpacked(), nil
}
