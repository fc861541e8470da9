package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// deepSeek is the first DeepSeek-MoE: its first layers are dense, the others have shared
// experts, which are one network.
func deepSeek(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		if !k.sparse(i) {
			return k.preNorm(k.attention(i), k.network(i))
		}
		m := k.mixture(k.expertHidden())
		// llama.cpp cannot run models without, but mergekit-moe makes them.
		m.Shared.Hidden = m.Hidden * k.count("expert_shared_count", 0, -1)
		if m.Shared.Hidden > maxCount {
			k.corrupt("shared experts of %d elements", m.Shared.Hidden)
		}
		return k.preNorm(k.attention(i), m)
	})
}
