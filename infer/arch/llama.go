package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// llama is Llama, Mistral and, with experts, Mixtral. A window of attention is ignored, as
// llama.cpp ignores it: its converter writes no key for it.
func llama(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		network := k.network(i)
		if !k.sparse(i) {
			return k.preNorm(k.attention(i), network)
		}
		m := k.mixture(network.Hidden)
		m.NormTopKProb = true
		return k.preNorm(k.attention(i), m)
	})
}
