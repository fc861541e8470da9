// Package isa says which instruction set the kernels of this module use.
//
// Instruction sets are grouped in tiers. A kernel has a generic Go version,
// which is its definition, and may have faster ones for some tiers; it picks
// one by a branch, as in
//
//	switch isa.Current() {
//	case isa.AVX512:
//		dotAVX512(dst, a, b)
//	case isa.AVX2:
//		dotAVX2(dst, a, b)
//	default:
//		dotGeneric(dst, a, b)
//	}
//
// The best tier this machine can do is in use from the start. The environment
// variable GGUFKIT_ISA names a lower one; programs report [Err] before they
// do anything, so that a name this machine cannot do is not ignored in silence.
// A build with the tag purego has the generic tier alone.
//
// The tier in use is the only global state of the module.
package isa

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/klauspost/cpuid/v2"
)

// Tier is a group of instruction sets that kernels are written for.
type Tier int32

// The tiers, each with what it demands.
const (
	Generic Tier = iota // Go alone
	AVX2                // amd64 with AVX2, FMA and F16C
	AVX512              // amd64 with AVX2's and AVX-512 F, BW, VL, DQ and VNNI
	NEON                // arm64
)

// EnvVar is the environment variable that names the tier to use.
const EnvVar = "GGUFKIT_ISA"

var names = []string{Generic: "generic", AVX2: "avx2", AVX512: "avx512", NEON: "neon"}

// String returns the name of the tier as [EnvVar] has it.
func (t Tier) String() string { return names[t] }

var (
	available = detect()
	inUse     atomic.Int32
	envErr    = choose(os.Getenv(EnvVar))
)

// choose puts the named tier, or the best where the name is empty, into use.
// Tiers above the named one are no longer available: who forces a tier wants
// tests and benchmarks to keep to it, too.
func choose(name string) error {
	inUse.Store(int32(available[len(available)-1]))
	if name == "" {
		return nil
	}
	i := slices.IndexFunc(available, func(t Tier) bool { return strings.EqualFold(name, t.String()) })
	if i < 0 {
		return fmt.Errorf("%s is %q, but this program can use %v on this machine", EnvVar, name, available)
	}
	available = available[:i+1]
	inUse.Store(int32(available[i]))
	return nil
}

// Err reports that the environment names a tier that this machine cannot do.
// The best tier is in use then.
func Err() error { return envErr }

// Current returns the tier in use. It costs one load.
func Current() Tier { return Tier(inUse.Load()) }

// Available returns the tiers that can be used, the slowest first.
func Available() []Tier { return slices.Clone(available) }

// Use changes the tier in use, for benchmarks and tests that compare tiers. It
// must not be called while kernels run: they may look at the tier twice.
func Use(t Tier) error {
	if !slices.Contains(available, t) {
		return fmt.Errorf("instruction set %s is not one of %v", t, available)
	}
	inUse.Store(int32(t))
	return nil
}

// relevant lists the CPU features that kernels use or may come to use.
var relevant = []cpuid.FeatureID{
	cpuid.AVX2, cpuid.FMA3, cpuid.F16C, cpuid.AVXVNNI,
	cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.AVX512DQ, cpuid.AVX512VNNI, cpuid.AVX512VBMI, cpuid.AVX512BF16,
	cpuid.ASIMD, cpuid.ASIMDDP, cpuid.I8MM, cpuid.BF16, cpuid.SVE, cpuid.SVE2,
}

// Features returns the names of the features of this CPU that matter to
// kernels, whatever tier is in use.
func Features() []string {
	var have []string
	for _, f := range relevant {
		if cpuid.CPU.Has(f) {
			have = append(have, f.String())
		}
	}
	return have
}
