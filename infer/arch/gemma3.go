package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// gemma3 is Gemma 3: norms of heads, and a window in five layers of six, with a rotary
// embedding of their own.
func gemma3(k *keys) graph.Spec {
	s := k.decoder(func(i int) graph.Layer { return k.sandwich(k.gemma3(i), k.geGLU(i)) })
	s.EmbeddingScale = float32(math.Sqrt(float64(k.width)))
	s.LogitCap = float32(k.optional("final_logit_softcapping"))
	return s
}

// gemmaEmbedding is EmbeddingGemma, a Gemma 3 that sees what follows.
func gemmaEmbedding(k *keys) graph.Spec {
	s := k.encoder(func(i int) graph.Layer {
		a := k.gemma3(i)
		a.Encoder = true
		return k.sandwich(a, k.geGLU(i))
	})
	s.EmbeddingScale = float32(math.Sqrt(float64(k.width)))
	return s
}

// gemma3 returns the attention of a layer.
func (k *keys) gemma3(layer int) graph.Attention {
	a := k.normedHeads(layer)
	if k.local(layer, 6) {
		a.Window = k.count("attention.sliding_window", 1, 1024)
		a.Rope = graph.RopeSpec{Dims: a.Rope.Dims, Base: k.float("rope.freq_base_swa", 10000), Factor: 1, NeoX: true}
	}
	if k.layers == gemma3Of27B {
		a.Scale = float32(1 / math.Sqrt(float64(k.width/a.Heads)))
	}
	return a
}

// gemma3Of27B is what gemma2Of27B is for Gemma 2.
const gemma3Of27B = 62
