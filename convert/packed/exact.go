package packed

import (
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// What formats have in common whose elements are integers times a scale: blocks of GGUF
// hold such without loss, if a float16 holds the scale.

// integers are rows of integers with a scale for each 32 of them.
type integers struct {
	k           int64 // elements of a row
	least, most int   // what the integers are between
	// read fills q with n rows of integers from row first on, and d with the float16 of
	// each 32.
	read func(q []int8, d []uint16, first, n int64) error
}

// integerTypes have integers from -limit to limit - 1 and a scale for each 32.
var integerTypes = []struct {
	gguf.Type
	limit int
}{{gguf.Q4_0, 8}, {gguf.Q5_0, 16}, {gguf.Q8_0, 128}}

// integerType returns the smallest type of blocks that holds all integers from least to
// most.
func integerType(least, most int) (t gguf.Type, ok bool) {
	for _, t := range integerTypes {
		if least >= -t.limit && most < t.limit {
			return t.Type, true
		}
	}
	return 0, false
}

// blocks returns the rows in the smallest type of blocks that holds them, nil if none does.
func (r integers) blocks() *weights.Blocks {
	t, ok := integerType(r.least, r.most)
	if !ok || r.k%32 != 0 {
		return nil
	}
	size := t.BlockBytes()
	return &weights.Blocks{Type: t, Read: func(dst []byte, first, n int64) error {
		const most = 32 // rows
		for n > 0 {
			some := min(n, most)
			s := integerScratch.Get().(*integerRows)
			s.resize(some * r.k)
			err := r.read(s.q, s.d, first, some)
			if err == nil {
				for i, d := range s.d {
					putIntegers(t, dst[i*size:][:size], d, (*[32]int8)(s.q[32*i:]))
				}
			}
			integerScratch.Put(s)
			if err != nil {
				return err
			}
			dst, first, n = dst[len(s.d)*size:], first+some, n-some
		}
		return nil
	}}
}

// integerRows are rows between being read and being put into blocks.
type integerRows struct {
	q []int8
	d []uint16
}

var integerScratch = sync.Pool{New: func() any { return new(integerRows) }}

func (s *integerRows) resize(n int64) {
	s.q, s.d = sized(s.q, n), sized(s.d, n/32)
}

// putIntegers stores 32 integers and their scale as a block, laid out as in package quant.
func putIntegers(t gguf.Type, block []byte, d uint16, q *[32]int8) {
	binary.LittleEndian.PutUint16(block, d)
	switch t {
	case gguf.Q4_0:
		for i := range 16 {
			block[2+i] = byte(q[i]+8)&15 | byte(q[i+16]+8)<<4
		}
	case gguf.Q5_0:
		high := uint32(0)
		for i := range 16 {
			low, up := byte(q[i]+16), byte(q[i+16]+16)
			block[6+i] = low&15 | up<<4
			high |= uint32(low>>4)<<i | uint32(up>>4)<<(i+16)
		}
		binary.LittleEndian.PutUint32(block[2:], high)
	case gguf.Q8_0:
		for i, v := range q {
			block[2+i] = byte(v)
		}
	default:
		panic(fmt.Sprintf("packed: integers in %s", t))
	}
}

// float16 returns the bits of f as a float16; ok is false if it is not one, or not finite.
func float16(f float32) (h uint16, ok bool) {
	b := math.Float32bits(f)
	sign, exponent, mantissa := uint16(b>>16)&0x8000, int(b>>23&0xff)-127, b&(1<<23-1)
	switch {
	case b<<1 == 0:
		return sign, true
	case exponent > 15 || exponent < -24:
		return 0, false
	case exponent >= -14:
		return sign | uint16(exponent+15)<<10 | uint16(mantissa>>13), mantissa&(1<<13-1) == 0
	}
	shift := 13 + -14 - exponent // of a subnormal number
	mantissa |= 1 << 23
	return sign | uint16(mantissa>>shift), mantissa&(1<<shift-1) == 0
}

// areFloat16 reports whether all values of a tensor are float16, and finite. It need not
// read those that are stored as such: whoever reads them checks them.
func areFloat16(r weights.Rows) (bool, error) {
	if r.Dtype() == weights.F16 {
		return true, nil
	}
	rows, length := weights.Count(r.Shape())
	values := make([]float32, length)
	for i := range rows {
		if err := r.ReadRows(values, i, 1); err != nil {
			return false, err
		}
		for _, v := range values {
			if _, ok := float16(v); !ok {
				return false, nil
			}
		}
	}
	return true, nil
}
