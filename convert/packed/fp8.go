package packed

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// FP8 has numbers of 8 bits and a scale for each block of a matrix, 128 by 128 as a
// rule, as DeepSeek and Qwen publish their models and transformers writes them
// (quant_method fp8 with weight_block_size). The scales of NAME are in
// NAME_scale_inv; in spite of what it is called, they are multiplied by. Blocks at
// the edges of a matrix are cut off.
var FP8 = Format{Name: "FP8", Methods: []string{"fp8"}, unpack: unpackFP8}

const scaleSuffix = "_scale_inv"

type fp8Settings struct {
	Block []int64 `json:"weight_block_size"`
}

func unpackFP8(c *checkpoint, name string) (string, weights.Rows, error) {
	if matrix, ok := strings.CutSuffix(name, scaleSuffix); ok {
		if codes := c.Get(matrix); codes == nil || !isFP8(codes) {
			return "", nil, fmt.Errorf("%w: tensor %.200q has the scales of %.200q, which is not packed", gguf.ErrCorrupt, name, matrix)
		}
		return "", nil, nil
	}
	codes := c.Get(name)
	if !isFP8(codes) {
		return "", nil, nil
	}
	s, err := settings[fp8Settings](c)
	if err != nil {
		return "", nil, err
	}
	if s.Block == nil {
		return "", nil, c.unsupported("FP8 without weight_block_size")
	}
	if len(s.Block) != 2 || s.Block[0] < 1 || s.Block[1] < 1 {
		return "", nil, fmt.Errorf("%w: %s: weight_block_size %v", gguf.ErrCorrupt, c.what(), s.Block)
	}
	scales, err := c.part(name, name+scaleSuffix)
	if err != nil {
		return "", nil, err
	}
	c.layout = fmt.Sprintf("%dx%d", s.Block[0], s.Block[1])
	r, err := scaled(name, codes, scales, s.Block[0], s.Block[1])
	return name, r, err
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
