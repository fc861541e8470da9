package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

const (
	// maxHeader is the limit the format sets.
	maxHeader = 100_000_000
	// maxTensors is above the largest models (91,000 in all their shards) and
	// bounds the time a header can take.
	maxTensors = 1 << 18
)

// Tensor is one tensor of a file.
type Tensor struct {
	Name  string
	Dtype Dtype
	// Shape has the row length last, as PyTorch prints it.
	Shape []int64

	file   *File
	offset int64 // from the start of the file
	size   int64 // in bytes
}

// Elements returns the number of elements.
func (t *Tensor) Elements() int64 { return t.size / int64(t.Dtype.Size()) }

// Read fills dst with the tensor's elements from number first on, in row-major
// order, as they are stored: little-endian, of type Dtype. dst must be whole
// elements and not reach past the end. Read is safe for concurrent use.
func (t *Tensor) Read(dst []byte, first int64) error {
	size := int64(t.Dtype.Size())
	if int64(len(dst))%size != 0 || first < 0 || first > t.Elements()-int64(len(dst))/size {
		return fmt.Errorf("%s: tensor %q: %d bytes from element %d on are outside its %d elements of %s", t.file.name, t.Name, len(dst), first, t.Elements(), t.Dtype)
	}
	offset := t.offset + first*size
	if n, err := t.file.r.ReadAt(dst, offset); n < len(dst) {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: the file was cut short after it was opened", gguf.ErrCorrupt)
		}
		return fmt.Errorf("%s: tensor %q at offset %d: %w", t.file.name, t.Name, offset, err)
	}
	return nil
}

// File is one safetensors file.
type File struct {
	name    string
	r       io.ReaderAt
	tensors []*Tensor
	input   *files.File // r, nil if the caller opened it
}

// Open opens the file at path. The caller must close it.
func Open(path string) (*File, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	file, err := NewFile(path, f, f.Size())
	if err != nil {
		f.Close()
		return nil, err
	}
	file.input = f
	return file, nil
}

// NewFile reads the header of a safetensors file of the given size; name is
// used in errors. The error wraps gguf.ErrCorrupt if the header breaks a rule
// of the format and gguf.ErrUnsupported if a data type is unknown.
func NewFile(name string, r io.ReaderAt, size int64) (*File, error) {
	f := &File{name: name, r: r}
	var length [8]byte
	if size < int64(len(length)) {
		return nil, fmt.Errorf("%w: %s: %d bytes are too short for a safetensors file", gguf.ErrCorrupt, name, size)
	}
	if _, err := r.ReadAt(length[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > size-int64(len(length)) {
		return nil, fmt.Errorf("%w: %s: a header of %d bytes at offset 8 is impossible in a file of %d bytes (the limit is %d)", gguf.ErrCorrupt, name, n, size, maxHeader)
	}
	header := make([]byte, n)
	if _, err := r.ReadAt(header, 8); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: header: %w", name, err)
	}
	if err := f.parse(header); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := f.checkLayout(8+int64(n), size); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	slices.SortFunc(f.tensors, func(a, b *Tensor) int { return strings.Compare(a.Name, b.Name) })
	return f, nil
}

// parse reads the header's tensors. Their offsets are still relative to the
// data.
func (f *File) parse(header []byte) error {
	corrupt := func(offset int64, err error) error {
		return fmt.Errorf("%w: header at offset %d: %w", gguf.ErrCorrupt, 8+offset, err)
	}
	dec := json.NewDecoder(bytes.NewReader(header))
	dec.DisallowUnknownFields()
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return corrupt(0, errors.New("not a JSON object"))
	}
	seen := make(map[string]bool)
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return corrupt(dec.InputOffset(), err)
		}
		name, at := tok.(string), dec.InputOffset()
		if seen[name] {
			return corrupt(at, fmt.Errorf("tensor %q is there twice", name))
		}
		seen[name] = true
		if name == "__metadata__" {
			var notes map[string]string
			if err := dec.Decode(&notes); err != nil {
				return corrupt(at, fmt.Errorf("__metadata__: %w", err))
			}
			continue
		}
		var entry struct {
			Dtype   Dtype   `json:"dtype"`
			Shape   []int64 `json:"shape"`
			Offsets []int64 `json:"data_offsets"`
		}
		if err := dec.Decode(&entry); err != nil {
			return corrupt(at, fmt.Errorf("tensor %q: %w", name, err))
		}
		if entry.Shape == nil || len(entry.Offsets) != 2 || entry.Offsets[0] < 0 || entry.Offsets[1] < entry.Offsets[0] {
			return corrupt(at, fmt.Errorf("tensor %q: shape %v and data_offsets %v are not those of a tensor", name, entry.Shape, entry.Offsets))
		}
		size := int64(entry.Dtype.Size())
		if size == 0 {
			return fmt.Errorf("%w: header at offset %d: tensor %q: data type %q", gguf.ErrUnsupported, 8+at, name, entry.Dtype)
		}
		for _, d := range entry.Shape {
			if d < 0 || d > 0 && size > math.MaxInt64/d {
				return corrupt(at, fmt.Errorf("tensor %q: impossible shape %v", name, entry.Shape))
			}
			size *= d
		}
		if have := entry.Offsets[1] - entry.Offsets[0]; have != size {
			return corrupt(at, fmt.Errorf("tensor %q: %s %v takes %d bytes, data_offsets %v give it %d", name, entry.Dtype, entry.Shape, size, entry.Offsets, have))
		}
		if len(f.tensors) == maxTensors {
			return corrupt(at, fmt.Errorf("more than %d tensors", maxTensors))
		}
		f.tensors = append(f.tensors, &Tensor{Name: name, Dtype: entry.Dtype, Shape: entry.Shape, file: f, offset: entry.Offsets[0], size: size})
	}
	if _, err := dec.Token(); err != nil {
		return corrupt(dec.InputOffset(), err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return corrupt(dec.InputOffset(), errors.New("something follows the JSON object"))
	}
	return nil
}

// checkLayout makes offsets absolute and checks that the tensors fill the data
// without gaps or overlaps.
func (f *File) checkLayout(data, size int64) error {
	slices.SortFunc(f.tensors, func(a, b *Tensor) int {
		if a.offset != b.offset {
			if a.offset < b.offset {
				return -1
			}
			return 1
		}
		// Empty tensors may share an offset with the one that follows.
		return int(min(max(a.size-b.size, -1), 1))
	})
	end := int64(0)
	for _, t := range f.tensors {
		if t.offset != end {
			return fmt.Errorf("%w: tensor %q starts at offset %d, the one before it ends at %d", gguf.ErrCorrupt, t.Name, data+t.offset, data+end)
		}
		if t.size > size-data-end {
			return fmt.Errorf("%w: tensor %q at offset %d needs %d bytes, the file ends after %d", gguf.ErrCorrupt, t.Name, data+end, t.size, size-data-end)
		}
		end += t.size
		t.offset += data
	}
	if data+end != size {
		return fmt.Errorf("%w: the last tensor ends at offset %d, the file at %d", gguf.ErrCorrupt, data+end, size)
	}
	return nil
}

// Tensors returns the tensors in the order of their names. The caller must not
// change the slice.
func (f *File) Tensors() []*Tensor { return f.tensors }

// Inputs returns the file if Open opened it.
func (f *File) Inputs() []*files.File {
	if f.input == nil {
		return nil
	}
	return []*files.File{f.input}
}

// Close closes the file if Open opened it.
func (f *File) Close() error {
	if f.input == nil {
		return nil
	}
	return f.input.Close()
}
