package packed

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// What formats have in common that store rows as columns of words: GPTQ and AWQ.

// groupSize returns how many of the k elements of a row each group has, but the last, which
// may have less: what the configuration says, or, where so many groups are not of that size,
// all as many. It is 0 if they cannot have as many.
func groupSize(k, groups, configured int64) int64 {
	switch {
	case configured > 0 && configured <= k && (k+configured-1)/configured == groups:
		return configured
	case k%groups == 0:
		return k / groups
	}
	return 0
}

// groupLayout says what codes of so many bits are, of which groups of a row's k elements share a
// scale: 4-bit g128.
func groupLayout(bits, size, k int64) string {
	if size >= k {
		return fmt.Sprintf("%d-bit per row", bits)
	}
	return fmt.Sprintf("%d-bit g%d", bits, size)
}

// inBlocks reads n rows of k elements from row first on, some at a time, so that what
// they are unpacked from stays small.
func inBlocks(dst []float32, k, first, n int64, read func(dst []float32, first, n int64) error) error {
	const most = 256 // rows
	for n > 0 {
		some := min(n, most)
		if err := read(dst[:some*k], first, some); err != nil {
			return err
		}
		dst, first, n = dst[some*k:], first+some, n-some
	}
	return nil
}

// sized returns a slice of so many elements, in the memory of s if that is enough. What
// they are is of no meaning.
func sized[T any](s []T, n int64) []T { return slices.Grow(s[:0], int(n))[:n] }

// bitField returns number i of the fields of so many bits that a stream of words has.
func bitField(stream []byte, i, bits int64) uint32 {
	at := i * bits
	w := uint32(stream[at/8])
	if at%8+bits > 8 {
		w |= uint32(stream[at/8+1]) << 8
	}
	return w >> (at % 8) & (1<<bits - 1)
}

// scaleColumns reads columns of scales, which must be numbers, of a matrix called name, into a
// slice whose memory is used again.
func scaleColumns(scales *[]float32, name string, r weights.Rows, first, n int64) error {
	rows, _ := weights.Count(r.Shape())
	raw := getBytes(rows * n * int64(r.Dtype().Size()))
	defer byteScratch.Put(raw)
	if err := weights.ReadColumns(r, *raw, first, n); err != nil {
		return err
	}
	*scales = sized(*scales, rows*n)
	r.Dtype().Float32(*scales, *raw)
	if i := slices.IndexFunc(*scales, isNotFinite); i >= 0 {
		return notFinite(name, first, n, i, (*scales)[i])
	}
	return nil
}

func notFinite(name string, first, n int64, i int, scale float32) error {
	return fmt.Errorf("%w: tensor %.200q: scale %d of row %d is %v", gguf.ErrCorrupt, name, int64(i)/n, first+int64(i)%n, scale)
}

// halfColumns is scaleColumns for scales that are float16.
func halfColumns(scales *[]uint16, name string, r weights.Rows, first, n int64) error {
	if r.Dtype() != weights.F16 {
		var floats []float32
		err := scaleColumns(&floats, name, r, first, n)
		*scales = sized(*scales, int64(len(floats)))
		for i, s := range floats {
			(*scales)[i], _ = float16(s)
		}
		return err
	}
	rows, _ := weights.Count(r.Shape())
	raw := getBytes(2 * rows * n)
	defer byteScratch.Put(raw)
	if err := weights.ReadColumns(r, *raw, first, n); err != nil {
		return err
	}
	*scales = sized(*scales, rows*n)
	for i := range *scales {
		(*scales)[i] = binary.LittleEndian.Uint16((*raw)[2*i:])
	}
	const exponent = 0x1f << 10
	if i := slices.IndexFunc(*scales, func(h uint16) bool { return h&exponent == exponent }); i >= 0 {
		var scale [1]float32
		weights.F16.Float32(scale[:], (*raw)[2*i:][:2])
		return notFinite(name, first, n, i, scale[0])
	}
	return nil
}

// wordColumns reads columns of words as weights.ReadColumns does. Where a file can be looked
// at, they are copied from there: one call to the system for each row would take longer.
func wordColumns(dst []byte, r weights.Rows, first, n int64) error {
	height, width := weights.Count(r.Shape())
	err := weights.View(r, func(data []byte) error {
		for row := range height {
			copy(dst[4*row*n:][:4*n], data[4*(row*width+first):])
		}
		return nil
	})
	if errors.Is(err, errors.ErrUnsupported) {
		err = weights.ReadColumns(r, dst, first, n)
	}
	return err
}
