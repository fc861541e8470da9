package packed

import (
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// What formats have in common whose tensors are runs of elements, whatever the matrix is:
// bitsandbytes and HQQ.

// count returns how many elements a tensor has.
func count(r weights.Rows) int64 {
	rows, length := weights.Count(r.Shape())
	return rows * length
}

// readElements fills dst with elements of a stored tensor, in the order of its rows, from
// the one at first on.
func readElements(r weights.Rows, dst []byte, first int64) error {
	rows, length := weights.Count(r.Shape())
	size := int64(r.Dtype().Size())
	n := int64(len(dst)) / size
	switch {
	case rows == 1:
		return weights.ReadColumns(r, dst, first, n)
	case length == 1:
		return r.ReadRaw(dst, first, n)
	}
	for n > 0 {
		row, at := first/length, first%length
		if at == 0 && n >= length {
			whole := n / length
			if err := r.ReadRaw(dst[:whole*length*size], row, whole); err != nil {
				return err
			}
			dst, first, n = dst[whole*length*size:], first+whole*length, n-whole*length
			continue
		}
		buf := make([]byte, length*size)
		if err := r.ReadRaw(buf, row, 1); err != nil {
			return err
		}
		some := min(length-at, n)
		copy(dst, buf[at*size:][:some*size])
		dst, first, n = dst[some*size:], first+some, n-some
	}
	return nil
}

// readBytes returns n bytes of a stored tensor from one on, whatever its type.
func readBytes(r weights.Rows, first, n int64) ([]byte, error) {
	size := int64(r.Dtype().Size())
	from, to := first/size, (first+n+size-1)/size
	data := make([]byte, (to-from)*size)
	err := readElements(r, data, from)
	return data[first-from*size:][:n], err
}

// readFloats returns n numbers of a stored tensor from the one at first on.
func readFloats(r weights.Rows, first, n int64) ([]float32, error) {
	raw := make([]byte, n*int64(r.Dtype().Size()))
	if err := readElements(r, raw, first); err != nil {
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
