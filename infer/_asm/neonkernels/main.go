// Command neonkernels generates the kernels for arm64, a file for each family. Run
// go generate in package infer/internal/kernel.
package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

func main() {
	neon.Main("go run ./neonkernels", map[string]func(*neon.File){
		"dot":    generateDot,
		"int8":   generateInt8,
		"rowdot": generateRowDot,
		"tile":   generateTile,
		"vector": generateVector,
	})
}

// unrolled emits a loop over steps, most of them at a time and then one by one.
func unrolled(f *neon.Function, steps neon.Register, most int, body func(n int)) {
	f.Op("CMP $%d, %v", most, steps)
	f.Op("BLT rest")
	f.Label("several")
	f.Scope(func() { body(most) })
	f.Op("SUB $%d, %v", most, steps)
	f.Op("CMP $%d, %v", most, steps)
	f.Op("BGE several")
	f.Label("rest")
	f.Op("CBZ %v, done", steps)
	f.Label("one")
	f.Scope(func() { body(1) })
	f.Op("SUBS $1, %v", steps)
	f.Op("BNE one")
	f.Label("done")
}

// zeros returns n vectors of zeros.
func zeros(f *neon.Function, n int) []neon.Vector {
	v := f.Vectors(n)
	for _, v := range v {
		f.Zero(v)
	}
	return v
}
