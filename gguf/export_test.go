package gguf

import "io"

// Divide is divide.
var Divide = divide

// ApplyTo is Apply with another file to write to, and no file checked.
func (p *Patch) ApplyTo(file interface {
	io.WriterAt
	Sync() error
}) error {
	return p.apply(file)
}
