//go:build arm64 && !purego

package isa

func detect() []Tier { return []Tier{Generic, NEON} }
