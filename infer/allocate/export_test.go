package allocate

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

// WarmUp is warmUp.
const WarmUp = warmUp

// NewVariant is newVariant.
func NewVariant(base gguf.Source, importance *imatrix.Matrix, changed []int, t gguf.Type) (gguf.Source, error) {
	return newVariant(base, importance, changed, t)
}

// Cost returns what a tensor costs as type t, with those of its group.
func (s *Sensitivity) Cost(tensor string, t gguf.Type) float64 {
	for _, g := range s.groups {
		for _, i := range g.tensors {
			for o, typ := range g.types {
				if s.base.Tensors()[i].Name == tensor && typ == t {
					return g.costs[o]
				}
			}
		}
	}
	panic("there is no " + tensor + " as " + t.String())
}
