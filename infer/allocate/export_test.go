package allocate

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

// WarmUp is warmUp.
const WarmUp = warmUp

// NewVariant is newVariant.
func NewVariant(base gguf.Source, importance *imatrix.Matrix, changed []int, t gguf.Type) (gguf.Source, error) {
	types := make(map[int]gguf.Type)
	for _, i := range changed {
		types[i] = t
	}
	return newVariant(base, importance, types)
}

// Cost returns what a tensor costs as type t.
func (s *Sensitivity) Cost(tensor string, t gguf.Type) float64 {
	for _, p := range s.parts {
		for o, typ := range p.types {
			if s.base.Tensors()[p.tensor].Name == tensor && typ == t {
				return p.costs[o]
			}
		}
	}
	panic("there is no " + tensor + " as " + t.String())
}
