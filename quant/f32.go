package quant

import (
	"encoding/binary"
	"math"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// F32 is IEEE 754 binary32, little-endian.
var _ = register(gguf.F32, codec{quantize: quantizeF32, dequantize: dequantizeF32})

func quantizeF32(dst []byte, src, _ []float32) {
	n := kernel.QuantizeF32(dst, src)
	dst = dst[4*n:]
	for i, v := range src[n:] {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

func dequantizeF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}
