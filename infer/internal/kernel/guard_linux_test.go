package kernel_test

import (
	"math/rand/v2"
	"os"
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// guarded returns n floats that end where memory that faults begins, or, if
// start is set, that begin where it ends.
func guarded(t *testing.T, n int, start bool) []float32 {
	t.Helper()
	page := os.Getpagesize()
	size := (4*n + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, size+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(mem)) })
	require.NoError(t, unix.Mprotect(mem[:page], unix.PROT_NONE))
	require.NoError(t, unix.Mprotect(mem[page+size:], unix.PROT_NONE))
	at := page
	if !start {
		at += size - 4*n
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&mem[at])), n)
}

// TestKernelsStayWithinTheirSlices puts every operand against pages that
// fault.
func TestKernelsStayWithinTheirSlices(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	isatest.ForEachVariant(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 9))
		for _, start := range []bool{false, true} {
			for _, s := range []struct{ m, n, k int }{{1, 1, 1}, {12, 32, 1}, {12, 32, 7}, {13, 33, 5}, {24, 64, 259}} {
				a, b := guarded(t, kernel.PackedLenA(s.m, s.k), start), guarded(t, kernel.PackedLenB(s.n, s.k), start)
				c, x, w := guarded(t, s.m*s.n, start), guarded(t, s.m*s.k, start), guarded(t, s.n*s.k, start)
				copy(x, random(rng, len(x)))
				copy(w, random(rng, len(w)))
				require.NotPanics(t, func() {
					kernel.PackA(a, x, s.k, s.m, s.k)
					kernel.PackB(b, w, s.k, s.n, s.k)
					kernel.Mul(c, s.n, a, b, s.m, s.n, s.k)
					kernel.PackBTransposed(b, w, s.n, s.n, s.k)
				}, "%v", s)
				require.NotPanics(t, func() { mulInt8(c, s.n, x, w, s.m, s.n, s.k, false) }, "%v", s)
			}
			for n := range 50 {
				x, y := guarded(t, n+1, start)[:n+1], guarded(t, n+1, start)
				require.NotPanics(t, func() {
					kernel.ExpSum(x, 1)
					kernel.SiLUMul(x, y)
				}, "%d elements", n+1)
			}
		}
	})
}
