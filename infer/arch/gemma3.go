package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// gemma3 is Gemma 3: norms of heads, and a window in five layers of six, with a rotary
// embedding of their own.
func gemma3(k *keys) graph.Spec {
	s := k.decoder(func(i int) graph.Layer {
		a := k.normedHeads(i)
		if k.local(i, 6) {
			a.Window = k.count("attention.sliding_window", 1, 1024)
			a.Rope = graph.RopeSpec{Dims: a.Rope.Dims, Base: k.float("rope.freq_base_swa", 10000), Factor: 1, NeoX: true}
		}
		if k.layers == gemma3Of27B {
			a.Scale = float32(1 / math.Sqrt(float64(k.width/a.Heads)))
		}
		return k.sandwich(a, k.geGLU(i))
	})
	s.EmbeddingScale = float32(math.Sqrt(float64(k.width)))
	s.LogitCap = float32(k.optional("final_logit_softcapping"))
	return s
}

// gemma3Of27B is what gemma2Of27B is for Gemma 2.
const gemma3Of27B = 62
