package packed

import (
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// What formats have in common whose tensors are runs of elements, whatever the matrix is:
// bitsandbytes and HQQ, and scales of others.

// count returns how many elements a tensor has.
func count(r weights.Rows) int64 {
	rows, length := weights.Count(r.Shape())
	return rows * length
}

// readBytes returns n bytes of a stored tensor from the one at first on, whatever its type, in
// buf, which it makes larger.
func readBytes(buf *[]byte, r weights.Rows, first, n int64) ([]byte, error) {
	size := int64(r.Dtype().Size())
	from, to := first/size, (first+n+size-1)/size
	*buf = sized(*buf, (to-from)*size)
	err := weights.ReadElements(r, *buf, from)
	return (*buf)[first-from*size:][:n], err
}

// readFloats returns n numbers of a stored tensor from the one at first on.
func readFloats(r weights.Rows, first, n int64) ([]float32, error) {
	raw := make([]byte, n*int64(r.Dtype().Size()))
	if err := weights.ReadElements(r, raw, first); err != nil {
		return nil, err
	}
	values := make([]float32, n)
	r.Dtype().Float32(values, raw)
	return values, nil
}

// finiteFloats is readFloats for a tensor, called name, whose elements must be numbers.
func finiteFloats(name string, r weights.Rows, first, n int64) ([]float32, error) {
	values, err := readFloats(r, first, n)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(values, isNotFinite); i >= 0 {
		return nil, fmt.Errorf("%w: tensor %.200q: element %d is %v", gguf.ErrCorrupt, name, first+int64(i), values[i])
	}
	return values, nil
}
