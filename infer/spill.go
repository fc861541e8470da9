package infer

import (
	"context"
	"fmt"
	"os"
	"unsafe"
)

// spill is a file for the residual streams of models that are not in memory, one after the other.
type spill struct {
	file    *os.File
	workers []worker
	floats  int // of each model
}

// spillTask is how many floats one task reads or writes.
const spillTask = 1 << 20

// newSpill makes the file. Where /tmp is in memory, /var/tmp is not.
func newSpill(workers []worker) (*spill, error) {
	dir := os.TempDir()
	if _, err := os.Stat(persistent); err == nil && os.Getenv("TMPDIR") == "" {
		dir = persistent
	}
	file, err := os.CreateTemp(dir, "ggufkit-*.spill")
	if err != nil {
		return nil, fmt.Errorf("a file for what does not fit into the memory: %w", err)
	}
	_ = os.Remove(file.Name()) // where a file can be without a name it is gone with the process
	return &spill{file: file, workers: workers}, nil
}

// persistent is a folder for temporary files that may be large.
const persistent = "/var/tmp"

// close gives the room back.
func (s *spill) close() {
	_ = s.file.Close()
	_ = os.Remove(s.file.Name())
}

// write writes the stream of a model.
func (s *spill) write(ctx context.Context, x []float32, model int) error {
	return s.inParts(ctx, x, func(part []float32, first int) error {
		_, err := s.file.WriteAt(bytesOf(part), s.offset(model, first))
		return err
	})
}

// read reads a part of the stream of a model, from a number on.
func (s *spill) read(ctx context.Context, x []float32, model, at int) error {
	return s.inParts(ctx, x, func(part []float32, first int) error { return s.readPart(part, model, at+first) })
}

// inParts calls f for parts of x, each with the number of its first float.
func (s *spill) inParts(ctx context.Context, x []float32, f func(part []float32, first int) error) error {
	return parallel(ctx, s.workers, (len(x)+spillTask-1)/spillTask, func(_ *worker, task int) error {
		first := task * spillTask
		return f(x[first:min(len(x), first+spillTask)], first)
	})
}

// readPart is read at once.
func (s *spill) readPart(x []float32, model, at int) error {
	_, err := s.file.ReadAt(bytesOf(x), s.offset(model, at))
	return err
}

func (s *spill) offset(model, at int) int64 { return 4 * int64(model*s.floats+at) }

// bytesOf returns the memory of floats.
func bytesOf(x []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
