package quant

import "math"

// nearestInt rounds to the nearest integer, halves to even. Adding 1.5 * 2^23
// leaves the integer in the low bits of the mantissa, so f must be within
// ±2^22; for others the result is what ggml's nearest_int gives, which callers
// clamp.
func nearestInt(f float32) int32 {
	return int32(math.Float32bits(float32(f)+12582912)&0x7fffff) - 0x400000
}

// roundAway rounds to the nearest integer, halves away from zero, as C's
// (int8_t)roundf(f) does on x86-64. Adding a half is exact in float64.
func roundAway(f float32) int8 {
	if !isInt32(f) {
		return 0
	}
	return int8(int32(float64(f) + math.Copysign(0.5, float64(f))))
}

// truncate rounds toward zero, as C's (int8_t)f does on x86-64: the low byte
// of the 32-bit integer, 0 where none fits. Go leaves that case to the CPU.
func truncate(f float32) int8 {
	if !isInt32(f) {
		return 0
	}
	return int8(int32(f))
}

// isInt32 reports whether f, rounded toward zero, is an int32. NaN is not.
func isInt32(f float32) bool { return f >= math.MinInt32 && f < -math.MinInt32 }

// abs clears the sign bit.
func abs(f float32) float32 {
	return math.Float32frombits(math.Float32bits(f) &^ (1 << 31))
}

func sqrt(f float32) float32 { return float32(math.Sqrt(float64(f))) }
