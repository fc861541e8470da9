//go:build (!amd64 && !arm64) || purego

package kernel

// QuantizeQ80 does nothing: there is no kernel.
func QuantizeQ80(dst []byte, x []float32) int { return 0 }

// QuantizeQ40 does nothing: there is no kernel.
func QuantizeQ40(dst []byte, x []float32) int { return 0 }

// QuantizeQ41 does nothing: there is no kernel.
func QuantizeQ41(dst []byte, x []float32) int { return 0 }

// QuantizeQ50 does nothing: there is no kernel.
func QuantizeQ50(dst []byte, x []float32) int { return 0 }

// QuantizeQ51 does nothing: there is no kernel.
func QuantizeQ51(dst []byte, x []float32) int { return 0 }

// QuantizeMXFP4 does nothing: there is no kernel.
func QuantizeMXFP4(dst []byte, x []float32) int { return 0 }

// QuantizeNVFP4 does nothing: there is no kernel.
func QuantizeNVFP4(dst []byte, x []float32) int { return 0 }

// QuantizeF16 does nothing: there is no kernel.
func QuantizeF16(dst []byte, x []float32) int { return 0 }

// QuantizeBF16 does nothing: there is no kernel.
func QuantizeBF16(dst []byte, x []float32) int { return 0 }

// SignsQ10 does nothing: there is no kernel.
func SignsQ10(dst []byte, x []float32) int { return 0 }

// QuantizeQ20 does nothing: there is no kernel.
func QuantizeQ20(dst []byte, x []float32) int { return 0 }

// QuantizeTQ10 does nothing: there is no kernel.
func QuantizeTQ10(dst []byte, x []float32) int { return 0 }

// QuantizeTQ20 does nothing: there is no kernel.
func QuantizeTQ20(dst []byte, x []float32) int { return 0 }
