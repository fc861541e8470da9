package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// gemma is the first Gemma.
func gemma(k *keys) graph.Spec {
	s := k.decoder(func(i int) graph.Layer { return k.preNorm(k.neox(i), k.geGLU(i)) })
	s.EmbeddingScale = float32(math.Sqrt(float64(k.width)))
	return s
}

// geGLU returns a network that is gated by GELU.
func (k *keys) geGLU(layer int) graph.Network {
	n := k.network(layer)
	n.Activation = graph.GELUTanh
	return n
}
