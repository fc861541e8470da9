package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
)

// apertus has norms of heads, and an activation with numbers of its own in each layer.
func apertus(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		n := k.ungated(i, graph.XIELU)
		n.XIELU = graph.XIELUNumbers{Beta: k.xIELU(i, "beta"), Epsilon: k.xIELU(i, "eps")}
		n.XIELU.AlphaP = softplus(k.xIELU(i, "alpha_p"))
		n.XIELU.AlphaN = n.XIELU.Beta + softplus(k.xIELU(i, "alpha_n"))
		return k.preNorm(k.normedHeads(i), n)
	})
}

// xIELU returns a number of a layer. Its key has no prefix.
func (k *keys) xIELU(layer int, name string) float64 {
	values, err := gguf.Value[[]float32](k.meta, "xielu."+name)
	switch {
	case err != nil:
		k.fail(err)
	case len(values) < k.layers:
		k.corrupt("xielu.%s has %d values for %d layers", name, len(values), k.layers)
	default:
		return float64(values[layer])
	}
	return 0
}

func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
