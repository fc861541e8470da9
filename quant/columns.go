package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// ColumnsQ40 makes blocks of Q4_0 of codes that are in columns, as GPTQ has them: for each
// scale of d, a float16, one at dst[i*stride:]. Its 32 codes, of 4 bits from the lowest
// on, are in four little-endian words of 32 bits, the first at words[4*i:] and each next
// one width words behind. An element is d * (code - 8).
func ColumnsQ40(dst []byte, stride int, d []uint16, words []byte, width int) {
	n := kernel.ColumnsQ40(dst, stride, d, words, width)
	word := func(i, row int) uint32 { return binary.LittleEndian.Uint32(words[4*(row*width+i):]) }
	for i := n; i < len(d); i++ {
		block := dst[i*stride:][:18]
		binary.LittleEndian.PutUint16(block, d[i])
		binary.LittleEndian.PutUint64(block[2:], nibblePairs(word(i, 0), word(i, 2)))
		binary.LittleEndian.PutUint64(block[10:], nibblePairs(word(i, 1), word(i, 3)))
	}
}

// nibblePairs returns eight bytes, the low bits of which are the nibbles of low and the
// high bits those of high.
func nibblePairs(low, high uint32) uint64 {
	const nibbles = 0x0f0f0f0f
	even, odd := low&nibbles|high&nibbles<<4, low>>4&nibbles|high&^nibbles
	x := uint64(even) | uint64(odd)<<32 // and now its halves byte by byte
	t := (x ^ x>>16) & 0x00000000ffff0000
	x ^= t ^ t<<16
	t = (x ^ x>>8) & 0x0000ff000000ff00
	return x ^ t ^ t<<8
}
