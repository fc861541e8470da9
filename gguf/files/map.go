package files

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"unsafe"
)

// ErrGone means that a part of a file that is mapped cannot be read, as a rule because the
// file was cut short.
var ErrGone = errors.New("the file was cut short after it was opened, or cannot be read")

// Mapping is a part of a file that is part of the process's memory: the operating system
// reads it when it is used and drops it when memory is short. Touching what is gone of
// the file ends the process, unless [Guard] is used.
type Mapping struct {
	name   string
	offset int64  // in the file, of pages
	pages  []byte // those that the part is in
	skip   int    // bytes of pages before it
}

// Map maps size bytes of the file from offset on. The caller must close the Mapping, and
// may close the file. The error wraps errors.ErrUnsupported where this cannot be done, as
// for what is no regular file.
func (f *File) Map(offset, size int64) (*Mapping, error) {
	r, ok := f.Object.(*regular)
	if !ok {
		return nil, fmt.Errorf("mapping %s: %w", f.Name(), errors.ErrUnsupported)
	}
	skip := offset % int64(os.Getpagesize())
	pages, err := mapPages(r.File, offset-skip, skip+size)
	if err != nil {
		return nil, fmt.Errorf("mapping %s: %w", f.Name(), err)
	}
	return &Mapping{f.Name(), offset - skip, pages, int(skip)}, nil
}

// Data returns what is mapped. It must not be changed, nor used after Close.
func (m *Mapping) Data() []byte { return m.pages[m.skip:] }

// Close ends the mapping.
func (m *Mapping) Close() error { return unmapPages(m.pages) }

// Guard calls use, which may touch what is mapped. If a part that it touches is gone, the
// error wraps ErrGone and names file and offset, and what use was to do is not done. That
// holds for the goroutine of the call alone.
func Guard(use func() error, mappings ...*Mapping) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		fault := recover()
		if fault == nil {
			return
		}
		if err = faulted(fault, mappings); err == nil {
			panic(fault)
		}
	}()
	return use()
}

// faulted returns an error for a fault at an address of mapped data, nil for anything
// else.
func faulted(fault any, mappings []*Mapping) error {
	at, ok := fault.(interface{ Addr() uintptr })
	if !ok {
		return nil
	}
	for _, m := range mappings {
		start := uintptr(unsafe.Pointer(unsafe.SliceData(m.pages)))
		if offset := at.Addr() - start; at.Addr() >= start && offset < uintptr(len(m.pages)) {
			return fmt.Errorf("%s: offset %d: %w", m.name, m.offset+int64(offset), ErrGone)
		}
	}
	return nil
}
