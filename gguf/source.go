package gguf

import (
	"fmt"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// Source is a model as a GGUF file would hold it: ordered metadata, tensors
// under GGUF names and shapes, and their rows. A file is a Source; so is a
// checkpoint seen through its architecture's mapping, or another Source
// quantized as it is read. All methods are safe for concurrent use.
//
// What some can do beside is an interface each: FileSource, Prefetcher, Mapper, Grainer,
// Identifier, Combiner and Unpacker. Functions such as Prefetch look for them in a Source and in what it
// wraps: see Wrapper.
type Source interface {
	// Metadata returns the key-value pairs. The caller must not change them.
	Metadata() *Metadata
	// Tensors lists the tensors in file order. The caller must not change it.
	Tensors() []TensorInfo
	// ReadRows fills dst with rows [first, first+n) of the tensor with the
	// given index in Tensors, in the tensor's own type, little-endian.
	// len(dst) must be n times the tensor's RowBytes. A row is one vector
	// along the first dimension; rows are numbered through all the others.
	// It takes no context: a Source that may wait for long, such as one on a
	// network, is opened with one, and reading fails when that is done.
	ReadRows(dst []byte, tensor int, first, n int64) error
}

// FileSource is a Source that reads files, and says which. Write neither replaces
// them nor publishes what it made of files that were changed meanwhile.
type FileSource interface {
	Source
	// Inputs returns the open files that rows are read from.
	Inputs() []*files.File
}

// Inputs returns the files that rows of src are read from, as far as it or what it wraps
// is a FileSource.
func Inputs(src Source) []*files.File {
	if src, ok := src.(FileSource); ok {
		return src.Inputs()
	}
	var inputs []*files.File
	for i, t := range src.Tensors() {
		for o := range origins(src, i, 0, t.Rows()) {
			for _, file := range Inputs(o.Source) {
				if !slices.Contains(inputs, file) {
					inputs = append(inputs, file)
				}
			}
		}
	}
	return inputs
}

// Pinned is a Source that depends on nothing but its metadata, the types and shapes of its tensors, and files.
type Pinned interface {
	FileSource
	// Pin returns what tells its data from those of all Sources with the same metadata, types and shapes, without reading them: a hash of
	// what others say of the files, see files.Pin. It is "" if they do not.
	Pin() string
}

// Pin returns what tells the data of src from others, "" if they must be read for that. See Pinned.
func Pin(src Source) string {
	if src, ok := src.(Pinned); ok {
		return src.Pin()
	}
	return ""
}

// Unchanged returns an error that wraps files.ErrChanged if a file that rows of the
// sources are read from is not what it was when it was opened.
func Unchanged(sources ...Source) error {
	for _, src := range sources {
		if err := files.Unchanged(Inputs(src)); err != nil {
			return err
		}
	}
	return nil
}

// MaxDims is the largest number of dimensions a tensor can have.
const MaxDims = 4

// TensorInfo names a tensor and gives its type and shape.
type TensorInfo struct {
	Name string
	Type Type
	// Shape has the row length first, as GGUF and ggml store it: the reverse
	// of the order PyTorch prints.
	Shape []int64
}

// Dims returns the number of dimensions as ggml counts them: without those of size
// 1 at the end, but at least 1.
func (t TensorInfo) Dims() int {
	n := len(t.Shape)
	for n > 1 && t.Shape[n-1] == 1 {
		n--
	}
	return n
}

// SameShape reports whether two tensors have the same shape, but for dimensions of size 1 at the end.
func (t TensorInfo) SameShape(other TensorInfo) bool {
	return slices.Equal(trimmed(t).Shape, trimmed(other).Shape)
}

// RowLen returns the number of elements in a row.
func (t TensorInfo) RowLen() int64 {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[0]
}

// Rows returns the number of rows: the product of all dimensions but the first.
func (t TensorInfo) Rows() int64 {
	rows := int64(1)
	for i := 1; i < len(t.Shape); i++ {
		rows *= t.Shape[i]
	}
	return rows
}

// Elements returns the number of elements.
func (t TensorInfo) Elements() int64 { return t.RowLen() * t.Rows() }

// RowBytes returns the size of one row in bytes.
func (t TensorInfo) RowBytes() int64 { return t.Type.RowBytes(t.RowLen()) }

// Bytes returns the size of the tensor's data, without padding.
func (t TensorInfo) Bytes() int64 { return t.RowBytes() * t.Rows() }

// Check reports what makes the tensor impossible to store: an empty name, an
// unknown type, a bad number or size of dimensions, a row that is not whole
// blocks, or a size that overflows.
func (t TensorInfo) Check() error {
	switch {
	case t.Name == "":
		return fmt.Errorf("%w: tensor without a name", ErrCorrupt)
	case !t.Type.Valid():
		return fmt.Errorf("%w: tensor %q has unknown %s", ErrUnsupported, t.Name, t.Type)
	case len(t.Shape) > MaxDims:
		return fmt.Errorf("%w: tensor %q has %d dimensions, at most %d are possible", ErrCorrupt, t.Name, len(t.Shape), MaxDims)
	}
	elements := int64(1)
	for _, d := range t.Shape {
		if d <= 0 || elements > math.MaxInt64/8/d {
			return fmt.Errorf("%w: tensor %q has impossible shape %v", ErrCorrupt, t.Name, t.Shape)
		}
		elements *= d
	}
	if block := int64(t.Type.BlockSize()); t.RowLen()%block != 0 {
		return fmt.Errorf("%w: tensor %q has rows of %d elements, not a multiple of the %d in a block of %s", ErrCorrupt, t.Name, t.RowLen(), block, t.Type)
	}
	return nil
}

// CheckRows reports an error if [first, first+n) are not rows of t or if dst
// is not exactly their size. Implementations of Source call it first.
func (t TensorInfo) CheckRows(dst []byte, first, n int64) error {
	if first < 0 || n < 0 || first > t.Rows()-n {
		return fmt.Errorf("tensor %q: rows [%d, %d) are outside its %d rows", t.Name, first, first+n, t.Rows())
	}
	if want := n * t.RowBytes(); int64(len(dst)) != want {
		return fmt.Errorf("tensor %q: %d rows need a buffer of %d bytes, not %d", t.Name, n, want, len(dst))
	}
	return nil
}
