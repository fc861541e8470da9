// Package kernel has the searches of package quant in assembly, with one
// sub-block in each lane of a vector: every lane takes the steps of the generic
// Go, which is the definition, in the same order and without fused multiply-add,
// so the bits are the same.
//
// A function does as many sub-blocks as it can and returns how many that were, or
// whether it did all: none where the instruction set in use has no kernel, or
// where values are not finite, as then results may depend on the order of operands
// that Go leaves open. The caller does the others:
//
//	for s := kernel.FitAffines(&work, q, x, nil, nil, scales, minima, sums, size, search); s < len(scales); s++ {
//		... // sub-block s
//	}
//
// Dequantize, which reads blocks, is another matter: there, lanes are elements that
// follow each other, and nothing is summed. It leaves what it cannot read, which are
// blocks with scales that are not finite of some types, and all after them.
package kernel

// The kernels for arm64 are made here, as go generate passes over files that are
// for another architecture than its own.
//go:generate go run -C ../../_asm ./neonkernels -out ../internal/kernel
