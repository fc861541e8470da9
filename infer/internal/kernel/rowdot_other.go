//go:build !amd64 || purego

package kernel

import "github.com/ggufkit/ggufkit/gguf"

func canDotRow() bool { return false }

func dotRow(t gguf.Type, _ []byte, _ []Vector8) float32 {
	panic("kernel: no product for rows of " + t.String())
}
