//go:build arm64 && !purego

package isa

var compiled = []Tier{Generic, NEON}

func detect() []Tier { return compiled }
