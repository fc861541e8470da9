package main

import (
	"encoding/binary"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// constants are 32 bytes each, or 64, but for a table.
type constants struct {
	table Mem
	size  int
	at    map[string]Mem
	// halfPowers has the scales of MXFP4 by their exponents, as halfPower of package quant: half of
	// powers of two, the first two of which are subnormal.
	halfPowers Mem
	// registers have constants that the kernel under way has loaded.
	registers map[Mem]reg.VecVirtual
}

func newConstants() *constants {
	c := &constants{at: make(map[string]Mem), halfPowers: GLOBL("rowdotHalfPowers", RODATA|NOPTR)}
	for e := range 256 {
		DATA(4*e, U32(math.Float32bits(float32(math.Ldexp(1, e-128)))))
	}
	c.table = GLOBL("rowdotConstants", RODATA|NOPTR)
	return c
}

// bytes returns a constant by its bytes.
func (c *constants) bytes(value func(i int) int) Mem { return c.add(32, value) }

// add returns a constant by its n bytes.
func (c *constants) add(n int, value func(i int) int) Mem {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(value(i))
	}
	if m, ok := c.at[string(b)]; ok {
		return m
	}
	start := c.size
	for ; c.size < start+n; c.size += 8 {
		DATA(c.size, U64(binary.LittleEndian.Uint64(b[c.size-start:])))
	}
	c.at[string(b)] = c.table.Offset(start)
	return c.at[string(b)]
}

// register returns a constant in a register, which stays.
func (c *constants) register(m Mem) reg.VecVirtual {
	r, ok := c.registers[m]
	if !ok {
		r = load(m)
		c.registers[m] = r
	}
	return r
}

// same returns a constant of equal bytes.
func (c *constants) same(value int) Mem { return c.bytes(func(int) int { return value }) }

// words returns a constant by its 16-bit words.
func (c *constants) words(value func(i int) int) Mem {
	return c.bytes(func(i int) int { return value(i/2) >> (i % 2 * 8) })
}

// sameWords returns a constant of equal words.
func (c *constants) sameWords(value int) Mem { return c.words(func(int) int { return value }) }

// doublewords returns a constant by its 32-bit integers.
func (c *constants) doublewords(value func(i int) int) Mem {
	return c.words(func(i int) int { return value(i/2) >> (i % 2 * 16) })
}

// pick returns what shuffles words: to word i that with the given number in its half of a vector.
func (c *constants) pick(word func(i int) int) Mem {
	return c.bytes(func(i int) int { return 2*word(i/2) + i%2 })
}

// pickBytes returns what shuffles bytes to the lower halves of words, and clears the upper ones.
func (c *constants) pickBytes(number func(i int) int) Mem {
	return c.bytes(func(i int) int { return number(i/2) + i%2*0x80 })
}
