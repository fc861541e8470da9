package allocate

import "github.com/ggufkit/ggufkit/gguf"

// WarmUp is warmUp.
const WarmUp = warmUp

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
