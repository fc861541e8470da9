package quant

import "github.com/ggufkit/ggufkit/gguf"

// QuantizeWeighted is a stand-in: its bytes depend on the importance, but they
// are not ggml's.
func QuantizeWeighted(t gguf.Type, dst []byte, src []float32, rowLen int, importance []float32) error {
	if importance == nil || !t.Quantized() || t == gguf.Q8_0 {
		return Quantize(t, dst, src)
	}
	weighted := make([]float32, len(src))
	for i := range src {
		weighted[i] = src[i] * (1 + importance[i%rowLen])
	}
	return Quantize(t, dst, weighted)
}

// NeedsImportance is a stand-in.
func NeedsImportance(t gguf.Type) bool {
	return t == gguf.IQ2_XXS || t == gguf.IQ2_XS || t == gguf.IQ1_S
}
