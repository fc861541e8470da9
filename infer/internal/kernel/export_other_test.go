//go:build (!amd64 && !arm64) || purego

package kernel

// Variants is empty: there are no kernels.
var Variants []Variant
