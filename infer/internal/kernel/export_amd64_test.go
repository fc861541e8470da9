//go:build amd64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

// Variants lists the tiers that have kernels for more than they demand.
var Variants = []Variant{{"without AVX-VNNI", isa.AVX2, []*bool{&cpuAVXVNNI}}}
