package imatrix

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// maxName bounds the names in a .dat file; ggml's are shorter than 64 bytes,
// paths of data sets may be longer.
const maxName = 4096

// legacyReader reads the fields of a .dat file. The first error sticks; later
// reads return zero values.
type legacyReader struct {
	r    *bufio.Reader
	off  int64 // of the next byte
	size int64
	err  error
}

func (d *legacyReader) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: at offset %d: %s", gguf.ErrCorrupt, d.off, fmt.Sprintf(format, args...))
	}
}

func (d *legacyReader) bytes(n int64) []byte {
	if d.err != nil {
		return nil
	}
	if n > d.size-d.off {
		d.fail("%d bytes are needed, but the file ends at %d", n, d.size)
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(d.r, b); err != nil {
		d.err = fmt.Errorf("at offset %d: %w", d.off, err)
	}
	d.off += n
	return b
}

func (d *legacyReader) int32() int32 {
	b := d.bytes(4)
	if d.err != nil {
		return 0
	}
	return int32(binary.LittleEndian.Uint32(b))
}

func (d *legacyReader) string() string {
	n := d.int32()
	if n < 0 || n > maxName {
		d.fail("a name of %d bytes", n)
	}
	return string(d.bytes(int64(n)))
}

// skip passes over n float32.
func (d *legacyReader) skip(n int64) {
	if d.err != nil {
		return
	}
	if n > (d.size-d.off)/4 {
		d.fail("%d values are announced, but the file ends at %d", n, d.size)
		return
	}
	for left := 4 * n; left > 0 && d.err == nil; {
		k, err := d.r.Discard(int(min(left, math.MaxInt32)))
		d.err = err
		left -= int64(k)
	}
	d.off += 4 * n
}

// readLegacy lists the tensors of a .dat file, little-endian: an int32 count;
// for each tensor its name, an int32 number of calls and one of values, and
// the values; then, in most files, an int32 number of chunks and the name of
// the data set. A name is an int32 length and its bytes.
func (m *Matrix) readLegacy(size int64) error {
	m.legacy = true
	d := &legacyReader{r: bufio.NewReader(io.NewSectionReader(m.r, 0, size)), size: size}
	n := d.int32()
	if n < 1 {
		d.fail("%d tensors", n)
	}
	for i := int32(0); i < n && d.err == nil; i++ {
		tensor := d.string()
		calls := d.int32()
		values := d.int32()
		if values < 1 {
			d.fail("tensor %q has %d values", tensor, values)
		}
		if _, dup := m.entries[tensor]; dup {
			d.fail("tensor %q is there twice", tensor)
		}
		// Without calls the values are taken as they are.
		m.entries[tensor] = entry{offset: d.off, values: int64(values), counts: []float32{float32(max(1, calls))}}
		d.skip(int64(values))
	}
	if d.err == nil && d.off < size {
		m.chunks = int64(max(0, d.int32()))
		if dataset := d.string(); dataset != "" {
			m.datasets = []string{dataset}
		}
	}
	if errors.Is(d.err, io.EOF) {
		d.err = fmt.Errorf("%w: the file ends at %d", gguf.ErrCorrupt, d.off)
	}
	return d.err
}

// WriteLegacy writes the sums in the .dat format, as llama-imatrix --output-format dat does: for each matrix its means,
// times the number of chunks of ChunkSize tokens that the one that has seen most has seen. Matrices that saw nothing are ones; tensors of which all
// saw nothing are left out. It is an error if a number does not fit into the 32 bits that it has there.
func (s *Sums) WriteLegacy(w io.Writer) error {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(s.tensors)) {
		if slices.Max(s.tensors[name].counts) > 0 {
			names = append(names, name)
		}
	}
	var b bytes.Buffer
	var failed error
	number := func(what string, n float64) int32 {
		if n > math.MaxInt32 && failed == nil {
			failed = fmt.Errorf("%w: %s is %.0f, more than the .dat format has room for", gguf.ErrUnsupported, what, n)
		}
		b.Write(binary.LittleEndian.AppendUint32(nil, uint32(int32(n))))
		return int32(n)
	}
	text := func(s string) {
		number("the length of a name", float64(len(s)))
		b.WriteString(s)
	}
	number("the number of tensors", float64(len(names)))
	size := float64(max(1, s.ChunkSize))
	for _, name := range names {
		t := s.tensors[name]
		text(name)
		calls := float32(number(name+": the number of chunks", math.Ceil(slices.Max(t.counts)/size)))
		number(name+": the number of values", float64(len(t.squares)))
		each := len(t.squares) / len(t.counts)
		for i, v := range t.squares {
			mean := float32(1)
			if count := t.counts[i/each]; count > 0 {
				mean = float32(v) / float32(count)
			}
			if mean *= calls; !(mean <= math.MaxFloat32) && failed == nil {
				failed = fmt.Errorf("%s: value %d is %v", name, i, mean)
			}
			b.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(mean)))
		}
		if _, err := b.WriteTo(w); err != nil {
			return err
		}
	}
	number("the number of chunks", float64(s.Chunks))
	dataset := ""
	if n := len(s.Datasets); n > 0 {
		dataset = s.Datasets[n-1]
	}
	text(dataset)
	if failed != nil {
		return failed
	}
	_, err := b.WriteTo(w)
	return err
}
