// Command neonkernels generates the kernels for arm64, a file for each family. Run
// go generate in package quant/internal/kernel.
package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

func main() {
	neon.Main("go run ./neonkernels", map[string]func(*neon.File){
		"affine":    generateAffine,
		"iq4":       generateIQ4,
		"read":      generateRead,
		"simple":    generateSimple,
		"sums":      generateSums,
		"symmetric": generateSymmetric,
	})
}
