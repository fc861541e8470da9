package quant

import (
	"encoding/binary"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/internal/kernel"
)

// A Q5_0 block is 32 values x = d*(q - 16):
//
//	0  d    F16
//	2  qh   uint32, bit i is bit 4 of element i
//	6  ql   16 bytes, byte i has bits 0 to 3 of element i in the low and of
//	        i+16 in the high bits
//
// d is the value of largest magnitude over -16. With importances, it is fitted.
var _ = register(gguf.Q5_0, codec{quantize: quantizeQ50, weighted: quantizeWeightedQ50, dequantize: dequantizeQ50})

func quantizeQ50(dst []byte, src, _ []float32) {
	for ; len(src) > 0; dst, src = dst[22:], src[32:] {
		n := kernel.QuantizeQ50(dst, src)
		if dst, src = dst[22*n:], src[32*n:]; len(src) == 0 {
			break
		}
		x, block := (*[32]float32)(src), (*[22]byte)(dst)
		var q [32]uint8
		d := extreme(x[:]) / -16
		putHalf(block[:], d)
		inverse := reciprocal(d)
		for i, v := range x {
			q[i] = uint8(min(31, truncate(float32(v*inverse)+16.5)))
		}
		binary.LittleEndian.PutUint32(block[2:], fifthBits(&q))
		packNibbles((*[16]byte)(block[6:]), &q)
	}
}

func quantizeWeightedQ50(dst []byte, src, importance []float32) {
	var work weightedBlocks
	for len(src) > 0 {
		n := work.fit(src, importance, 16)
		for b := range n {
			block, q := (*[22]byte)(dst[22*b:]), (*[32]uint8)(work.q[32*b:])
			putHalf(block[:], work.d[b])
			binary.LittleEndian.PutUint32(block[2:], fifthBits(q))
			packNibbles((*[16]byte)(block[6:]), q)
		}
		dst, src = dst[22*n:], src[32*n:]
	}
}

// fifthBits returns bit 4 of element i as bit i.
func fifthBits(q *[32]uint8) uint32 {
	var bits uint32
	for i := 0; i < 32; i += 8 {
		// The product has the lowest bits of the bytes in its highest byte.
		ones := eightBytes(q[i:]) >> 4 & ofEach(1)
		bits |= uint32(ones*0x0102040810204080>>56) << i
	}
	return bits
}

func dequantizeQ50(dst []float32, src []byte) {
	for ; len(src) > 0; dst, src = dst[32:], src[22:] {
		x, block := (*[32]float32)(dst), (*[22]byte)(src)
		d := half(block[:])
		high := binary.LittleEndian.Uint32(block[2:])
		for i := range 16 {
			q := block[6+i]
			x[i] = float32(int(uint32(q&15)|high>>i&1<<4)-16) * d
			x[i+16] = float32(int(uint32(q>>4)|high>>(i+16)&1<<4)-16) * d
		}
	}
}
