//go:build amd64 && !purego

package isa

import "github.com/klauspost/cpuid/v2"

var compiled = []Tier{Generic, AVX2, AVX512}

func detect() []Tier {
	switch {
	case !cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3, cpuid.F16C):
		return compiled[:1]
	case !cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.AVX512DQ, cpuid.AVX512VNNI):
		return compiled[:2]
	}
	return compiled
}
