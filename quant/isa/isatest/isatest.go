// Package isatest runs tests and benchmarks on every instruction set that
// this machine can do.
//
// A tier that the program has kernels for and the machine cannot do is a subtest that is
// skipped. Where that must not go unnoticed, the environment variable GGUFKIT_TEST_REQUIRE
// lists the tiers and extensions that the tests must run on, such as avx2,avx512,avx512bf16:
// if one is missing, they fail.
package isatest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ggufkit/ggufkit/quant/isa"
)

// EnvVar is the environment variable that lists what must not be missing.
const EnvVar = "GGUFKIT_TEST_REQUIRE"

// missing returns those of a list of tiers and extensions that cannot be used, names of
// nothing among them.
func missing(required string) []string {
	have := []string{""}
	for _, tier := range isa.Available() {
		have = append(have, tier.String())
		for _, e := range isa.Extensions(tier) {
			have = append(have, e.String())
		}
	}
	return slices.DeleteFunc(strings.Split(strings.ToLower(required), ","), func(name string) bool { return slices.Contains(have, name) })
}

// runner is what *testing.T and *testing.B share here.
type runner[T any] interface {
	testing.TB
	Run(name string, f func(T)) bool
}

// ForEach runs f as a subtest on each tier, named after it, and then restores
// what was in use. Neither the caller nor f may be parallel.
func ForEach[T runner[T]](t T, f func(t T)) {
	t.Helper()
	forEach(t, false, f)
}

// ForEachVariant is ForEach that runs f on each tier also without the newest of its
// extensions, without the two newest, and so on.
func ForEachVariant[T runner[T]](t T, f func(t T)) {
	t.Helper()
	forEach(t, true, f)
}

func forEach[T runner[T]](t T, variants bool, f func(t T)) {
	t.Helper()
	if err := isa.Err(); err != nil {
		t.Fatal(err)
	}
	if names := missing(os.Getenv(EnvVar)); len(names) > 0 {
		t.Fatalf("%s demands %s, which this program cannot use on this machine", EnvVar, strings.Join(names, " and "))
	}
	restore := isa.Current()
	for _, tier := range isa.Available() {
		extensions := isa.Extensions(tier)
		for n := len(extensions); n >= 0; n-- {
			name := tier.String() // as isa.EnvVar has it
			for _, e := range extensions[n:] {
				name += ",-" + e.String()
			}
			t.Run(name, func(t T) {
				use(t, tier, extensions[n:]...)
				t.Cleanup(func() { use(t, restore) })
				f(t)
			})
			if !variants {
				break
			}
		}
	}
	for _, tier := range isa.Compiled()[len(isa.Available()):] {
		t.Run(tier.String(), func(t T) { t.Skip("this machine cannot do it") })
	}
}

func use(t testing.TB, tier isa.Tier, without ...isa.Extension) {
	if err := isa.Use(tier, without...); err != nil {
		t.Fatal(err)
	}
}
