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
// Some machines can do more than a tier demands: kernels that have a use for it ask
// [Has] for that extension of the tier.
//
// The best tier this machine can do is in use from the start, with all its extensions. The
// environment variable GGUFKIT_ISA names a lower one, such as avx2, or one without
// some of its extensions, such as avx2,-avxvnni; programs report [Err] before they
// do anything, so that a name this machine cannot do is not ignored in silence.
// A build with the tag purego has the generic tier alone.
//
// The tier in use, with its extensions, is the only global state of the module.
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

// Extension is what a machine may do beyond a tier.
type Extension int32

// The extensions, each of one tier.
const (
	AVXVNNI    Extension = 1 << (8 + iota) // of AVX2; AVX512 demands its own form of it
	AVX512BF16                             // of AVX512
	AMXInt8                                // of AVX512, where the system lets programs have tiles
	DotProd                                // of NEON
	I8MM                                   // of NEON
)

// extensions has those of a tier in the order in which processors got them.
var extensions = []struct {
	extension Extension
	name      string
	tier      Tier
	feature   cpuid.FeatureID
}{
	{AVXVNNI, "avxvnni", AVX2, cpuid.AVXVNNI},
	{AVX512BF16, "avx512bf16", AVX512, cpuid.AVX512BF16},
	{AMXInt8, "amxint8", AVX512, cpuid.AMXINT8},
	{DotProd, "dotprod", NEON, cpuid.ASIMDDP},
	{I8MM, "i8mm", NEON, cpuid.I8MM},
}

// String returns the name of the extension as [EnvVar] has it.
func (e Extension) String() string {
	for _, known := range extensions {
		if known.extension == e {
			return known.name
		}
	}
	return fmt.Sprintf("extension %#x", int32(e))
}

// EnvVar is the environment variable that names the tier to use.
const EnvVar = "GGUFKIT_ISA"

var names = []string{Generic: "generic", AVX2: "avx2", AVX512: "avx512", NEON: "neon"}

// String returns the name of the tier as [EnvVar] has it.
func (t Tier) String() string { return names[t] }

var (
	available = detect()
	// disabled are the extensions that the environment rules out.
	disabled Extension
	inUse    atomic.Int32 // a Tier and its extensions
	envErr   = choose(os.Getenv(EnvVar))
)

// choose puts the named tier, or the best where the name is empty, into use.
// Tiers above the named one are no longer available, nor are the extensions that it is
// to do without: who forces a tier wants tests and benchmarks to keep to it, too.
func choose(name string) error {
	best := available[len(available)-1]
	inUse.Store(with(best))
	if name == "" {
		return nil
	}
	parts := strings.Split(name, ",")
	i := slices.IndexFunc(available, func(t Tier) bool { return strings.EqualFold(parts[0], t.String()) })
	if i < 0 {
		return fmt.Errorf("%s is %q, but this program can use %v on this machine", EnvVar, name, available)
	}
	var without Extension
	for _, part := range parts[1:] {
		have := Extensions(available[i])
		e := slices.IndexFunc(have, func(e Extension) bool { return strings.EqualFold(part, "-"+e.String()) })
		if e < 0 {
			return fmt.Errorf("%s is %q, but %s can only do without %v on this machine", EnvVar, name, available[i], have)
		}
		without |= have[e]
	}
	available, disabled = available[:i+1], without
	inUse.Store(with(available[i]))
	return nil
}

// with returns a tier and all extensions of it that can be used.
func with(t Tier) int32 {
	all := int32(t)
	for _, e := range Extensions(t) {
		all |= int32(e)
	}
	return all
}

// Err reports that the environment names a tier that this machine cannot do.
// The best tier is in use then.
func Err() error { return envErr }

// Current returns the tier in use. It costs one load.
func Current() Tier { return Tier(inUse.Load() & 0xff) }

// Has reports whether an extension of the tier in use can be used. It costs one load.
func Has(e Extension) bool { return Extension(inUse.Load())&e != 0 }

// Compiled returns the tiers that this program has kernels for, the slowest first,
// whether this machine can do them or not.
func Compiled() []Tier { return slices.Clone(compiled) }

// Available returns the tiers that can be used, the slowest first.
func Available() []Tier { return slices.Clone(available) }

// Extensions returns the extensions of a tier that can be used, the oldest first.
func Extensions(t Tier) []Extension {
	var have []Extension
	for _, e := range extensions {
		if e.tier == t && e.extension&disabled == 0 && cpuid.CPU.Has(e.feature) && (e.extension != AMXInt8 || haveTiles()) {
			have = append(have, e.extension)
		}
	}
	return have
}

// Use changes the tier in use, for benchmarks and tests that compare tiers, and has it do
// without some of its extensions. It must not be called while kernels run: they may look
// at the tier twice.
func Use(t Tier, without ...Extension) error {
	if !slices.Contains(available, t) {
		return fmt.Errorf("instruction set %s is not one of %v", t, available)
	}
	use := with(t)
	for _, e := range without {
		use &^= int32(e)
	}
	inUse.Store(use)
	return nil
}

// relevant lists the CPU features that kernels use or may come to use.
var relevant = []cpuid.FeatureID{
	cpuid.AVX2, cpuid.FMA3, cpuid.F16C, cpuid.AVXVNNI,
	cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.AVX512DQ, cpuid.AVX512VNNI, cpuid.AVX512VBMI, cpuid.AVX512BF16, cpuid.AMXTILE, cpuid.AMXINT8,
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
