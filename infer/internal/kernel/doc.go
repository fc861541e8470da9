// Package kernel has the arithmetic that a model spends its time in: matrix
// products and the functions between them. Everything here runs on one
// core; the caller cuts the work.
//
// A product is C += A·Bᵀ with A m x k (activations) and B n x k (weights, rows
// as GGUF stores them). Both are packed first: A into panels of [TileRows] rows,
// B into panels of [TileCols] rows, each panel with k outermost, so that
// one step along k reads TileRows + TileCols neighbouring floats. Packing costs one
// pass over a matrix and is repaid when the other has many rows.
//
//	a := make([]float32, kernel.PackedLenA(m, k))
//	b := make([]float32, kernel.PackedLenB(n, k))
//	kernel.PackA(a, x, k, m, k)
//	kernel.PackB(b, w, k, n, k)
//	kernel.Mul(c, n, a, b, m, n, k)
//
// Each element of C is summed in the order of k, in blocks of 256 that are then
// added to C, on every instruction set. Cutting m and n differently, as for
// another number of threads, therefore changes no bit. The error of an element is at most
// (256 + k/256 + 1)·2⁻²⁴·Σ|a·b|, to first order. Each multiplication is fused with its
// addition, and every function on floats is defined operation by operation: all
// instruction sets give the same bits, generic Go too, where that takes several times as
// long.
//
// The same is there for pairs of bfloat16 instead of floats ([Pair]), where k
// counts pairs: products are exact, and two are added for each step, so that the bound has
// 512 + k/512 with k in elements.
//
// [MulInt8] multiplies matrices of 8-bit integers with a scale for every block
// of [Int8Block] elements of a row. Its integer sums are exact and its float
// operations are defined one by one: all instruction sets give the same bits.
package kernel

//go:generate go run -C ../../_asm ./kernel -pkg kernel -out ../internal/kernel/kernel_amd64.s -stubs ../internal/kernel/stubs_amd64.go

// The kernels for arm64 are made here, as go generate passes over files that are
// for another architecture than its own.
//go:generate go run -C ../../_asm ./neonkernels -out ../internal/kernel
