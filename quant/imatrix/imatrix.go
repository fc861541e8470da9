package imatrix

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// Matrix is an open importance-matrix file. Its methods may be called
// concurrently.
type Matrix struct {
	name     string
	r        io.ReaderAt
	input    *files.File // r, nil if that is the caller's
	borrowed bool        // another Matrix closes it
	order    binary.ByteOrder
	entries  map[string]entry
	datasets []string
	chunks   int64
	chunk    int64 // tokens
	legacy   bool  // of the .dat format
}

// entry is where the sums of one tensor are, and what to divide them by.
type entry struct {
	offset int64
	values int64 // in all matrices of the tensor together
	// counts has the rows seen by each matrix; they share the values evenly.
	counts []float32
}

// Open opens the file at path. Errors wrap gguf.ErrCorrupt or
// gguf.ErrUnsupported, or come from the operating system.
func Open(path string) (*Matrix, error) {
	file, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	m, err := New(file, file.Size(), path)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	m.input = file
	return m, nil
}

// New reads an importance matrix of size bytes from r, as Open does from a
// path. The name stands for the file in errors and is what Name returns. Close
// does not close r.
func New(r io.ReaderAt, size int64, name string) (*Matrix, error) {
	m := &Matrix{name: name, r: r, order: binary.LittleEndian, entries: make(map[string]entry)}
	err := m.readGGUF(size)
	if errors.Is(err, gguf.ErrNotGGUF) {
		if err = m.readLegacy(size); err != nil {
			err = fmt.Errorf("%s, read as an importance matrix of the .dat format: %w", name, err)
		}
	}
	if err != nil {
		return nil, err
	}
	for _, tensor := range m.Tensors() {
		if err := m.check(tensor); err != nil {
			return nil, fmt.Errorf("%s: tensor %q: %w", name, tensor, err)
		}
	}
	return m, nil
}

// check reads all sums of a tensor once.
func (m *Matrix) check(tensor string) error {
	e := m.entries[tensor]
	buf := make([]float32, min(e.values, 16<<10))
	for first := int64(0); first < e.values; first += int64(len(buf)) {
		sums := buf[:min(int64(len(buf)), e.values-first)]
		if err := m.sums(sums, e, first); err != nil {
			return err
		}
		for i, sum := range sums {
			if !(sum >= 0 && sum <= math.MaxFloat32) {
				return fmt.Errorf("%w: the sum of squares number %d, at offset %d, is %v", gguf.ErrCorrupt, first+int64(i), e.offset+4*(first+int64(i)), sum)
			}
		}
	}
	return nil
}

// Close closes the file.
func (m *Matrix) Close() error {
	if m.input == nil || m.borrowed {
		return nil
	}
	return m.input.Close()
}

// Inputs returns the file if Open opened it.
func (m *Matrix) Inputs() []*files.File {
	if m.input == nil {
		return nil
	}
	return []*files.File{m.input}
}

// Name returns the path that was opened, as it was given.
func (m *Matrix) Name() string { return m.name }

// Datasets returns the names of the calibration texts; there may be none.
func (m *Matrix) Datasets() []string { return m.datasets }

// Chunks returns the number of chunks of text that were processed, 0 if that
// is not known.
func (m *Matrix) Chunks() int64 { return m.chunks }

// ChunkSize returns how many tokens each of them had, 0 if that is not known.
func (m *Matrix) ChunkSize() int64 { return m.chunk }

// Tensors returns the names of the tensors the matrix has values for, sorted.
func (m *Matrix) Tensors() []string { return slices.Sorted(maps.Keys(m.entries)) }

// Values returns the number of values for a tensor: its row length times its
// number of experts. It is 0 for a tensor that is not there.
func (m *Matrix) Values(tensor string) int64 { return m.entries[tensor].values }

// Read fills dst with values [first, first+len(dst)) of a tensor: the mean
// squares of the inputs. Those of expert e begin at e times the row length.
func (m *Matrix) Read(dst []float32, tensor string, first int64) error {
	e, ok := m.entries[tensor]
	if !ok {
		return fmt.Errorf("%s has nothing for tensor %q", m.name, tensor)
	}
	if first < 0 || first > e.values-int64(len(dst)) {
		return fmt.Errorf("%s: tensor %q: values [%d, %d) are outside its %d", m.name, tensor, first, first+int64(len(dst)), e.values)
	}
	if err := m.sums(dst, e, first); err != nil {
		return fmt.Errorf("%s: tensor %q: %w", m.name, tensor, err)
	}
	each := e.values / int64(len(e.counts))
	for i := range dst {
		if count := e.counts[(first+int64(i))/each]; count > 0 {
			dst[i] /= count
		} else {
			dst[i] = 1
		}
	}
	return nil
}

// sums fills dst with the values of e as the file has them.
func (m *Matrix) sums(dst []float32, e entry, first int64) error {
	raw := make([]byte, 4*len(dst))
	offset := e.offset + 4*first
	if _, err := m.r.ReadAt(raw, offset); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: the file ends", gguf.ErrCorrupt)
		}
		return fmt.Errorf("%d values at offset %d: %w", len(dst), offset, err)
	}
	for i := range dst {
		dst[i] = math.Float32frombits(m.order.Uint32(raw[4*i:]))
	}
	return nil
}

// Unseen names the matrices of a tensor that no row of the calibration text
// reached.
type Unseen struct {
	Tensor   string
	Matrices []int // experts, in a mixture of experts
	Of       int   // how many matrices the tensor has
}

// Unseen returns the tensors with matrices that have no data, sorted by name.
// Files of the .dat format do not tell.
func (m *Matrix) Unseen() []Unseen {
	var all []Unseen
	for _, tensor := range m.Tensors() {
		counts := m.entries[tensor].counts
		u := Unseen{Tensor: tensor, Of: len(counts)}
		for i, count := range counts {
			if count == 0 {
				u.Matrices = append(u.Matrices, i)
			}
		}
		if u.Matrices != nil {
			all = append(all, u)
		}
	}
	return all
}

// Filter returns a view of m that has only the tensors for which keep returns
// true. It is open as long as m is.
func (m *Matrix) Filter(keep func(tensor string) bool) *Matrix {
	f := *m
	f.borrowed = true
	f.entries = maps.Clone(m.entries)
	maps.DeleteFunc(f.entries, func(tensor string, _ entry) bool { return !keep(tensor) })
	return &f
}
