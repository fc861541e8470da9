package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// lfm2 is LFM2, with experts lfm2moe: most layers have a convolution instead of attention.
func lfm2(k *keys) graph.Spec {
	s := k.decoder(func(i int) graph.Layer {
		var first, second graph.Mixer
		if k.recurrent(i) {
			first = graph.ShortConv{Inputs: k.count("shortconv.l_cache", 1, -1), Width: k.width}
		} else {
			first = k.normedHeads(i)
		}
		if k.sparse(i) {
			m := k.routed(i, graph.SigmoidGating)
			m.NormTopKProb = true
			second = m
		} else {
			second = k.network(i)
		}
		return k.preNorm(first, second)
	})
	s.OutputNorm.Name = "token_embd_norm"
	return s
}
