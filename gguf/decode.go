package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// maxHeader bounds what is read as header: everything before the tensor data.
// Headers with a vocabulary of 256 k tokens take about 20 MiB. It also bounds
// memory, since nothing is allocated that the header could not still contain.
const maxHeader = 256 << 20

// header is what a GGUF file says before its tensor data.
type header struct {
	version uint32
	order   binary.ByteOrder
	meta    *Metadata
	tensors []TensorInfo
	offsets []int64 // of each tensor, from the start of the file
	end     int64   // of the header, without padding
	data    int64   // where the data section starts
	// alignment is that of the metadata.
	alignment int64
}

// decoder reads the fields of a header and knows where it is. The first error
// sticks; later reads return zero values.
type decoder struct {
	r     *bufio.Reader
	order binary.ByteOrder
	off   int64 // of the next byte
	end   int64 // no field may reach beyond this
	field string
	err   error
}

func (d *decoder) fail(kind error, format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s at offset %d: %s", kind, d.field, d.off, fmt.Sprintf(format, args...))
	}
}

// need fails if the header cannot hold n more items of at least size bytes.
func (d *decoder) need(n uint64, size int64) bool {
	if d.err == nil && n > uint64(d.end-d.off)/uint64(size) {
		d.fail(ErrCorrupt, "%d times %d bytes are more than the %d that are left", n, size, d.end-d.off)
	}
	return d.err == nil
}

// count reads how many items of at least size bytes follow.
func (d *decoder) count(size int64) uint64 {
	n := d.uint64()
	if d.need(n, size) && n > maxCount {
		d.fail(ErrUnsupported, "%d, more than %d", n, maxCount)
	}
	return n
}

func (d *decoder) bytes(p []byte) {
	if d.err != nil {
		return
	}
	n, err := io.ReadFull(d.r, p)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		d.fail(ErrCorrupt, "the file ends")
	case err != nil:
		d.err = fmt.Errorf("%s at offset %d: %w", d.field, d.off, err)
	}
	d.off += int64(n)
}

func (d *decoder) uint32() uint32 {
	var b [4]byte
	if d.bytes(b[:]); d.err != nil {
		return 0
	}
	return d.order.Uint32(b[:])
}

func (d *decoder) uint64() uint64 {
	var b [8]byte
	if d.bytes(b[:]); d.err != nil {
		return 0
	}
	return d.order.Uint64(b[:])
}

func (d *decoder) string() string {
	n := d.uint64()
	if !d.need(n, 1) {
		return ""
	}
	b := make([]byte, n)
	d.bytes(b)
	return string(b)
}

// decodeArray reads n fixed-size items through a small buffer.
func decodeArray[T any](d *decoder, n uint64, size int, item func([]byte) T) []T {
	if !d.need(n, int64(size)) {
		return nil
	}
	out := make([]T, 0, n)
	buf := make([]byte, 4096)
	for d.err == nil && uint64(len(out)) < n {
		chunk := buf[:min(uint64(len(buf)/size), n-uint64(len(out)))*uint64(size)]
		d.bytes(chunk)
		for ; len(chunk) > 0; chunk = chunk[size:] {
			out = append(out, item(chunk))
		}
	}
	return out
}

// values reads n values of type t and returns them as a slice.
func (d *decoder) values(t valueType, n uint64) any {
	switch t {
	case typeUint8:
		return decodeArray(d, n, 1, func(b []byte) uint8 { return b[0] })
	case typeInt8:
		return decodeArray(d, n, 1, func(b []byte) int8 { return int8(b[0]) })
	case typeBool:
		return decodeArray(d, n, 1, func(b []byte) bool { return b[0] != 0 })
	case typeUint16:
		return decodeArray(d, n, 2, d.order.Uint16)
	case typeInt16:
		return decodeArray(d, n, 2, func(b []byte) int16 { return int16(d.order.Uint16(b)) })
	case typeUint32:
		return decodeArray(d, n, 4, d.order.Uint32)
	case typeInt32:
		return decodeArray(d, n, 4, func(b []byte) int32 { return int32(d.order.Uint32(b)) })
	case typeFloat32:
		return decodeArray(d, n, 4, func(b []byte) float32 { return math.Float32frombits(d.order.Uint32(b)) })
	case typeUint64:
		return decodeArray(d, n, 8, d.order.Uint64)
	case typeInt64:
		return decodeArray(d, n, 8, func(b []byte) int64 { return int64(d.order.Uint64(b)) })
	case typeFloat64:
		return decodeArray(d, n, 8, func(b []byte) float64 { return math.Float64frombits(d.order.Uint64(b)) })
	case typeString:
		if !d.need(n, valueTypes[typeString].size) {
			return nil
		}
		out := make([]string, 0, n)
		for range n {
			if d.err != nil {
				break
			}
			out = append(out, d.string())
		}
		return out
	case typeArray:
		d.fail(ErrUnsupported, "an array of arrays")
	default:
		d.fail(ErrCorrupt, "unknown value type %d", t)
	}
	return nil
}

// value reads one value of type t.
func (d *decoder) value(t valueType) any {
	var b [8]byte
	switch t {
	case typeArray:
		element := valueType(d.uint32())
		return d.values(element, d.uint64())
	case typeString:
		return d.string()
	case typeUint8:
		d.bytes(b[:1])
		return b[0]
	case typeInt8:
		d.bytes(b[:1])
		return int8(b[0])
	case typeBool:
		d.bytes(b[:1])
		return b[0] != 0
	case typeUint16:
		d.bytes(b[:2])
		return d.order.Uint16(b[:])
	case typeInt16:
		d.bytes(b[:2])
		return int16(d.order.Uint16(b[:]))
	case typeUint32:
		return d.uint32()
	case typeInt32:
		return int32(d.uint32())
	case typeFloat32:
		return math.Float32frombits(d.uint32())
	case typeUint64:
		return d.uint64()
	case typeInt64:
		return int64(d.uint64())
	case typeFloat64:
		return math.Float64frombits(d.uint64())
	}
	d.fail(ErrCorrupt, "unknown value type %d", t)
	return nil
}

// The least bytes that a tensor or a pair takes in a header.
const (
	minTensorInfo = 8 + 4 + 4 + 8
	minKV         = 8 + 4 + 1
)

// maxCount bounds the tensors and the pairs in a header, and so the time that it can
// take. The largest models have some 50,000 tensors with one for each expert.
const maxCount = 1 << 18

// decodeHeader reads the header of a file of the given size.
func decodeHeader(r io.ReaderAt, size int64) (*header, error) {
	h, err := decodeFields(r, size)
	if err != nil {
		return nil, err
	}
	return h, h.place(size)
}

// decodeFields reads the header of a file of the given size. Where the tensors are is as it is
// stored, from the start of the data section.
func decodeFields(r io.ReaderAt, size int64) (*header, error) {
	end := min(size, maxHeader)
	d := &decoder{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, end), 1<<16), order: binary.LittleEndian, end: end}

	d.field = "magic"
	var magic [4]byte
	d.bytes(magic[:])
	if d.err == nil && string(magic[:]) != "GGUF" {
		return nil, fmt.Errorf("%w: it starts with %q", ErrNotGGUF, magic[:])
	}
	d.field = "version"
	version := d.uint32()
	if version&0xffff == 0 && version != 0 {
		d.order = binary.BigEndian
		version = version >> 24
	}
	if d.err == nil && version != 2 && version != 3 {
		return nil, fmt.Errorf("%w: GGUF version %d, only 2 and 3 can be read", ErrUnsupported, version)
	}
	d.field = "tensor count"
	tensors := d.count(minTensorInfo)
	d.field = "metadata count"
	kvs := d.count(minKV)
	if d.err != nil {
		return nil, d.err
	}

	h := &header{version: version, order: d.order, meta: d.metadata(kvs)}
	h.tensors, h.offsets = d.tensorInfos(tensors)
	if d.err != nil {
		return nil, d.err
	}
	var err error
	if h.alignment, err = h.meta.Alignment(); err != nil {
		return nil, err
	}
	h.end = d.off
	h.data = alignTo(d.off, h.alignment)
	return h, nil
}

func (d *decoder) metadata(n uint64) *Metadata {
	m := &Metadata{}
	for i := range n {
		d.field = fmt.Sprintf("key %d of %d", i, n)
		key := d.string()
		if d.err != nil {
			break
		}
		if key == "" {
			d.fail(ErrCorrupt, "the key is empty")
			break
		}
		if _, dup := m.Get(key); dup {
			d.fail(ErrCorrupt, "%q is there twice", key)
			break
		}
		d.field = fmt.Sprintf("value of %q", key)
		v := d.value(valueType(d.uint32()))
		if d.err != nil {
			break
		}
		m.Set(key, v)
	}
	return m
}

// tensorInfos reads n tensor infos; the offsets are as stored, from the start
// of the data section.
func (d *decoder) tensorInfos(n uint64) ([]TensorInfo, []int64) {
	if d.err != nil {
		return nil, nil
	}
	tensors := make([]TensorInfo, 0, n)
	offsets := make([]int64, 0, n)
	seen := make(map[string]bool, n)
	for i := range n {
		d.field = fmt.Sprintf("name of tensor %d of %d", i, n)
		t := TensorInfo{Name: d.string()}
		d.field = fmt.Sprintf("tensor %q", t.Name)
		if seen[t.Name] {
			d.fail(ErrCorrupt, "it is there twice")
		}
		seen[t.Name] = true
		dims := d.uint32()
		if dims > MaxDims {
			d.fail(ErrCorrupt, "%d dimensions, at most %d are possible", dims, MaxDims)
		}
		for range dims {
			if d.err != nil {
				break
			}
			size := d.uint64()
			if size > math.MaxInt64 {
				d.fail(ErrCorrupt, "a dimension of %d", size)
			}
			t.Shape = append(t.Shape, int64(size))
		}
		t.Type = Type(d.uint32())
		offset := d.uint64()
		if offset > math.MaxInt64 {
			d.fail(ErrCorrupt, "a data offset of %d", offset)
		}
		if d.err != nil {
			break
		}
		if err := t.Check(); err != nil {
			d.err = fmt.Errorf("%w, at offset %d", err, d.off)
			break
		}
		tensors = append(tensors, t)
		offsets = append(offsets, int64(offset))
	}
	return tensors, offsets
}

// place turns the stored offsets into offsets from the start of the file,
// after checking that they are exactly what the tensors' sizes and the
// alignment make them, as ggml demands, and that the data is there.
func (h *header) place(size int64) error {
	data, next := h.data, int64(0)
	for i, t := range h.tensors {
		if h.offsets[i] != next {
			return fmt.Errorf("%w: tensor %q has data offset %d, %d is expected", ErrCorrupt, t.Name, h.offsets[i], next)
		}
		// The size was checked not to overflow; the sum is checked against the
		// file before it can.
		if t.Bytes() > size-data-next {
			return fmt.Errorf("%w: tensor %q needs %d bytes at offset %d, but the file ends at %d", ErrCorrupt, t.Name, t.Bytes(), data+next, size)
		}
		h.offsets[i] = data + next
		next = alignTo(next+t.Bytes(), h.alignment)
	}
	return nil
}

// alignTo rounds n up to a multiple of alignment, a power of two.
func alignTo(n, alignment int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }
