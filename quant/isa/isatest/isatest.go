// Package isatest runs tests and benchmarks on every instruction set that
// this machine can do.
package isatest

import (
	"testing"

	"github.com/ggufkit/ggufkit/quant/isa"
)

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
}

func use(t testing.TB, tier isa.Tier, without ...isa.Extension) {
	if err := isa.Use(tier, without...); err != nil {
		t.Fatal(err)
	}
}
