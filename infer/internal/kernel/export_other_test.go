//go:build !amd64 || purego

package kernel

// WithoutAVXVNNI has no effect here.
func WithoutAVXVNNI() (restore func()) { return func() {} }
