package choose

import "github.com/ggufkit/ggufkit/infer"

// Memory is what it takes to run a model beside its weights, in bytes.
type Memory struct {
	Cache   int64 // keys and values of all layers, in F16
	Compute int64 // an upper estimate of llama.cpp's compute buffers
}

// microbatch is how many tokens llama.cpp computes together by default (-ub).
const microbatch = 512

// NewMemory returns what llama.cpp takes for a context of so many tokens.
//
// Keys and values are exact. The compute buffers hold for the u tokens of a
// micro-batch, 512 or the whole context, in float32, the largest of what is not there
// at the same time: the scores of the attention (heads x context x u), three
// products of the feed-forward networks (hidden x u, of all experts of a token), or the
// logits (vocabulary x u); beside it the mask (context x u) and up to eight
// activations (width x u, of the stream or of all heads). This was compared with what llama.cpp 0.7 reserves on
// the CPU without flash attention, which does without the scores: see
// docs/choosing.md.
func NewMemory(s infer.Shape, context int) Memory {
	n := float64(context) // not to overflow
	width := float64(max(s.Width, s.Heads*s.KeyLen))
	largest := max(float64(s.Heads)*n, 3*float64(s.Hidden), float64(s.Vocabulary))
	return Memory{
		Cache:   whole(2 * float64(s.Layers) * float64(s.KVHeads) * float64(s.KeyLen+s.ValueLen) * n),
		Compute: whole(4 * min(n, microbatch) * (largest + n + 8*width)),
	}
}

// whole returns bytes as an integer, of which several can be added.
func whole(bytes float64) int64 { return int64(min(bytes, 1<<60)) }
