package graph

import (
	"math"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Activation is what a network does to its gate, or, without one, to up.
type Activation int

// Activations.
const (
	SiLU     Activation = iota // x / (1 + e⁻ˣ)
	GELUTanh                   // x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))) (arXiv 1606.08415)
	GELU                       // x/2 · (1 + erf(x/√2))
	ReLU2                      // max(x, 0)²
	XIELU                      // see XIELUNumbers
	// SwiGLUOAI is gpt-oss's, of both its factors: with the gate x limited to 7 and up y to within
	// ±7, x / (1 + e^-1.702x) · (y + 1).
	SwiGLUOAI
)

// XIELUNumbers are those of the xIELU of a network (arXiv 2411.13010): AlphaP·x² + Beta·x above 0, else
// AlphaN·(e^min(x, Epsilon) - 1 - x) + Beta·x.
type XIELUNumbers struct {
	AlphaP  float64 `key:"xielu.alpha_p"`
	AlphaN  float64 `key:"xielu.alpha_n"`
	Beta    float64 `key:"xielu.beta"`
	Epsilon float64 `key:"xielu.eps"`
}

// function returns what sets gate[i] to the activation of gate[i] times up[i]. It overwrites up.
func (a Activation) function(x XIELUNumbers) func(gate, up []float32) {
	switch a {
	case GELUTanh:
		return kernel.GELUMul
	case GELU:
		return each(func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) })
	case ReLU2:
		return func(gate, up []float32) {
			for i, v := range gate {
				v = max(v, 0)
				gate[i] = v * v * up[i]
			}
		}
	case XIELU:
		return each(x.of)
	case SwiGLUOAI:
		return swiGLUOAI
	}
	return kernel.SiLUMul
}

// each applies f to the gate.
func each(f func(float64) float64) func(gate, up []float32) {
	return func(gate, up []float32) {
		for i, v := range gate {
			gate[i] = float32(f(float64(v))) * up[i]
		}
	}
}

// sparse returns an activation of the gates of tokens, n each, that are above a cutoff. See Network.
func sparse(activate func(gate, up []float32), n int, cutoff float32) func(gate, up []float32) {
	return func(gate, up []float32) {
		for at := 0; at < len(gate); at += n {
			part := gate[at:][:n]
			var mean float64
			for _, v := range part {
				mean += float64(v)
			}
			mean /= float64(n)
			low := float32(mean + float64(float64(cutoff)*math.Sqrt(meanSquare(part, mean))))
			for i, v := range part {
				part[i] = max(v-low, 0)
			}
		}
		activate(gate, up)
	}
}

// of computes it. Nothing is fused, so that all machines give the same bits.
func (n XIELUNumbers) of(x float64) float64 {
	if x > 0 {
		return float64(n.AlphaP*x*x) + float64(n.Beta*x)
	}
	return float64(n.AlphaN*(math.Expm1(min(x, n.Epsilon))-x)) + float64(n.Beta*x)
}

func swiGLUOAI(gate, up []float32) {
	const alpha, limit = 1.702, 7
	for i, x := range gate {
		gate[i] = alpha * min(x, limit)
		up[i] = (min(max(up[i], -limit), limit) + 1) / alpha
	}
	kernel.SiLUMul(gate, up)
}
