package packed

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// FP8 has numbers of 8 bits, and a scale for a matrix, or for each of its rows, groups of
// a row's elements, or blocks, 128 by 128 as a rule. Those of a matrix NAME.weight are
// multiplied by
//
//	NAME.weight_scale_inv  DeepSeek, Qwen and Mistral, and what transformers writes (quant_method fp8, or mxfp8)
//	NAME.weight_scale      AutoFP8 (fp8), FBGEMM (fbgemm_fp8), ModelOpt, compressed-tensors (float-quantized, naive-quantized, mxfp8-quantized)
//	NAME.scale             DeepSeek V4
//	NAME.qscale_weight     Mistral
//
// and experts that are stacked by NAME_scale_inv or NAME_scale. Only GPTQModel, which says
// so (weight_scale_semantics), divides by weight_scale_inv. Blocks at the edges of a matrix
// are cut off. Scales of integers of 8 bits are exponents of 2.
var FP8 = Format{Name: "FP8", Methods: []string{"fp8", "mxfp8", "fbgemm_fp8", "modelopt", "compressed-tensors"}, unpack: unpackFP8}

type fp8Settings struct {
	Block     []int64 `json:"weight_block_size"`
	Semantics string  `json:"weight_scale_semantics"`
}

func unpackFP8(c *checkpoint, name string) (string, weights.Rows, error) {
	codes := c.Get(name)
	if t := codes.Dtype(); t != weights.F8E4M3 && t != weights.F8E5M2 || strings.HasSuffix(name, "scale") || strings.HasSuffix(name, "_scale_inv") {
		return "", nil, nil
	}
	s, err := settings[fp8Settings](c)
	if err != nil {
		return "", nil, err
	}
	sizes, err := c.blockSizes()
	if err != nil {
		return "", nil, err
	}
	module := strings.TrimSuffix(name, "weight")
	from := name + "_scale_inv"
	for _, other := range []string{name + "_scale", module + "scale", module + "qscale_weight"} {
		if c.Get(from) == nil && c.Get(other) != nil {
			from = other
		}
	}
	scales, err := c.part(name, from)
	if err != nil {
		return "", nil, err
	}
	c.drop(name+"_zero_point", name+"_g_idx")
	m := &scaled{name: name, codes: byteCodes(codes), scales: scales, zeros: c.Get(name + "_zero_point"), index: c.Get(name + "_g_idx"), inverse: s.Semantics == "inverse"}
	r, err := m.unpacked(sizes)
	c.layout = m.layout()
	return name, r, err
}

// blockSizes returns the sizes that blocks are configured to have, which need not be whole
// rows or matrices.
func (c *checkpoint) blockSizes() ([]block, error) {
	var sizes []block
	add := func(size []int64) error {
		if len(size) != 2 || size[0] < 1 || size[1] < 1 {
			return fmt.Errorf("%w: %s: blocks of size %v", gguf.ErrCorrupt, c.what(), size)
		}
		sizes = append(sizes, block{size[0], size[1]})
		return nil
	}
	s, err := settings[fp8Settings](c)
	if err != nil {
		return nil, err
	}
	if s.Block != nil {
		if err := add(s.Block); err != nil {
			return nil, err
		}
	}
	list, err := c.compressedTensors()
	if err != nil {
		return nil, err
	}
	for _, w := range list {
		if w.GroupSize > 0 {
			sizes = append(sizes, block{1, w.GroupSize})
		}
		if w.BlockStructure.Kind() == jsontext.KindBeginArray {
			var size []int64
			if err := pyjson.Unmarshal(w.BlockStructure, &size); err != nil {
				return nil, fmt.Errorf("%w: %s: block_structure: %w", gguf.ErrCorrupt, c.what(), err)
			}
			if err := add(size); err != nil {
				return nil, err
			}
		}
	}
	return sizes, nil
}
