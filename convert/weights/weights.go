package weights

import (
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
)

// Rows is a tensor whose rows can be read. The methods are safe for concurrent use.
type Rows interface {
	// Shape has the row length last, as PyTorch prints it. The caller must not change it.
	Shape() []int64
	// Dtype is the type of the elements.
	Dtype() Dtype
	// Grain is how many rows, from a multiple of it on, are best read together: 1 if
	// that makes no difference. Any rows can be read.
	Grain() int64
	// ReadRows fills dst with n rows from row first on, rounded to float32 where
	// Dtype has more bits. The length of dst must be that of the rows.
	ReadRows(dst []float32, first, n int64) error
	// ReadRaw fills dst with rows as they are stored: little-endian, of type Dtype.
	ReadRaw(dst []byte, first, n int64) error
}

// Expression is a tensor that is made of others.
type Expression interface {
	Rows
	// Operands returns these.
	Operands() []Rows
}

// Set is tensors by name.
type Set interface {
	// Names has all names in the order of the files that the tensors are read from.
	// The caller must not change the slice.
	Names() []string
	// Get returns the tensor of the given name, nil if there is none.
	Get(name string) Rows
}

// Count returns the number of rows of a tensor and their length. A vector is one
// row, and so is a single number.
func Count(shape []int64) (rows, length int64) {
	if len(shape) == 0 {
		return 1, 1
	}
	last := len(shape) - 1
	rows = 1
	for _, n := range shape[:last] {
		rows *= n
	}
	return rows, shape[last]
}

// Bytes returns how many bytes the elements of a tensor take as they are stored.
func Bytes(r Rows) int64 {
	rows, length := Count(r.Shape())
	return rows * length * int64(r.Dtype().Size())
}

// List is a Set that is put together tensor by tensor. The zero List is empty.
type List struct {
	names  []string
	byName map[string]Rows
}

// Add adds a tensor behind the others. The error wraps gguf.ErrCorrupt if there is
// one of that name.
func (l *List) Add(name string, r Rows) error {
	if _, ok := l.byName[name]; ok {
		return fmt.Errorf("%w: tensor %.200q is there twice", gguf.ErrCorrupt, name)
	}
	if l.byName == nil {
		l.byName = make(map[string]Rows)
	}
	l.names, l.byName[name] = append(l.names, name), r
	return nil
}

// Names implements Set.
func (l *List) Names() []string { return l.names }

// Get implements Set.
func (l *List) Get(name string) Rows { return l.byName[name] }
