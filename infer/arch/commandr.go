package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// commandR is Cohere's Command R and R+: attention and network in parallel, norms of heads with
// weights of their own in the largest.
func commandR(k *keys) graph.Spec {
	k.layerNorms()
	s := k.decoder(func(i int) graph.Layer {
		a := k.attention(i)
		if k.hasIn(i, "attn_q_norm.weight") {
			a.QNorm, a.KNorm, a.NormSpan = k.norm("attn_q_norm"), k.norm("attn_k_norm"), graph.OwnHead
		}
		return k.parallel(a, k.network(i))
	})
	s.LogitScale = float32(k.optional("logit_scale"))
	return s
}

// cohere2 is Command R7B and A: every fourth layer sees all and rotates nothing, the others have
// a window.
func cohere2(k *keys) graph.Spec {
	k.layerNorms()
	s := k.decoder(func(i int) graph.Layer {
		a := k.attention(i)
		if k.local(i, 4) {
			a.Window = k.count("attention.sliding_window", 1, -1)
		} else {
			a.Rope = graph.RopeSpec{}
		}
		return k.parallel(a, k.network(i))
	})
	s.LogitScale = float32(k.optional("logit_scale"))
	return s
}
