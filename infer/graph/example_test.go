package graph_test

import (
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
)

// What a model computes is data: here four layers of attention and a network. What it keeps of a
// text, its KV cache, is the sum over its mixers.
func ExampleSpec() {
	spec := graph.Spec{Width: 256}
	for range 4 {
		spec.Layers = append(spec.Layers, graph.Layer{
			{Norm: graph.Norm{Name: "attn_norm", Epsilon: 1e-5}, Mixers: []graph.Mixer{graph.Attention{Heads: 8, KVHeads: 2, KeyLen: 32, ValueLen: 32}}},
			{Norm: graph.Norm{Name: "ffn_norm", Epsilon: 1e-5}, Mixers: []graph.Mixer{graph.Network{Hidden: 512}}},
		})
	}
	var bytes int64
	for mixer := range spec.Mixers {
		bytes += mixer.State().RowBytes(gguf.F16, gguf.F16)
	}
	fmt.Println(bytes, "bytes for each token")
	// Output: 1024 bytes for each token
}
