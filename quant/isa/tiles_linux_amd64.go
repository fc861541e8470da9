//go:build !purego

package isa

import (
	"sync"

	"golang.org/x/sys/unix"
)

// haveTiles asks the kernel, once, for the registers of AMX, which a process does not have unless it does so (arch_prctl(2)).
var haveTiles = sync.OnceValue(func() bool {
	const requestPermission, tileData = 0x1023, 18 // ARCH_REQ_XCOMP_PERM, and the component of the state
	_, _, errno := unix.RawSyscall(unix.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return errno == 0
})
