package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Map makes the tensors' data part of the process's memory, from where Rows gives
// it without copying: the operating system reads it when it is used and drops
// it when memory is short. Files must not be cut short as long as they are
// mapped: touching what is gone ends the process. The error wraps
// errors.ErrUnsupported where this cannot be done: on some systems, for sources
// that are not files, and for numbers in the other byte order. Map must not be
// called while Rows is.
func (f *File) Map() error {
	for i := range f.shards {
		sh := &f.shards[i]
		if sh.mapping != nil {
			continue
		}
		if sh.file == nil || sh.head.order == binary.BigEndian {
			return fmt.Errorf("%s: %w: its data cannot be mapped", sh.path, errors.ErrUnsupported)
		}
		var err error
		if sh.mapping, err = mapFile(sh.file.File, sh.size); err != nil {
			return fmt.Errorf("mapping %s: %w", sh.path, err)
		}
	}
	return nil
}

// Rows returns rows [first, first+n) of a tensor as ReadRows reads them, or nil if
// the file is not mapped. They must not be changed, nor used after Close.
func (f *File) Rows(tensor int, first, n int64) []byte {
	at := f.where[tensor]
	mapping := f.shards[at.shard].mapping
	if mapping == nil {
		return nil
	}
	rowBytes := f.tensors[tensor].RowBytes()
	return mapping[at.offset+first*rowBytes:][:n*rowBytes]
}
