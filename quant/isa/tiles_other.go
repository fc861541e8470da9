//go:build !linux || !amd64 || purego

package isa

// haveTiles is whether programs have the registers of AMX: only Linux is asked for them.
func haveTiles() bool { return false }
