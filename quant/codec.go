package quant

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// codec is what this package knows of one tensor type. Its functions take any
// number of whole blocks, in slices of matching length, and do not allocate.
type codec struct {
	// quantize takes rows, one after another, if importance is nil. Otherwise
	// it takes one row, and as many importances; types that have no use for
	// them ignore them.
	quantize func(dst []byte, src, importance []float32)
	// weighted takes rows, one after another, with as many importances as a row
	// has values. Types without it use quantize.
	weighted   func(dst []byte, src, importance []float32)
	dequantize func(dst []float32, src []byte)
	grid       *grid // of an IQ type that has one
	// A block is valid when the numbers in it are finite: those of type float, at
	// the offsets floats, and what greatest returns where a block has others.
	float    gguf.Type
	floats   []int
	greatest func(block []byte) float32
}

// codecs is indexed by tensor type. Each entry is defined in the file named
// after its type.
var codecs = [...]codec{
	gguf.F32:     f32,
	gguf.F16:     f16,
	gguf.BF16:    bf16,
	gguf.Q1_0:    q10,
	gguf.Q2_0:    q20,
	gguf.Q4_0:    q40,
	gguf.Q4_1:    q41,
	gguf.Q5_0:    q50,
	gguf.Q5_1:    q51,
	gguf.Q8_0:    q80,
	gguf.Q2_K:    q2K,
	gguf.Q3_K:    q3K,
	gguf.Q4_K:    q4K,
	gguf.Q5_K:    q5K,
	gguf.Q6_K:    q6K,
	gguf.IQ1_S:   iq1S,
	gguf.IQ1_M:   iq1M,
	gguf.IQ2_XXS: iq2XXS,
	gguf.IQ2_XS:  iq2XS,
	gguf.IQ2_S:   iq2S,
	gguf.IQ3_XXS: iq3XXS,
	gguf.IQ3_S:   iq3S,
	gguf.IQ4_NL:  iq4NL,
	gguf.IQ4_XS:  iq4XS,
	gguf.TQ1_0:   tq10,
	gguf.TQ2_0:   tq20,
	gguf.MXFP4:   mxFP4,
	gguf.NVFP4:   nvFP4,
}

// find returns the codec of t, which has no functions if there is none.
func find(t gguf.Type) codec {
	if int(t) < len(codecs) {
		return codecs[t]
	}
	return codec{}
}

// CanQuantize reports whether Quantize can write blocks of type t.
func CanQuantize(t gguf.Type) bool { return find(t).quantize != nil }

// CanDequantize reports whether Dequantize and Validate can read blocks of
// type t.
func CanDequantize(t gguf.Type) bool { return find(t).dequantize != nil }

// NeedsImportance reports whether blocks of type t can be written only with an
// importance matrix, as ggml_quantize_requires_imatrix does.
func NeedsImportance(t gguf.Type) bool {
	return t == gguf.IQ2_XXS || t == gguf.IQ2_XS || t == gguf.IQ1_S
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
	if importance == nil && NeedsImportance(t) {
		return fmt.Errorf("%w: %s blocks cannot be written without importance matrix", gguf.ErrUnsupported, t)
	}
	mustBeRows(t, len(src), len(dst), rowLen)
	if importance == nil {
		c.quantize(dst, src, nil)
		return nil
	}
	if len(importance) != rowLen {
		panic(fmt.Sprintf("quant: rows of %d elements with %d importances", rowLen, len(importance)))
	}
	if c.weighted != nil {
		c.weighted(dst, src, importance)
		return nil
	}
	for rowBytes := int(t.RowBytes(int64(rowLen))); len(src) > 0; dst, src = dst[rowBytes:], src[rowLen:] {
		c.quantize(dst[:rowBytes], src[:rowLen], importance)
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
	var points []uint8
	if c.grid != nil {
		points = c.grid.read()
	}
	done := kernel.Dequantize(t, dst, src, points)
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

// Validate reports the first block of data, which holds blocks of type t, that
// has a NaN or an infinity where a number must be, as ggml_validate_row_data
// does. Blocks of a valid row dequantize to finite values: other than there, this
// goes for MXFP4 too, which has exponents that are too large for float32. The error wraps
// gguf.ErrUnsupported if t has no codec.
//
// Validate panics if data is not whole blocks.
func Validate(t gguf.Type, data []byte) error {
	c := find(t)
	if c.dequantize == nil {
		return fmt.Errorf("%w: %s blocks cannot be validated", gguf.ErrUnsupported, t)
	}
	blockBytes := t.BlockBytes()
	if len(data)%blockBytes != 0 {
		panic(fmt.Sprintf("quant: %d bytes are not whole blocks of %s", len(data), t))
	}
	if blockBytes <= 4 && allFinite(t, data) {
		return nil
	}
	for start := 0; start < len(data); start += blockBytes {
		if c.greatest != nil {
			if v := c.greatest(data[start:][:blockBytes]); math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("block %d of %s has values up to %v", start/blockBytes, t, v)
			}
		}
		for _, offset := range c.floats {
			if field := data[start+offset:]; !finite(c.float, field) {
				var v [1]float32
				find(c.float).dequantize(v[:], field[:c.float.BlockBytes()])
				return fmt.Errorf("block %d of %s has %v at byte %d", start/blockBytes, t, v[0], offset)
			}
		}
	}
	return nil
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
