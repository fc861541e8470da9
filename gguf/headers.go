package gguf

import "github.com/ggufkit/ggufkit/gguf/files"

// Headers is a Source without its data, to find out what would be done with it: metadata and tensors are those of
// another one, of which no row is read. All rows are zeros.
type Headers struct{ Of Source }

// Metadata implements Source.
func (h Headers) Metadata() *Metadata { return h.Of.Metadata() }

// Tensors implements Source.
func (h Headers) Tensors() []TensorInfo { return h.Of.Tensors() }

// Inputs implements FileSource.
func (h Headers) Inputs() []*files.File { return Inputs(h.Of) }

// ReadRows implements Source.
func (h Headers) ReadRows(dst []byte, tensor int, first, n int64) error {
	clear(dst)
	return h.Tensors()[tensor].CheckRows(dst, first, n)
}
