package imatrix

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// AppendBinary appends the sums as they are, in float64, so that they can be continued elsewhere. All numbers are little-endian: chunks and
// the number of tensors, 64 bits; then for each tensor, in the order of names, the length of its name, 32 bits, the name, the numbers of its counts and
// of its squares, 64 bits, and these. Datasets, and the size of the chunks, are not kept.
func (s *Sums) AppendBinary(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(s.Chunks))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s.tensors)))
	for _, name := range slices.Sorted(maps.Keys(s.tensors)) {
		t := s.tensors[name]
		b = binary.LittleEndian.AppendUint32(b, uint32(len(name)))
		b = append(b, name...)
		b = binary.LittleEndian.AppendUint64(b, uint64(len(t.counts)))
		b = binary.LittleEndian.AppendUint64(b, uint64(len(t.squares)))
		for _, values := range [][]float64{t.counts, t.squares} {
			for _, v := range values {
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
			}
		}
	}
	return b
}

// ReadBinary reads what AppendBinary wrote, all of b. The error wraps gguf.ErrCorrupt if it is something else.
func ReadBinary(b []byte) (*Sums, error) {
	size := len(b)
	corrupt := func() (*Sums, error) {
		return nil, fmt.Errorf("%w: sums that end before offset %d, or are more than they say", gguf.ErrCorrupt, size-len(b))
	}
	number := func(bytes int) (n uint64, ok bool) {
		if len(b) < bytes {
			return 0, false
		}
		n = uint64(binary.LittleEndian.Uint32(b))
		if bytes == 8 {
			n = binary.LittleEndian.Uint64(b)
		}
		b = b[bytes:]
		return n, true
	}
	chunks, ok := number(8)
	tensors, okTensors := number(8)
	if !ok || !okTensors || chunks > math.MaxInt32 {
		return corrupt()
	}
	s := &Sums{Chunks: int64(chunks)}
	last := ""
	for n := range tensors {
		length, ok := number(4)
		if !ok || length > uint64(len(b)) {
			return corrupt()
		}
		name := string(b[:length])
		b = b[length:]
		counts, ok := number(8)
		squares, okSquares := number(8)
		left := uint64(len(b)) / 8
		if !ok || !okSquares || counts > left || squares > left-counts || counts == 0 || squares%counts != 0 && counts > 1 || n > 0 && name <= last {
			return corrupt()
		}
		last = name
		t, err := s.tensor(name, int(counts), int(squares))
		if err != nil {
			return nil, err
		}
		for _, values := range [][]float64{t.counts, t.squares} {
			for i := range values {
				bits, _ := number(8)
				values[i] = math.Float64frombits(bits)
			}
		}
	}
	if len(b) > 0 {
		return corrupt()
	}
	return s, nil
}
