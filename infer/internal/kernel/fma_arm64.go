package kernel

// fma returns x·y + z, rounded once: the compiler fuses the two for arm64.
func fma(x, y, z float32) float32 { return x*y + z }
