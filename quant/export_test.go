package quant

import (
	"slices"
	"testing"

	"github.com/ggufkit/ggufkit/gguf"
)

// RegisterForTest gives a type a codec until the test ends.
func RegisterForTest(t *testing.T, typ gguf.Type, quantize func(dst []byte, src, importance []float32), dequantize func(dst []float32, src []byte)) {
	t.Helper()
	before := codecs
	codecs = slices.Clone(codecs)
	register(typ, codec{quantize: quantize, dequantize: dequantize})
	t.Cleanup(func() { codecs = before })
}
