package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// Map makes the tensors' data part of the process's memory, from where Rows gives
// it without copying: the operating system reads it when it is used and drops
// it when memory is short. Files must not be cut short as long as they are
// mapped: touching what is gone ends the process, unless Guard is used. The error wraps
// errors.ErrUnsupported where this cannot be done: on some systems, for sources
// that are not files, and for numbers in the other byte order. Map must not be
// called while Rows is.
func (f *File) Map() error {
	for _, sh := range f.shards[len(f.mappings):] {
		if sh.file == nil || sh.head.order == binary.BigEndian {
			return fmt.Errorf("%s: %w: its data cannot be mapped", sh.path, errors.ErrUnsupported)
		}
		m, err := sh.file.Map(0, sh.size)
		if err != nil {
			return err
		}
		f.mappings = append(f.mappings, m)
	}
	return nil
}

// Guard calls use, which may touch mapped rows. If a part of the file that it touches is
// gone or cannot be read, the error wraps ErrCorrupt, and what use was to do is not done.
// That holds for the goroutine of the call alone.
func (f *File) Guard(use func() error) error {
	err := files.Guard(use, f.mappings...)
	if errors.Is(err, files.ErrGone) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// Rows returns rows [first, first+n) of a tensor as ReadRows reads them, or nil if
// the file is not mapped. They must not be changed, nor used after Close.
func (f *File) Rows(tensor int, first, n int64) []byte {
	at := f.where[tensor]
	if at.shard >= len(f.mappings) {
		return nil
	}
	rowBytes := f.tensors[tensor].RowBytes()
	return f.mappings[at.shard].Data()[at.offset+first*rowBytes:][:n*rowBytes]
}
