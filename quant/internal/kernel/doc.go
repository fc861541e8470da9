// Package kernel has the searches of package quant in assembly, with one
// sub-block in each lane of a vector: every lane takes the steps of the generic
// Go, which is the definition, in the same order and without fused multiply-add,
// so the bits are the same.
//
// A function does as many sub-blocks as fit a vector and returns how many that
// were: 0 where the instruction set in use has no kernel, where there are
// fewer sub-blocks than lanes, or where a value is not finite, as then results
// depend on the order of operands that Go leaves open. The caller does the others:
//
//	for i := 0; i < len(scales); {
//		if n := kernel.FitAffine(q[i*size:], x[i*size:], w[i*size:], scales[i:], minima[i:], size, search); n > 0 {
//			i += n
//			continue
//		}
//		... // sub-block i
//		i++
//	}
package kernel
