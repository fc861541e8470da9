//go:build !amd64 || purego

package kernel

import "github.com/ggufkit/ggufkit/gguf"

func canDotFloatRows(gguf.Type) bool { return false }

func dotFloatRows(gguf.Type, []float32, []byte, []float32) {}

func addFloatRows(gguf.Type, []float32, []byte, int, []float32) {}

func dotFloats(_, _, _ []float32) {}
