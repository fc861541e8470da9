package infer

import (
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
)

// Compute says what the products of weights and activations are computed with.
type Compute int

const (
	// Exact multiplies in float32, so that what a quantized model loses is the
	// weights' loss alone.
	Exact Compute = iota
	// Int8 multiplies 8-bit integers, as llama.cpp does.
	Int8
)

var computeNames = []string{Exact: "exact", Int8: "int8"}

// String returns the name that ParseCompute takes.
func (c Compute) String() string { return computeNames[c] }

// ParseCompute returns the Compute of a name: "exact" or "int8".
func ParseCompute(name string) (Compute, error) {
	for c, n := range computeNames {
		if n == name {
			return Compute(c), nil
		}
	}
	return 0, fmt.Errorf("there is no compute %q, only %q", name, computeNames)
}

// form returns how products with a weight of type t are computed.
func (c Compute) form(t gguf.Type) form {
	if c == Int8 && t.Quantized() {
		return int8s
	}
	return float32s
}
