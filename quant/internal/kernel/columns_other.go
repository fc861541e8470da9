//go:build !amd64 || purego

package kernel

// ColumnsQ40 does nothing: there is no kernel.
func ColumnsQ40(dst []byte, stride int, d []uint16, words []byte, width int) int { return 0 }
