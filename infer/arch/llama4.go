package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// What llama.cpp has constants for.
const (
	llama4Chunk       = 8192 // tokens that attention sees one after another, and by which queries grow
	llama4Temperature = 0.1
	llama4Unrotated   = 4   // every fourth layer rotates nothing and sees all
	maverickExperts   = 128 // in the model that has no norms of heads
)

// llama4 is Llama 4: layers whose experts see what the router has weighed, and dense ones between them.
func llama4(k *keys) graph.Spec {
	step := k.count("interleave_moe_layer_step", 0, 0)
	return k.decoder(func(i int) graph.Layer {
		a := k.attention(i)
		if (i+1)%llama4Unrotated == 0 {
			a.Rope = graph.RopeSpec{}
			a.Temperature = graph.Temperature{Scale: llama4Temperature, Length: llama4Chunk, Offset: 1}
		} else {
			a.Window, a.Chunked = llama4Chunk, true
			if k.count("expert_count", 0, 0) != maverickExperts {
				a.QNorm, a.KNorm, a.NormLast = k.norm(""), k.norm(""), true
			}
		}
		if step == 0 || (i+1)%step != 0 {
			return k.preNorm(a, k.network(i))
		}
		m := k.routed(i, graph.SigmoidGating)
		m.WeighFirst = true
		return k.preNorm(a, m)
	})
}
