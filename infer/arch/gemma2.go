package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// gemma2 is Gemma 2: norms before and after attention and network, soft caps of scores and
// logits, and a window in every second layer, from the first. The defaults are llama.cpp's.
func gemma2(k *keys) graph.Spec {
	scoreCap, window := k.float("attn_logit_softcapping", 50), k.count("attention.sliding_window", 1, 4096)
	s := k.decoder(func(i int) graph.Layer {
		a := k.neox(i)
		a.Cap = float32(scoreCap)
		if i%2 == 0 {
			a.Window = window
		}
		if k.layers == gemma2Of27B {
			a.Scale = float32(1 / math.Sqrt(float64(k.width/a.Heads)))
		}
		return k.sandwich(a, k.geGLU(i))
	})
	s.EmbeddingScale = float32(math.Sqrt(float64(k.width)))
	s.LogitCap = float32(k.float("final_logit_softcapping", 30))
	return s
}

// gemma2Of27B is the number of layers by which llama.cpp recognises the model whose
// query_pre_attn_scalar is not the length of a head. Its converter does not write it.
const gemma2Of27B = 46
