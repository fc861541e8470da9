//go:build amd64 && !purego

package isa

import "github.com/klauspost/cpuid/v2"

func detect() []Tier {
	tiers := []Tier{Generic}
	if !cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3, cpuid.F16C) {
		return tiers
	}
	tiers = append(tiers, AVX2)
	if !cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.AVX512DQ, cpuid.AVX512VNNI) {
		return tiers
	}
	return append(tiers, AVX512)
}
