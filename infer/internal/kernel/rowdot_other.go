//go:build (!amd64 && !arm64) || purego

package kernel

import "github.com/ggufkit/ggufkit/gguf"

func canDotRows(gguf.Type) bool { return false }

func dotRows(t gguf.Type, _ []float32, _ []byte, _ []Vector8) {
	panic("kernel: no product for rows of " + t.String())
}
