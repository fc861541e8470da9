package packed

import (
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/weights"
)

// MXFP4 has floats of 4 bits and, for each group of 32 elements of a row, a power of two
// (OCP Microscaling Formats Specification), as compressed-tensors (mxfp4-pack-quantized)
// and ModelOpt write them, and OpenAI and DeepSeek (V4) publish experts. Of a matrix of n
// rows of k elements:
//
//	compressed-tensors  ModelOpt      DeepSeek
//	weight_packed       weight        weight    U8, I8 [n, k/2]          codes
//	weight_scale        weight_scale  scale     U8, F8_E8M0 [n, k/32]    exponents of bias 127
//
// and of e experts of gpt-oss, whose NAME is [e, k, n], transposed, as it is where it is not
// packed:
//
//	NAME_blocks  U8 [e, n, k/32, 16]
//	NAME_scales  U8 [e, n, k/32]
var MXFP4 = Format{Name: "MXFP4", Methods: []string{"mxfp4", "compressed-tensors", "modelopt", "fp8"}, unpack: unpackMXFP4}

func unpackMXFP4(c *checkpoint, name string) (string, weights.Rows, error) {
	if matrix, ok := strings.CutSuffix(name, "_blocks"); ok {
		r, err := unpackExperts(c, name, matrix+"_scales")
		return matrix, r, err
	}
	matrix, m, err := unpackFP4(c, name, weights.F8E8M0)
	if m == nil || err != nil {
		return "", nil, err
	}
	return matrix, m.unpacked(), nil
}

// unpackExperts unpacks matrices of gpt-oss. It returns nil if these are none.
func unpackExperts(c *checkpoint, name, scaleName string) (weights.Rows, error) {
	codes := c.Get(name)
	shape := codes.Shape()
	if codes.Dtype() != weights.U8 || len(shape) != 4 {
		return nil, nil
	}
	scales, err := c.part(name, scaleName)
	if err != nil {
		return nil, err
	}
	m, err := newFP4(name, append(slices.Clone(shape[:2]), shape[2]*shape[3]*2), codes, scales, weights.F8E8M0)
	if err != nil {
		return nil, err
	}
	return weights.Transpose(m.unpacked()), nil
}
