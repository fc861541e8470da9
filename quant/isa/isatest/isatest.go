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
// the tier that was in use. Neither the caller nor f may be parallel.
func ForEach[T runner[T]](t T, f func(t T)) {
	t.Helper()
	if err := isa.Err(); err != nil {
		t.Fatal(err)
	}
	before := isa.Current()
	for _, tier := range isa.Available() {
		t.Run(tier.String(), func(t T) {
			use(t, tier)
			t.Cleanup(func() { use(t, before) })
			f(t)
		})
	}
}

func use(t testing.TB, tier isa.Tier) {
	if err := isa.Use(tier); err != nil {
		t.Fatal(err)
	}
}
