package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// gptOSS is gpt-oss: experts alone, sinks in all layers, and a window in every second, from the first.
func gptOSS(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		a, m := k.neox(i), k.mixture(k.expertHidden())
		a.Sinks = true
		if k.local(i, 2) {
			a.Window = k.count("attention.sliding_window", 1, -1)
		}
		m.NormTopKProb, m.Activation = true, graph.SwiGLUOAI
		layer := k.preNorm(a, m)
		layer[1].Norm.Name = "post_attention_norm"
		return layer
	})
}
