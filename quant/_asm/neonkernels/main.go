// Command neonkernels generates the kernels for arm64, a file for each family. Run
// go generate in package quant/internal/kernel.
package main

import (
	"flag"
	"log"
	"path/filepath"

	"github.com/ggufkit/ggufkit/quant/_asm/neon"
)

func main() {
	out := flag.String("out", ".", "the `directory` to write to")
	flag.Parse()
	for family, generate := range map[string]func(*neon.File){
		"affine":    generateAffine,
		"iq4":       generateIQ4,
		"read":      generateRead,
		"simple":    generateSimple,
		"sums":      generateSums,
		"symmetric": generateSymmetric,
	} {
		file := neon.NewFile("go run ./neonkernels")
		generate(file)
		if err := file.Write(filepath.Join(*out, family+"_arm64.s")); err != nil {
			log.Fatal(err)
		}
	}
}
