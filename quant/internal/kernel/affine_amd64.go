//go:build amd64 && !purego

package kernel

import (
	"fmt"

	"github.com/ggufkit/ggufkit/quant/isa"
)

//go:generate go run -C ../../_asm ./affine -pkg kernel -out ../internal/kernel/affine_amd64.s -stubs ../internal/kernel/affine_stubs_amd64.go

// lanes is the widest vector in floats.
const lanes = 16

// FitAffine does fitAffine of package quant for sub-blocks of size values, at most
// MaxSize, which follow each other in q, x and w, and returns for how many.
func FitAffine(q []uint8, x, w, scales, minima []float32, size int, s Affine) int {
	if size > MaxSize {
		panic(fmt.Sprintf("kernel: sub-blocks of %d values, at most %d are possible", size, MaxSize))
	}
	width := 0
	switch tier := isa.Current(); {
	case tier == isa.AVX512 && len(scales) >= lanes:
		width = lanes
	case tier != isa.Generic && len(scales) >= lanes/2:
		width = lanes / 2
	default:
		return 0
	}
	q, x, w, minima = q[:width*size], x[:width*size], w[:width*size], minima[:width]
	if !finite(x) {
		return 0
	}
	absolute := 0
	if s.Absolute {
		absolute = 1
	}
	var work [(3*MaxSize + 9) * lanes]float32
	// A function in a variable would make work escape.
	if width == lanes {
		fitAffineAVX512(&x[0], &w[0], size, &work[0], &scales[0], &minima[0], s.N, s.First, s.Step, s.Steps, absolute)
	} else {
		fitAffineAVX2(&x[0], &w[0], size, &work[0], &scales[0], &minima[0], s.N, s.First, s.Step, s.Steps, absolute)
	}
	for lane := range width {
		q, levels := q[lane*size:][:size], work[lane:]
		for i := range q {
			q[i] = uint8(int32(levels[i*width]))
		}
	}
	return width
}
