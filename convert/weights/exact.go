package weights

import (
	"sync"

	"github.com/ggufkit/ggufkit/gguf"
)

// Blocks are the rows of a tensor as blocks of a type of GGUF files. They hold the same
// values: nothing is rounded on the way.
type Blocks struct {
	Type gguf.Type
	// Scales are what all values of a block are multiplied with to get those of the
	// tensor, one for each of its matrices, or nil. NVFP4 has them.
	Scales []float32
	// Rounded says that Scales are reciprocals of what the tensor's values are divided by,
	// so that the last bit of a float32 may differ.
	Rounded bool
	// Inputs are what inputs of the matrices are to be divided by before they are rounded as
	// well, one for each, or nil. Values do not depend on them.
	Inputs []float32
	// Read fills dst with n rows from row first on. It is safe for concurrent use.
	Read func(dst []byte, first, n int64) error
}

// Exact returns r as a tensor whose values blocks of a type of GGUF may hold exactly,
// such as codes of 4 bits with a scale for each 32. The blocks that find returns must do
// so for every code that can be stored; without blocks, or with nil, they do not. It is
// called once, when it is asked for them, may read what decides it, such as scales and
// zero points, and fails where reading the rows would.
func Exact(r Rows, find func() (*Blocks, error)) Rows {
	return &exact{r, sync.OnceValues(find)}
}

type exact struct {
	Rows
	blocks func() (*Blocks, error)
}

func (e *exact) Operands() []Rows         { return []Rows{e.Rows} }
func (e *exact) Blocks() (*Blocks, error) { return e.blocks() }

// Packed is a tensor whose values blocks may hold exactly.
type Packed interface {
	Expression
	// Blocks returns these, or nil.
	Blocks() (*Blocks, error)
}

// BlocksOf returns the blocks that hold the values of a tensor exactly, or nil. A tensor
// that [Exact] returned can have them, and so can one whose rows are those of such
// tensors, in whatever order, as [Stack], [Slice] and [Interleave] make them, if all are
// in blocks of the same type.
func BlocksOf(r Rows) (*Blocks, error) {
	if p, ok := r.(Packed); ok {
		return p.Blocks()
	}
	return nil, nil
}

// Blocks implements Packed: those of the operands, arranged as the rows are.
func (a *arranged) Blocks() (*Blocks, error) {
	parts := make([]*Blocks, len(a.parts))
	var scales, inputs []float32
	rounded := false
	for i, p := range a.parts {
		b, err := BlocksOf(p)
		if b == nil || err != nil {
			return nil, err
		}
		if i > 0 && (b.Type != parts[0].Type || (b.Scales == nil) != (scales == nil)) {
			return nil, nil
		}
		parts[i], scales, rounded = b, append(scales, b.Scales...), rounded || b.Rounded
		inputs = append(inputs, b.Inputs...)
	}
	b := &Blocks{Type: parts[0].Type, Scales: scales, Rounded: rounded}
	if len(inputs) == len(scales) { // else some matrices have none
		b.Inputs = inputs
	}
	rowBytes := a.length / int64(b.Type.BlockSize()) * int64(b.Type.BlockBytes())
	b.Read = func(dst []byte, first, n int64) error {
		return arrange(dst, rowBytes, a.between(first, n), func(part int64, dst []byte, first, n int64) error {
			return parts[part].Read(dst, first, n)
		}, &raw)
	}
	return b, nil
}
