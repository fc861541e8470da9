//go:build !amd64 || purego

package kernel

// FitGrid does nothing: there is no kernel.
func FitGrid(g *Grid, s *GridSearch, b *GridWork, x *[256]float32, importance []float32, variance, base float32) bool {
	return false
}
