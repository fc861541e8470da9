package main

import "github.com/ggufkit/ggufkit/quant/_asm/neon"

// The K types, IQ4_XS and the ternary types, in super-blocks of 256 weights.

// addWithMinima adds what add does for integers and minima, of which the scales are
// the halves at offset.
func (r *row) addWithMinima(total, minima neon.Vector, offset int) {
	factors := r.Vector()
	r.Op("FMOVS %d(%v), F%d", offset, r.w, factors)
	r.FCVTL(factors, factors)
	r.FMULElement(factors, factors, r.scale(), 0)
	for _, v := range []neon.Vector{total, minima} {
		r.SCVTF(v, v, 0)
	}
	r.FMLAElement(r.sums[0], total, factors, 0)
	r.FMLSElement(r.sums[1], minima, factors, 1)
}

// sumProducts sets v to the products of the sums of the Vector8 and words, 8 in each
// vector.
func (r *row) sumProducts(v neon.Vector, words [2]neon.Vector) {
	r.Scope(func() {
		for i, sums := range r.load(r.x, sumsAt) {
			if i == 0 {
				r.SMULL(neon.H8, v, sums, words[i])
			} else {
				r.SMLAL(neon.H8, v, sums, words[i])
			}
			r.SMLAL2(neon.H8, v, sums, words[i])
		}
	})
}

// pair returns the bits 2*i and 2*i+1 of each byte.
func (r *row) pair(packed neon.Vector, i int, mask neon.Vector) neon.Vector {
	q := r.Vector()
	if i > 0 {
		r.USHR(neon.B16, q, packed, 2*i)
		packed = q
	}
	if i < 3 {
		r.AND(q, packed, mask)
	}
	return q
}

func beginQ2K(r *row) func() {
	nibble, mask := r.Same(15), r.Same(3)
	return func() {
		scales, minima, total := r.Vectors(4), r.Vector(), r.zero()
		r.Scope(func() {
			packed := r.nibbles(r.load16(0), nibble)
			r.words(packed[0], scales)
			words := [2]neon.Vector{r.Vector(), r.Vector()}
			r.SXTL(neon.B16, words[0], packed[1])
			r.SXTL2(neon.B16, words[1], packed[1])
			r.sumProducts(minima, words)
		})
		for part := range 4 {
			r.Scope(func() {
				packed := r.load16(16 + 16*part)
				for i := range 4 {
					r.Scope(func() {
						q, s := r.pair(packed, i, mask), part/2*8+2*i+part%2
						r.addSubBlock(total, []neon.Vector{q}, 16*s, scales[s/4], s%4)
					})
				}
			})
		}
		r.addWithMinima(total, minima, 80)
	}
}

func beginQ3K(r *row) func() {
	mask, ones := r.Same(0xe0), r.Same(0xff)
	return func() {
		scales, total := r.Vectors(4), r.zero()
		r.Scope(func() { r.words(r.ScalesQ3K(r.w), scales) })
		top := r.load(r.w, 0)
		for _, v := range top {
			r.EOR(v, v, ones)
		}
		for part := range 4 {
			r.Scope(func() {
				packed := r.load16(32 + 16*part)
				for i := range 4 {
					r.Scope(func() {
						// 4 less is, in the top three bits, the integer with its top bit
						// inverted.
						low, q, s := r.Vector(), r.Vector(), part/2*8+2*i+part%2
						r.SHL(neon.B16, low, packed, 6-2*i)
						r.SHL(neon.B16, q, top[part%2], 7-s/2)
						r.SRI(neon.B16, q, low, 1)
						r.AND(q, q, mask)
						r.addSubBlock(total, []neon.Vector{q}, 16*s, scales[s/4], s%4)
					})
				}
			})
		}
		r.add(total, 5+2, r.Half(r.w, 108))
	}
}

// beginScalesAndMinima is for Q4_K and Q5_K. It returns what puts the scales into
// two vectors and sets another to the products of minima and sums.
func beginScalesAndMinima(r *row) func(scales []neon.Vector, minima neon.Vector) {
	const none = 0xffffffff
	// For a table of the first 16 bytes of a block and the same shifted by four.
	low, lowMask := r.Bytes(0x0f0e0d0c_07060504, 0x1f1e1d1c_0b0a0908), r.Bytes(0x0f0f0f0f_3f3f3f3f, 0x0f0f0f0f_3f3f3f3f)
	// For one without the shifted bytes.
	top, topMask := r.Bytes(0x07060504_00000000|none, 0x0b0a0908_00000000|none), r.Same(0xc0)
	return func(scales []neon.Vector, minima neon.Vector) {
		r.Scope(func() {
			// Six bits each of eight scales, and then of eight minima: see scaleMin of
			// package quant. Of the last four of both, the top two bits are elsewhere.
			head := [2]neon.Vector{r.Vector(), r.Vector()}
			packed, high := r.Vector(), r.Vector()
			r.Load(head[0], r.w, 0)
			r.USHR(neon.B16, head[1], head[0], 4)
			r.TBL2(packed, head, low)
			r.AND(packed, packed, lowMask)
			r.TBL(high, head[0], top)
			r.AND(high, high, topMask)
			r.USHR(neon.B16, high, high, 2)
			r.ORR(packed, packed, high)
			r.words(packed, scales)
			// Each minimum has two sums.
			words := head
			r.SXTL2(neon.B16, packed, packed)
			r.ZIP1(neon.H8, words[0], packed, packed)
			r.ZIP2(neon.H8, words[1], packed, packed)
			r.sumProducts(minima, words)
		})
	}
}

func beginQ4K(r *row) func() {
	scalesAndMinima, nibble := beginScalesAndMinima(r), r.Same(15)
	return func() {
		scales, minima, total := r.Vectors(2), r.Vector(), r.zero()
		scalesAndMinima(scales, minima)
		for part := range 4 {
			r.Scope(func() {
				packed := r.load(r.w, 16+32*part)
				a, b := r.nibbles(packed[0], nibble), r.nibbles(packed[1], nibble)
				for i := range 2 {
					s := 2*part + i
					r.addSubBlock(total, []neon.Vector{a[i], b[i]}, 32*s, scales[s/4], s%4)
				}
			})
		}
		r.addWithMinima(total, minima, 0)
	}
}

func beginQ5K(r *row) func() {
	scalesAndMinima, nibble, mask := beginScalesAndMinima(r), r.Same(15), r.Same(31)
	return func() {
		scales, minima, total := r.Vectors(2), r.Vector(), r.zero()
		scalesAndMinima(scales, minima)
		top := r.load(r.w, 16)
		for part := range 4 {
			r.Scope(func() {
				packed := r.load(r.w, 48+32*part)
				for i := range 2 {
					r.Scope(func() {
						s := 2*part + i
						q := r.Vectors(2)
						for half, q := range q {
							r.Scope(func() {
								low := packed[half]
								if i == 1 {
									low = r.Vector()
									r.USHR(neon.B16, low, packed[half], 4)
								}
								// Bit s of top goes to bit 4.
								if s <= 4 {
									r.SHL(neon.B16, q, top[half], 4-s)
								} else {
									r.USHR(neon.B16, q, top[half], s-4)
								}
								r.BIT(q, low, nibble)
								r.AND(q, q, mask)
							})
						}
						r.addSubBlock(total, q, 32*s, scales[s/4], s%4)
					})
				}
			})
		}
		r.addWithMinima(total, minima, 0)
	}
}

func beginQ6K(r *row) func() {
	// 32 less is, in the top six bits, the integer with its top bit inverted, which
	// is the higher one of each two at w+128.
	invert, mask := r.Same(0xaa), r.Same(0xfc)
	return func() {
		scales, total := r.Vectors(4), r.zero()
		r.Scope(func() { r.words(r.load16(192), scales) })
		for h := range 2 {
			r.Scope(func() {
				top := r.load(r.w, 128+32*h)
				for _, v := range top {
					r.EOR(v, v, invert)
				}
				low := [2][2]neon.Vector{r.load(r.w, 64*h), r.load(r.w, 64*h+32)}
				for part := range 4 {
					r.Scope(func() {
						q := r.Vectors(2)
						for i, q := range q {
							bits := low[part%2][i]
							r.SHL(neon.B16, q, top[i], 6-2*part)
							r.Scope(func() {
								if part < 2 {
									shifted := r.Vector()
									r.SHL(neon.B16, shifted, bits, 4)
									bits = shifted
								}
								r.SRI(neon.B16, q, bits, 2)
							})
							r.AND(q, q, mask)
						}
						for i, x := range r.values(128*h+32*part, 2) {
							r.Scope(func() {
								s, products := 8*h+2*part+i, r.zero()
								r.dot(products, q[i], x)
								r.MLAElement(total, products, scales[s/4], s%4)
							})
						}
					})
				}
			})
		}
		r.add(total, 2, r.Half(r.w, 208))
	}
}

func beginIQ4XS(r *row) func() {
	levels := beginLevels(neon.IQ4Levels)(r)
	return func() {
		scales, total := r.Vectors(2), r.zero()
		r.Scope(func() { r.words(r.ScalesIQ4XS(r.w), scales) })
		for s := range 8 {
			r.Scope(func() { r.addSubBlock(total, levels(8+16*s), 32*s, scales[s/4], s%4) })
		}
		r.add(total, 2, r.Half(r.w, 0))
	}
}

// allSums returns sums that make that of all elements of the Vector8.
func (r *row) allSums() neon.Vector {
	all := r.zero()
	r.Scope(func() {
		for _, s := range r.load(r.x, sumsAt) {
			r.SADALP(neon.H8, all, s)
		}
	})
	return all
}

func beginTQ20(r *row) func() {
	mask := r.Same(3)
	return func() {
		total := r.zero()
		for part := range 4 {
			r.Scope(func() {
				packed := r.load16(16 * part)
				for i := range 4 {
					r.Scope(func() {
						r.dotAt(total, []neon.Vector{r.pair(packed, i, mask)}, part/2*128+32*i+part%2*16)
					})
				}
			})
		}
		// The integers are greater by one than what they stand for.
		r.Op("VSUB V%d.S4, V%d.S4, V%d.S4", r.allSums(), total, total)
		r.add(total, 0, r.Half(r.w, 64))
	}
}

func beginTQ10(r *row) func() {
	// A byte is a fraction; its next digit is 1 from a third on and 2 from two thirds
	// on. Compared are integers with a sign.
	sign := r.Same(0x80)
	thirds := [2]neon.Vector{r.Same(86 ^ 0x80), r.Same(171 ^ 0x80)}
	triple := func(v, of neon.Vector) {
		r.Scope(func() {
			twice := r.Vector()
			r.ADD(neon.B16, twice, of, of)
			r.ADD(neon.B16, v, twice, of)
		})
	}
	return func() {
		total := r.zero() // of minus the digits
		digit := func(fractions neon.Vector, position int) {
			r.Scope(func() {
				signed, one, two := r.Vector(), r.Vector(), r.Vector()
				r.EOR(signed, fractions, sign)
				r.CMGE(neon.B16, one, signed, thirds[0])
				r.CMGE(neon.B16, two, signed, thirds[1])
				r.ADD(neon.B16, one, one, two)
				r.dotAt(total, []neon.Vector{one}, position)
			})
		}
		for run, at := range []int{0, 16, 160} {
			r.Scope(func() {
				fractions, step := r.load16(16*run), 32
				if run == 2 {
					step = 16
				}
				for d := range 5 {
					if d > 0 {
						triple(fractions, fractions)
					}
					digit(fractions, at+step*d)
				}
			})
		}
		r.Scope(func() {
			v := r.Vectors(4)
			r.Op("FMOVS 48(%v), F%d", r.w, v[0])
			for i := 1; i < 4; i++ {
				triple(v[i], v[i-1])
			}
			r.ZIP1(neon.S4, v[0], v[0], v[1])
			r.ZIP1(neon.S4, v[2], v[2], v[3])
			r.ZIP1(neon.D2, v[0], v[0], v[2])
			digit(v[0], 240)
		})
		r.ADD(neon.S4, total, total, r.allSums())
		r.Scope(func() {
			d := r.Half(r.w, 52)
			r.FNEG(d, d)
			r.add(total, 0, d)
		})
	}
}
