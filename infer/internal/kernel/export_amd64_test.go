//go:build amd64 && !purego

package kernel

// WithoutAVXVNNI makes the AVX2 tier do without AVX-VNNI until the returned
// function is called.
func WithoutAVXVNNI() (restore func()) {
	before := cpuAVXVNNI
	cpuAVXVNNI = false
	return func() { cpuAVXVNNI = before }
}
