package infer

import (
	"math"

	"github.com/ggufkit/ggufkit/gguf"
)

// ContextLength returns how many tokens a model was made for; what does not say so has no limit. Nothing
// here refuses more.
func ContextLength(meta *gguf.Metadata) int {
	architecture, err := gguf.Value[string](meta, "general.architecture")
	if err != nil {
		return math.MaxInt
	}
	n, err := meta.Uint(architecture + ".context_length")
	if err != nil || n > math.MaxInt {
		return math.MaxInt
	}
	return int(n)
}
