//go:build !amd64 || purego

package kernel

// Sums does nothing: there is no kernel.
func (f *IQ1S) Sums(x, w *[32]float32, least float32) bool { return false }

// LikelyCuts does nothing: there is no kernel.
func (f *IQ1S) LikelyCuts() bool { return false }

// Sums does nothing: there is no kernel.
func (f *IQ1M) Sums(x, w *[16]float32, least float32) bool { return false }

// LikelyCuts does nothing: there is no kernel.
func (f *IQ1M) LikelyCuts() bool { return false }

// NearestTernary does nothing: there is no kernel.
func NearestTernary(points []uint16, x, w *[8]float32, values *[4]float32) int { return -1 }
