package kernel_test

import (
	"math/rand/v2"
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// guarded returns n values that end where memory that faults begins, or, if
// start is set, that begin where it ends.
func guarded[T any](t *testing.T, n int, start bool) []T {
	t.Helper()
	var v T
	page, bytes := os.Getpagesize(), n*int(unsafe.Sizeof(v))
	size := (bytes + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, size+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(mem)) })
	require.NoError(t, unix.Mprotect(mem[:page], unix.PROT_NONE))
	require.NoError(t, unix.Mprotect(mem[page+size:], unix.PROT_NONE))
	at := page
	if !start {
		at += size - bytes
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&mem[at])), n)
}

func random(t *testing.T, n int, start bool) []float32 {
	x := guarded[float32](t, n, start)
	rng := rand.New(rand.NewPCG(3, uint64(n)))
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}
