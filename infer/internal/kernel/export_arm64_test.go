//go:build arm64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

// Variants lists the tiers that have kernels for more than they demand.
var Variants = []Variant{
	{"without I8MM", isa.NEON, []*bool{&cpuI8MM}},
	{"without DotProd", isa.NEON, []*bool{&cpuI8MM, &cpuDotProd}},
}
