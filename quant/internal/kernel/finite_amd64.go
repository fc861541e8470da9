//go:build amd64 && !purego

package kernel

import "math"

// finite reports whether all of x are.
func finite(x []float32) bool {
	const exponent = 0xff << 23
	var special uint32
	for _, v := range x {
		// The top bit of the sum is set only where all bits of the exponent are.
		special |= math.Float32bits(v)&exponent + 1<<23
	}
	return special>>31 == 0
}
