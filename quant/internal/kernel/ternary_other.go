//go:build !amd64 || purego

package kernel

// Sort does nothing: there is no kernel.
func (s *IQ1S) Sort(w, x *[32]float32, importance []float32, variance, least float32, work *TernaryWork) bool {
	return false
}

// Add does nothing: there is no kernel.
func (s *IQ1S) Add() {}

// LikelyCuts does nothing: there is no kernel.
func (s *IQ1S) LikelyCuts(work *TernaryWork) bool { return false }

// Sort does nothing: there is no kernel.
func (s *IQ1M) Sort(w, x *[16]float32, importance []float32, variance, least float32, work *TernaryWork) bool {
	return false
}

// Add does nothing: there is no kernel.
func (s *IQ1M) Add() {}

// LikelyCuts does nothing: there is no kernel.
func (s *IQ1M) LikelyCuts(work *TernaryWork) bool { return false }

// NearestTernary does nothing: there is no kernel.
func NearestTernary(points []uint16, x, w *[8]float32, values *[4]float32) (uint16, bool) {
	return 0, false
}

// FitTernary does nothing: there is no kernel.
func FitTernary(points []uint16, which []uint8, values *[16][4]float32, x, w []float32) (xq, qq float32, ok bool) {
	return 0, 0, false
}
