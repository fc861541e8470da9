package gguf

import "io"

// ApplyTo is Apply with another file to write to, and no file checked.
func (p *Patch) ApplyTo(file interface {
	io.WriterAt
	Sync() error
}) error {
	return p.apply(file)
}
