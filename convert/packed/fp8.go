package packed

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// FP8 has numbers of 8 bits and a scale for each block of a matrix, 128 by 128 as a
// rule, as DeepSeek and Qwen publish their models and transformers writes them
// (quant_method fp8 with weight_block_size). The scales of NAME are in
// NAME_scale_inv; in spite of what it is called, they are multiplied by. Blocks at
// the edges of a matrix are cut off.
var FP8 = Format{Method: fp8, unpack: unpackFP8}

const (
	fp8         = "fp8"
	scaleSuffix = "_scale_inv"
)

func unpackFP8(config jsontext.Value, set weights.Set) (weights.Set, error) {
	var c struct {
		Block []int64 `json:"weight_block_size"`
	}
	if err := pyjson.Unmarshal(config, &c); err != nil {
		return nil, fmt.Errorf("%w: quantization_config: %w", gguf.ErrCorrupt, err)
	}
	if c.Block == nil {
		return nil, unsupported(fp8, " without weight_block_size")
	}
	if len(c.Block) != 2 || c.Block[0] < 1 || c.Block[1] < 1 {
		return nil, fmt.Errorf("%w: quantization_config: weight_block_size %v", gguf.ErrCorrupt, c.Block)
	}
	var list weights.List
	for _, name := range set.Names() {
		r := set.Get(name)
		if matrix, ok := strings.CutSuffix(name, scaleSuffix); ok {
			if codes := set.Get(matrix); codes == nil || !isFP8(codes) {
				return nil, fmt.Errorf("%w: tensor %.200q has the scales of %.200q, which is not packed", gguf.ErrCorrupt, name, matrix)
			}
			continue
		}
		if isFP8(r) {
			scales := set.Get(name + scaleSuffix)
			if scales == nil {
				return nil, fmt.Errorf("%w: tensor %.200q is packed, and %.200q is missing", gguf.ErrCorrupt, name, name+scaleSuffix)
			}
			var err error
			if r, err = scaled(name, r, scales, c.Block[0], c.Block[1]); err != nil {
				return nil, err
			}
		}
		if err := list.Add(name, r); err != nil {
			return nil, err
		}
	}
	return &list, nil
}

func isFP8(r weights.Rows) bool { return r.Dtype() == weights.F8E4M3 || r.Dtype() == weights.F8E5M2 }

// scaled returns matrices, called name, of which each block of height x width numbers
// has a scale.
func scaled(name string, r, scales weights.Rows, height, width int64) (weights.Rows, error) {
	shape := r.Shape()
	if len(shape) < 2 {
		return nil, fmt.Errorf("%w: tensor %.200q is packed, but no matrix: its shape is %v", gguf.ErrCorrupt, name, shape)
	}
	grid := slices.Clone(shape)
	last := len(shape) - 1
	rows, length := shape[last-1], shape[last]
	across, down := (length+width-1)/width, (rows+height-1)/height
	grid[last-1], grid[last] = down, across
	if !slices.Equal(scales.Shape(), grid) || !scales.Dtype().Float() {
		return nil, fmt.Errorf("%w: tensor %.200q of shape %v has scales of shape %v and type %s; with blocks of %d x %d they are %v",
			gguf.ErrCorrupt, name, shape, scales.Shape(), scales.Dtype(), height, width, grid)
	}
	return weights.Compute(shape, weights.F32, height, func(dst []float32, first, n int64) error {
		if err := r.ReadRows(dst, first, n); err != nil {
			return err
		}
		line := make([]float32, across)
		for i := range n {
			row := first + i
			matrix, y := row/rows, row%rows
			if i == 0 || y%height == 0 {
				if err := scales.ReadRows(line, matrix*down+y/height, 1); err != nil {
					return err
				}
			}
			values := dst[i*length:][:length]
			for b, scale := range line {
				block := values[int64(b)*width : min(int64(b+1)*width, length)]
				for j := range block {
					block[j] *= scale
				}
			}
			if j := slices.IndexFunc(values, isNotFinite); j >= 0 {
				return fmt.Errorf("%w: tensor %q: element %d of row %d is %v", gguf.ErrCorrupt, name, j, row, values[j])
			}
		}
		return nil
	}, r, scales), nil
}

func isNotFinite(v float32) bool { return math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) }
