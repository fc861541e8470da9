package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// falconH1 is Falcon-H1: attention and a recurrence see the same. Its factors are in the weights.
func falconH1(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		return graph.Layer{
			{Norm: k.norm("attn_norm"), Mixers: []graph.Mixer{k.mamba2(i), k.neox(i)}},
			{Norm: k.norm("ffn_norm"), Mixers: []graph.Mixer{k.network(i)}},
		}
	})
}
