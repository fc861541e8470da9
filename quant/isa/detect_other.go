//go:build purego || (!amd64 && !arm64)

package isa

var compiled = []Tier{Generic}

func detect() []Tier { return compiled }
