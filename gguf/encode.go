package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// encodeHeader returns the bytes of a version 3 little-endian header for the
// metadata and tensors, without the padding in front of the data section, and the
// offset of every tensor from the start of the file followed by that of the
// end of the file, which includes the last tensor's padding: the first of these is
// where the data section starts.
func encodeHeader(m *Metadata, tensors []TensorInfo) (head []byte, offsets []int64, err error) {
	alignment, err := m.Alignment()
	if err != nil {
		return nil, nil, err
	}
	b := append(head, "GGUF"...)
	b = binary.LittleEndian.AppendUint32(b, 3)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Len()))
	for _, kv := range m.All() {
		b = appendString(b, kv.Key)
		b = appendValue(b, kv.Value)
	}
	seen := make(map[string]bool, len(tensors))
	next := int64(0)
	for _, t := range tensors {
		if err := t.Check(); err != nil {
			return nil, nil, err
		}
		if seen[t.Name] {
			return nil, nil, fmt.Errorf("%w: two tensors are called %q", ErrCorrupt, t.Name)
		}
		seen[t.Name] = true
		b = appendString(b, t.Name)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Shape)))
		for _, d := range t.Shape {
			b = binary.LittleEndian.AppendUint64(b, uint64(d))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
		b = binary.LittleEndian.AppendUint64(b, uint64(next))
		offsets = append(offsets, next)
		if t.Bytes() > math.MaxInt64-alignment-next {
			return nil, nil, fmt.Errorf("%w: the tensors up to %q are too large for one file", ErrCorrupt, t.Name)
		}
		next = alignTo(next+t.Bytes(), alignment)
	}
	offsets = append(offsets, next)
	data := alignTo(int64(len(b)), alignment)
	if data > maxHeader || m.Len() > maxCount {
		return nil, nil, fmt.Errorf("%w: a header of %d bytes and %d pairs of metadata, more than can be read again", ErrUnsupported, data, m.Len())
	}
	for i := range offsets {
		offsets[i] += data
	}
	return b, offsets, nil
}

// padTo appends zeros up to an offset of the file that head begins.
func padTo(head []byte, offset int64) []byte {
	return append(head, make([]byte, offset-int64(len(head)))...)
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}

func appendValue(b []byte, v any) []byte {
	t, array, err := valueTypeOf(v)
	if err != nil {
		panic("gguf: " + err.Error()) // Metadata.Set lets no such value in
	}
	if array {
		b = binary.LittleEndian.AppendUint32(b, uint32(typeArray))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(t))
	switch v := v.(type) {
	case string:
		return appendString(b, v)
	case []string:
		b = binary.LittleEndian.AppendUint64(b, uint64(len(v)))
		for _, s := range v {
			b = appendString(b, s)
		}
		return b
	}
	if array {
		b = binary.LittleEndian.AppendUint64(b, uint64(binary.Size(v))/uint64(valueTypes[t].size))
	}
	b, err = binary.Append(b, binary.LittleEndian, v)
	if err != nil {
		panic("gguf: " + err.Error())
	}
	return b
}
