package infer

import (
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Compute says what the products of weights and activations are computed with.
type Compute int

const (
	// Exact multiplies in float32, so that what a quantized model loses is the
	// weights' loss alone.
	Exact Compute = iota
	// Int8 is faster and less exact, as llama.cpp computes: activations are
	// rounded to 8 bits for products with quantized weights, and to bfloat16
	// for those with BF16 weights where the CPU multiplies such numbers. See the
	// package documentation.
	Int8
	// Int8All computes with weights of every type as Int8 does with quantized ones. With
	// weights that are not, all it loses is by the rounding of Int8.
	Int8All
)

var computeNames = []string{Exact: "exact", Int8: "int8", Int8All: "int8 of all weights"}

// String returns a name: of Exact and Int8 the one that ParseCompute takes.
func (c Compute) String() string { return computeNames[c] }

// ParseCompute returns the Compute of a name: "exact" or "int8".
func ParseCompute(name string) (Compute, error) {
	names := computeNames[:Int8All]
	for c, n := range names {
		if n == name {
			return Compute(c), nil
		}
	}
	return 0, fmt.Errorf("there is no compute %q, only %q", name, names)
}

// form returns how products with a weight of type t are computed.
func (c Compute) form(t gguf.Type) form {
	switch {
	case c == Int8All, c == Int8 && t.Quantized():
		return int8s
	case c == Int8 && t == gguf.BF16 && kernel.HasBF16():
		return bfloat16s
	default:
		return float32s
	}
}
