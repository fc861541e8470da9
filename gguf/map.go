package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"unsafe"
)

// Map makes the tensors' data part of the process's memory, from where Rows gives
// it without copying: the operating system reads it when it is used and drops
// it when memory is short. Files must not be cut short as long as they are
// mapped: touching what is gone ends the process, unless Guard is used. The error wraps
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

// Guard calls use, which may touch mapped rows. If a part of the file that it touches is
// gone or cannot be read, the error wraps ErrCorrupt, and what use was to do is not done.
// That holds for the goroutine of the call alone.
func (f *File) Guard(use func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		fault := recover()
		if fault == nil {
			return
		}
		if err = f.faulted(fault); err == nil {
			panic(fault)
		}
	}()
	return use()
}

// faulted returns an error for a fault at an address of mapped data, nil for anything
// else.
func (f *File) faulted(fault any) error {
	at, ok := fault.(interface{ Addr() uintptr })
	if !ok {
		return nil
	}
	for _, sh := range f.shards {
		if sh.mapping == nil {
			continue
		}
		start := uintptr(unsafe.Pointer(unsafe.SliceData(sh.mapping)))
		if offset := at.Addr() - start; at.Addr() >= start && offset < uintptr(len(sh.mapping)) {
			return fmt.Errorf("%s: offset %d: %w: the file was cut short after it was opened, or cannot be read", sh.path, offset, ErrCorrupt)
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
