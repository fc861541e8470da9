package quant

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// codec is what this package knows of one tensor type. Its functions take any
// number of whole blocks, in slices of matching length, and do not allocate. Those of a
// type whose rows have a header (gguf.Type.Header) take one row, with its header.
type codec struct {
	// quantize takes rows, one after another, if importance is nil. Otherwise
	// it takes one row, and as many importances; types that have no use for
	// them ignore them.
	quantize func(dst []byte, src, importance []float32)
	// weighted takes rows, one after another, with as many importances as a row
	// has values. Types without it use quantize.
	weighted   func(dst []byte, src, importance []float32)
	dequantize func(dst []float32, src []byte)
	// needsImportance says that quantize does not take nil.
	needsImportance bool
	grid            *grid // of an IQ type that has one
	// A block is valid when the numbers in it are finite: its floats, and what
	// greatest returns where a block has others.
	greatest func(block []byte) float32

	// What the geometry of the type tells: see register.
	floats, header []float
}

// float is where a floating-point number is, in a block or in the header of a row.
type float struct {
	typ    gguf.Type
	offset int
}

// codecs is indexed by tensor type.
var codecs []codec

// register makes c the codec of t. Each is registered in the file named after its type.
func register(t gguf.Type, c codec) struct{} {
	for len(codecs) <= int(t) {
		codecs = append(codecs, codec{})
	}
	c.floats, c.header = floatsIn(t.Fields()), floatsIn(t.Header())
	codecs[t] = c
	return struct{}{}
}

func floatsIn(fields []gguf.Field) []float {
	var floats []float
	for _, f := range fields {
		switch f.Type {
		case gguf.F16, gguf.BF16, gguf.F32:
			for i := range f.Count {
				floats = append(floats, float{f.Type, f.Offset + i*f.Type.BlockBytes()})
			}
		}
	}
	return floats
}

// find returns the codec of t, which has no functions if there is none.
func find(t gguf.Type) *codec {
	if int64(t) < int64(len(codecs)) {
		return &codecs[t]
	}
	return &codec{}
}

// CanQuantize reports whether Quantize can write blocks of type t.
func CanQuantize(t gguf.Type) bool { return find(t).quantize != nil }

// CanDequantize reports whether Dequantize and Validate can read blocks of
// type t.
func CanDequantize(t gguf.Type) bool { return find(t).dequantize != nil }

// NeedsImportance reports whether blocks of type t can be written only with an
// importance matrix, as ggml_quantize_requires_imatrix does.
func NeedsImportance(t gguf.Type) bool { return find(t).needsImportance }

// Grid returns the points of the grid that blocks of an IQ1, IQ2 or IQ3 type have indices of,
// one after another: 8 levels each, 4 for IQ3. Levels count from 0; what they are worth is the
// type's business. Other types have none. The caller must not change them.
func Grid(t gguf.Type) []uint8 {
	if c := find(t); c.grid != nil {
		return c.grid.read()
	}
	return nil
}

// Quantize encodes src, rows of rowLen elements one after another, as blocks of type t,
// byte for byte as ggml's ggml_quantize_chunk does. importance has rowLen values, for the
// columns of every row: errors in a column count in proportion to them. F32, F16, BF16,
// Q8_0, MXFP4, NVFP4, Q1_0, Q2_0, TQ1_0 and TQ2_0 have nothing to choose and ignore it. It
// may be nil, but not if NeedsImportance(t).
//
// The error wraps gguf.ErrUnsupported if t has no codec, or if importance is nil and
// NeedsImportance(t). Values that are not finite, and importances that are negative or
// not finite, give blocks without meaning: see Validate.
//
// Quantize panics if rowLen is not whole blocks, src is not whole rows, dst is not
// exactly their size, or importance is not nil and not rowLen long.
func Quantize(t gguf.Type, dst []byte, src []float32, rowLen int, importance []float32) error {
	c := find(t)
	if c.quantize == nil {
		return fmt.Errorf("%w: %s blocks cannot be written", gguf.ErrUnsupported, t)
	}
	if importance == nil && c.needsImportance {
		return fmt.Errorf("%w: %s blocks cannot be written without importance matrix", gguf.ErrUnsupported, t)
	}
	mustBeRows(t, len(src), len(dst), rowLen)
	switch {
	case importance != nil && len(importance) != rowLen:
		panic(fmt.Sprintf("quant: rows of %d elements with %d importances", rowLen, len(importance)))
	case importance != nil && c.weighted != nil:
		c.weighted(dst, src, importance)
	case importance == nil && len(c.header) == 0:
		c.quantize(dst, src, nil)
	default:
		for rowBytes := int(t.RowBytes(int64(rowLen))); len(src) > 0; dst, src = dst[rowBytes:], src[rowLen:] {
			c.quantize(dst[:rowBytes], src[:rowLen], importance)
		}
	}
	return nil
}

// Dequantize decodes src, rows of rowLen elements of type t one after another, giving the
// values ggml's to_float does. The error wraps gguf.ErrUnsupported if t has no codec.
//
// Dequantize panics if rowLen is not whole blocks, src is not whole rows, or dst does not
// hold exactly their elements.
func Dequantize(t gguf.Type, dst []float32, src []byte, rowLen int) error {
	c := find(t)
	if c.dequantize == nil {
		return fmt.Errorf("%w: %s blocks cannot be read", gguf.ErrUnsupported, t)
	}
	mustBeRows(t, len(dst), len(src), rowLen)
	if len(c.header) > 0 {
		for rowBytes := int(t.RowBytes(int64(rowLen))); len(dst) > 0; dst, src = dst[rowLen:], src[rowBytes:] {
			c.dequantize(dst[:rowLen], src[:rowBytes])
		}
		return nil
	}
	done := kernel.Dequantize(t, dst, src, Grid(t))
	c.dequantize(dst[done:], src[t.RowBytes(int64(done)):])
	return nil
}

// mustBeRows panics unless elements are whole rows of rowLen that take so many bytes.
func mustBeRows(t gguf.Type, elements, bytes, rowLen int) {
	if elements == 0 && bytes == 0 {
		return
	}
	if rowLen <= 0 || elements%rowLen != 0 || int64(bytes) != int64(elements/rowLen)*t.RowBytes(int64(rowLen)) {
		panic(fmt.Sprintf("quant: %d elements in rows of %d of %s do not take %d bytes", elements, rowLen, t, bytes))
	}
}

// Validate reports the first block, or header of a row, of data that has a NaN or an
// infinity where a number must be, as ggml_validate_row_data does. data holds rows of
// rowLen elements of type t. Rows that are valid dequantize to finite values: other than
// there, this goes for MXFP4 too, which has exponents that are too large for float32. The
// error wraps gguf.ErrUnsupported if t has no codec.
//
// Validate panics if rowLen is not whole blocks, or data is not whole rows.
func Validate(t gguf.Type, data []byte, rowLen int) error {
	c := find(t)
	if c.dequantize == nil {
		return fmt.Errorf("%w: %s blocks cannot be validated", gguf.ErrUnsupported, t)
	}
	if len(data) == 0 {
		return nil
	}
	rowBytes, header, blockBytes := int(t.RowBytes(int64(rowLen))), t.HeaderBytes(), t.BlockBytes()
	if len(data)%rowBytes != 0 {
		panic(fmt.Sprintf("quant: %d bytes are not whole rows of %d elements of %s", len(data), rowLen, t))
	}
	if blockBytes <= 4 && allFinite(t, data) {
		return nil
	}
	if len(c.header) == 0 && c.greatest == nil && !slices.ContainsFunc(c.floats, func(f float) bool { return !f.finiteIn(data, blockBytes) }) {
		return nil
	}
	for row := 0; len(data) > 0; row, data = row+1, data[rowBytes:] {
		for _, f := range c.header {
			if !finite(f.typ, data[f.offset:]) {
				return &invalid{row*rowBytes + f.offset, fmt.Sprintf("row %d of %s has %v at byte %d", row, t, f.value(data), f.offset)}
			}
		}
		blocks := data[header:rowBytes]
		number := func(start int) int { return row*(len(blocks)/blockBytes) + start/blockBytes }
		for start := 0; start < len(blocks); start += blockBytes {
			block := blocks[start:]
			if c.greatest != nil {
				if v := c.greatest(block[:blockBytes]); math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					return &invalid{row*rowBytes + header + start, fmt.Sprintf("block %d of %s has values up to %v", number(start), t, v)}
				}
			}
			for _, f := range c.floats {
				if !finite(f.typ, block[f.offset:]) {
					return &invalid{row*rowBytes + header + start + f.offset, fmt.Sprintf("block %d of %s has %v at byte %d", number(start), t, f.value(block), f.offset)}
				}
			}
		}
	}
	return nil
}

// invalid is what Validate finds.
type invalid struct {
	at   int // byte of the data
	what string
}

func (e *invalid) Error() string { return e.what }

// finiteIn reports whether the number is finite in each of the blocks.
func (f float) finiteIn(blocks []byte, blockBytes int) bool {
	if f.typ == gguf.F16 { // as in most types: without looking at the type each time
		for at := f.offset; at < len(blocks); at += blockBytes {
			if ^binary.LittleEndian.Uint16(blocks[at:])&0x7c00 == 0 {
				return false
			}
		}
		return true
	}
	for at := f.offset; at < len(blocks); at += blockBytes {
		if !finite(f.typ, blocks[at:]) {
			return false
		}
	}
	return true
}

// value returns the number in b, a block or a header.
func (f float) value(b []byte) float32 {
	var v [1]float32
	find(f.typ).dequantize(v[:], b[f.offset:][:f.typ.BlockBytes()])
	return v[0]
}

// finite reports whether the number of type t that b starts with is neither
// NaN nor infinite: whether its exponent has a bit that is not set.
func finite(t gguf.Type, b []byte) bool {
	switch t {
	case gguf.F16:
		return ^binary.LittleEndian.Uint16(b)&0x7c00 != 0
	case gguf.BF16:
		return ^binary.LittleEndian.Uint16(b)&0x7f80 != 0
	default:
		return ^binary.LittleEndian.Uint32(b)&0x7f800000 != 0
	}
}

// allFinite is finite for all numbers in data, eight bytes at a time.
func allFinite(t gguf.Type, data []byte) bool {
	// One more at the end of an exponent sets the bit above it, the sign's, if
	// all bits of the exponent are set.
	var exponents, ones uint64
	switch t {
	case gguf.F16:
		exponents, ones = 0x7c00_7c00_7c00_7c00, 0x0400_0400_0400_0400
	case gguf.BF16:
		exponents, ones = 0x7f80_7f80_7f80_7f80, 0x0080_0080_0080_0080
	default:
		exponents, ones = 0x7f800000_7f800000, 0x00800000_00800000
	}
	var carries uint64
	for ; len(data) >= 32; data = data[32:] {
		carries |= binary.LittleEndian.Uint64(data)&exponents + ones
		carries |= binary.LittleEndian.Uint64(data[8:])&exponents + ones
		carries |= binary.LittleEndian.Uint64(data[16:])&exponents + ones
		carries |= binary.LittleEndian.Uint64(data[24:])&exponents + ones
	}
	var rest [32]byte
	copy(rest[:], data)
	for i := 0; i < len(rest); i += 8 {
		carries |= binary.LittleEndian.Uint64(rest[i:])&exponents + ones
	}
	signs := exponents + ones
	return carries&signs == 0
}
