package safetensors

import (
	"errors"
	"fmt"
	"io"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// NewTensor returns a tensor that is in no file: its elements, in row-major order
// and of type dtype, are read from r, always whole ones.
func NewTensor(name string, dtype Dtype, shape []int64, r io.ReaderAt) *Tensor {
	size := int64(dtype.Size())
	for _, n := range shape {
		size *= n
	}
	return &Tensor{Name: name, Dtype: dtype, Shape: shape, file: &File{name: "merged", r: r}, size: size}
}

// Renamed returns the tensor under another name.
func (t *Tensor) Renamed(name string) *Tensor {
	u := *t
	u.Name = name
	return &u
}

// NewCheckpoint returns a checkpoint of the given tensors, in their order. Close
// closes the checkpoints that they are read from. The error wraps gguf.ErrCorrupt if a name is
// there twice.
func NewCheckpoint(tensors []*Tensor, from ...*Checkpoint) (*Checkpoint, error) {
	c := &Checkpoint{tensors: tensors, byName: make(map[string]*Tensor, len(tensors))}
	for _, other := range from {
		c.readers = append(c.readers, other)
	}
	for _, t := range tensors {
		if _, ok := c.byName[t.Name]; ok {
			return nil, fmt.Errorf("%w: tensor %q is there twice", gguf.ErrCorrupt, t.Name)
		}
		c.byName[t.Name] = t
	}
	return c, nil
}

// Close closes the files.
func (c *Checkpoint) Close() error {
	var errs []error
	for _, f := range c.readers {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Inputs returns the open files.
func (c *Checkpoint) Inputs() []*files.File {
	var inputs []*files.File
	for _, r := range c.readers {
		inputs = append(inputs, r.Inputs()...)
	}
	return inputs
}
