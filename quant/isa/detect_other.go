//go:build purego || (!amd64 && !arm64)

package isa

func detect() []Tier { return []Tier{Generic} }
