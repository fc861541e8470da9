//go:build (!amd64 && !arm64) || purego

package kernel

import "github.com/ggufkit/ggufkit/gguf"

// Dequantize does nothing: there is no kernel.
func Dequantize(t gguf.Type, dst []float32, src []byte, points []uint8) int { return 0 }
