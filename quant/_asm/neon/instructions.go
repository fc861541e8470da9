package neon

import "fmt"

// The instructions that Go's assembler lacks. Their methods are named as Arm's
// Architecture Reference Manual has them, with the destination first. Floats are
// single precision, four to a vector.

// Arrangement is how an instruction divides a vector.
type Arrangement uint8

// The arrangements: bytes, integers of 16, of 32 and of 64 bits.
const (
	B16 Arrangement = iota
	H8
	S4
	D2
)

func (a Arrangement) String() string { return [...]string{"16b", "8h", "4s", "2d"}[a] }

// bits returns the number of bits of an element.
func (a Arrangement) bits() int { return 8 << a }

func (a Arrangement) size() uint32 { return uint32(a) << 22 }

// upTo32 is size for instructions that do not have integers of 64 bits.
func (a Arrangement) upTo32() uint32 {
	if a > S4 {
		panic("neon: no such instruction for integers of 64 bits")
	}
	return a.size()
}

// word writes an instruction by its bits.
func (f *Function) word(bits uint32, format string, args ...any) {
	fmt.Fprintf(f.text, "\tWORD $%#08x // %s\n", bits, fmt.Sprintf(format, args...))
}

func (f *Function) two(bits uint32, name string, a Arrangement, d, n Vector) {
	f.word(bits|uint32(n)<<5|uint32(d), "%s %v.%v, %v.%v", name, d, a, n, a)
}

func (f *Function) three(bits uint32, name string, a Arrangement, d, n, m Vector) {
	f.word(bits|uint32(m)<<16|uint32(n)<<5|uint32(d), "%s %v.%v, %v.%v, %v.%v", name, d, a, n, a, m, a)
}

// shift writes a shift by distance: from 0 to one less than the bits of an element
// to the left, from 1 to the bits of an element to the right.
func (f *Function) shift(bits uint32, name string, a Arrangement, d, n Vector, distance int, left bool) {
	least := 1
	if left {
		least = 0
	}
	if distance < least || distance >= a.bits()+least {
		panic(fmt.Sprintf("neon: %s of %v by %d", name, a, distance))
	}
	immediate := 2*a.bits() - distance
	if left {
		immediate = a.bits() + distance
	}
	f.word(bits|uint32(immediate)<<16|uint32(n)<<5|uint32(d), "%s %v.%v, %v.%v, #%d", name, d, a, n, a, distance)
}

// FADD adds.
func (f *Function) FADD(d, n, m Vector) { f.three(0x4e20d400, "fadd", S4, d, n, m) }

// FSUB gives n - m.
func (f *Function) FSUB(d, n, m Vector) { f.three(0x4ea0d400, "fsub", S4, d, n, m) }

// FMUL multiplies.
func (f *Function) FMUL(d, n, m Vector) { f.three(0x6e20dc00, "fmul", S4, d, n, m) }

// FDIV gives n / m.
func (f *Function) FDIV(d, n, m Vector) { f.three(0x6e20fc00, "fdiv", S4, d, n, m) }

// FMAX gives the greater one. A NaN wins, and +0 is greater than -0.
func (f *Function) FMAX(d, n, m Vector) { f.three(0x4e20f400, "fmax", S4, d, n, m) }

// FMIN gives the lesser one. A NaN wins, and -0 is less than +0.
func (f *Function) FMIN(d, n, m Vector) { f.three(0x4ea0f400, "fmin", S4, d, n, m) }

// FCMEQ gives ones where n = m and zeros elsewhere.
func (f *Function) FCMEQ(d, n, m Vector) { f.three(0x4e20e400, "fcmeq", S4, d, n, m) }

// FCMGT gives ones where n > m and zeros elsewhere.
func (f *Function) FCMGT(d, n, m Vector) { f.three(0x6ea0e400, "fcmgt", S4, d, n, m) }

// FABS clears the sign.
func (f *Function) FABS(d, n Vector) { f.two(0x4ea0f800, "fabs", S4, d, n) }

// FNEG inverts the sign.
func (f *Function) FNEG(d, n Vector) { f.two(0x6ea0f800, "fneg", S4, d, n) }

// FSQRT gives the square root.
func (f *Function) FSQRT(d, n Vector) { f.two(0x6ea1f800, "fsqrt", S4, d, n) }

// FRINTN rounds to the nearest integer, halves to even.
func (f *Function) FRINTN(d, n Vector) { f.two(0x4e218800, "frintn", S4, d, n) }

// FCVTNS makes integers, rounding to the nearest, halves to even.
func (f *Function) FCVTNS(d, n Vector) { f.two(0x4e21a800, "fcvtns", S4, d, n) }

// FCVTAS makes integers, rounding halves away from zero.
func (f *Function) FCVTAS(d, n Vector) { f.two(0x4e21c800, "fcvtas", S4, d, n) }

// FCVTZS makes integers, rounding toward zero.
func (f *Function) FCVTZS(d, n Vector) { f.two(0x4ea1b800, "fcvtzs", S4, d, n) }

// FCVTMS makes integers, rounding down. What is too large becomes the integer next
// to it.
func (f *Function) FCVTMS(d, n Vector) { f.two(0x4e21b800, "fcvtms", S4, d, n) }

// SCVTF makes floats of integers, and divides them by 2^fraction, from 0 to 32.
func (f *Function) SCVTF(d, n Vector, fraction int) {
	if fraction == 0 {
		f.two(0x4e21d800, "scvtf", S4, d, n)
		return
	}
	f.shift(0x4f00e400, "scvtf", S4, d, n, fraction, false)
}

// UCVTF is SCVTF for integers without sign, with a fraction from 1 to 32.
func (f *Function) UCVTF(d, n Vector, fraction int) {
	f.shift(0x6f00e400, "ucvtf", S4, d, n, fraction, false)
}

// FCVTL makes floats of the low four half-precision ones.
func (f *Function) FCVTL(d, n Vector) {
	f.word(0x0e217800|uint32(n)<<5|uint32(d), "fcvtl %v.4s, %v.4h", d, n)
}

// FCVTL2 makes floats of the high four half-precision ones.
func (f *Function) FCVTL2(d, n Vector) {
	f.word(0x4e217800|uint32(n)<<5|uint32(d), "fcvtl2 %v.4s, %v.8h", d, n)
}

// FCVTN makes half-precision floats, in the low half of d, and clears the rest.
func (f *Function) FCVTN(d, n Vector) {
	f.word(0x0e216800|uint32(n)<<5|uint32(d), "fcvtn %v.4h, %v.4s", d, n)
}

// FCVTN2 makes half-precision floats, in the high half of d.
func (f *Function) FCVTN2(d, n Vector) {
	f.word(0x4e216800|uint32(n)<<5|uint32(d), "fcvtn2 %v.8h, %v.4s", d, n)
}

// FADDP adds neighbours: those of n in the low half of d, those of m in the high one.
func (f *Function) FADDP(d, n, m Vector) { f.three(0x6e20d400, "faddp", S4, d, n, m) }

// FMLA adds n * m to d, rounding once.
func (f *Function) FMLA(d, n, m Vector) { f.three(0x4e20cc00, "fmla", S4, d, n, m) }

// FMLS takes n * m from d, rounding once.
func (f *Function) FMLS(d, n, m Vector) { f.three(0x4ea0cc00, "fmls", S4, d, n, m) }

// byElement writes an instruction that takes element i of m.
func (f *Function) byElement(bits uint32, name string, d, n, m Vector, i int) {
	element(i, 4)
	f.word(bits|uint32(i&1)<<21|uint32(i>>1)<<11|uint32(m)<<16|uint32(n)<<5|uint32(d), "%s %v.4s, %v.4s, %v.s[%d]", name, d, n, m, i)
}

// FMULElement multiplies with element i of m.
func (f *Function) FMULElement(d, n, m Vector, i int) { f.byElement(0x4f809000, "fmul", d, n, m, i) }

// FMLAElement is FMLA with element i of m.
func (f *Function) FMLAElement(d, n, m Vector, i int) { f.byElement(0x4f801000, "fmla", d, n, m, i) }

// FMLSElement is FMLS with element i of m.
func (f *Function) FMLSElement(d, n, m Vector, i int) { f.byElement(0x4f805000, "fmls", d, n, m, i) }

// MLAElement adds n times element i of m to d, integers of 32 bits.
func (f *Function) MLAElement(d, n, m Vector, i int) { f.byElement(0x6f800000, "mla", d, n, m, i) }

// DUP fills d with element i of n.
func (f *Function) DUP(d, n Vector, i int) {
	element(i, 4)
	f.word(0x4e040400|uint32(i)<<19|uint32(n)<<5|uint32(d), "dup %v.4s, %v.s[%d]", d, n, i)
}

func element(i, n int) {
	if i < 0 || i >= n {
		panic(fmt.Sprintf("neon: element %d of %d", i, n))
	}
}

// FMAXV gives the greatest of n in element 0. A NaN wins.
func (f *Function) FMAXV(d, n Vector) {
	f.word(0x6e30f800|uint32(n)<<5|uint32(d), "fmaxv s%d, %v.4s", d, n)
}

// FMINV gives the least of n in element 0. A NaN wins.
func (f *Function) FMINV(d, n Vector) {
	f.word(0x6eb0f800|uint32(n)<<5|uint32(d), "fminv s%d, %v.4s", d, n)
}

// AND gives the bits that are in both.
func (f *Function) AND(d, n, m Vector) { f.three(0x4e201c00, "and", B16, d, n, m) }

// BIC gives the bits of n that are not in m.
func (f *Function) BIC(d, n, m Vector) { f.three(0x4e601c00, "bic", B16, d, n, m) }

// EOR gives the bits that are in one of both.
func (f *Function) EOR(d, n, m Vector) { f.three(0x6e201c00, "eor", B16, d, n, m) }

// ORR gives the bits that are in one or both.
func (f *Function) ORR(d, n, m Vector) { f.three(0x4ea01c00, "orr", B16, d, n, m) }

// BSL chooses the bits of n where those of d are set and of m elsewhere.
func (f *Function) BSL(d, n, m Vector) { f.three(0x6e601c00, "bsl", B16, d, n, m) }

// BIT replaces the bits of d where those of m are set by those of n.
func (f *Function) BIT(d, n, m Vector) { f.three(0x6ea01c00, "bit", B16, d, n, m) }

// BIF replaces the bits of d where those of m are not set by those of n.
func (f *Function) BIF(d, n, m Vector) { f.three(0x6ee01c00, "bif", B16, d, n, m) }

// ADD adds integers.
func (f *Function) ADD(a Arrangement, d, n, m Vector) {
	f.three(0x4e208400|a.size(), "add", a, d, n, m)
}

// SQADD adds integers. What is too large becomes the integer next to it.
func (f *Function) SQADD(a Arrangement, d, n, m Vector) {
	f.three(0x4e200c00|a.size(), "sqadd", a, d, n, m)
}

// CMGE gives ones where n >= m and zeros elsewhere.
func (f *Function) CMGE(a Arrangement, d, n, m Vector) {
	f.three(0x4e203c00|a.size(), "cmge", a, d, n, m)
}

// SMAX gives the greater integer.
func (f *Function) SMAX(a Arrangement, d, n, m Vector) {
	f.three(0x4e206400|a.upTo32(), "smax", a, d, n, m)
}

// SMIN gives the lesser integer.
func (f *Function) SMIN(a Arrangement, d, n, m Vector) {
	f.three(0x4e206c00|a.upTo32(), "smin", a, d, n, m)
}

// UMIN gives the lesser integer without sign.
func (f *Function) UMIN(a Arrangement, d, n, m Vector) {
	f.three(0x6e206c00|a.upTo32(), "umin", a, d, n, m)
}

// UZP1 gives the elements of n and m with even numbers.
func (f *Function) UZP1(a Arrangement, d, n, m Vector) {
	f.three(0x4e001800|a.size(), "uzp1", a, d, n, m)
}

// UZP2 gives the elements of n and m with odd numbers.
func (f *Function) UZP2(a Arrangement, d, n, m Vector) {
	f.three(0x4e005800|a.size(), "uzp2", a, d, n, m)
}

// ZIP1 gives the elements of the low halves by turns.
func (f *Function) ZIP1(a Arrangement, d, n, m Vector) {
	f.three(0x4e003800|a.size(), "zip1", a, d, n, m)
}

// ZIP2 gives the elements of the high halves by turns.
func (f *Function) ZIP2(a Arrangement, d, n, m Vector) {
	f.three(0x4e007800|a.size(), "zip2", a, d, n, m)
}

// TBL gives the bytes of n with the numbers in m, and 0 for numbers from 16.
func (f *Function) TBL(d, n, m Vector) {
	f.word(0x4e000000|uint32(m)<<16|uint32(n)<<5|uint32(d), "tbl %v.16b, {%v.16b}, %v.16b", d, n, m)
}

// TBL2 gives the bytes of n, two vectors with numbers next to each other, with the
// numbers in m, and 0 for numbers from 32.
func (f *Function) TBL2(d Vector, n [2]Vector, m Vector) {
	if n[1] != n[0]+1 {
		panic(fmt.Sprintf("neon: table in %v and %v", n[0], n[1]))
	}
	f.word(0x4e002000|uint32(m)<<16|uint32(n[0])<<5|uint32(d), "tbl %v.16b, {%v.16b, %v.16b}, %v.16b", d, n[0], n[1], m)
}

// SQXTN makes bytes, in the low half of d, of integers of 16 bits, and clears the
// rest. What is too large becomes the byte next to it.
func (f *Function) SQXTN(d, n Vector) {
	f.word(0x0e214800|uint32(n)<<5|uint32(d), "sqxtn %v.8b, %v.8h", d, n)
}

// SQXTN2 is SQXTN for the high half of d.
func (f *Function) SQXTN2(d, n Vector) {
	f.word(0x4e214800|uint32(n)<<5|uint32(d), "sqxtn2 %v.16b, %v.8h", d, n)
}

// SHL shifts to the left.
func (f *Function) SHL(a Arrangement, d, n Vector, distance int) {
	f.shift(0x4f005400, "shl", a, d, n, distance, true)
}

// SSHR shifts to the right, with the sign.
func (f *Function) SSHR(a Arrangement, d, n Vector, distance int) {
	f.shift(0x4f000400, "sshr", a, d, n, distance, false)
}

// USHR shifts to the right.
func (f *Function) USHR(a Arrangement, d, n Vector, distance int) {
	f.shift(0x6f000400, "ushr", a, d, n, distance, false)
}

// SLI is SHL that leaves the low bits of d.
func (f *Function) SLI(a Arrangement, d, n Vector, distance int) {
	f.shift(0x6f005400, "sli", a, d, n, distance, true)
}

// SRI is USHR that leaves the high bits of d.
func (f *Function) SRI(a Arrangement, d, n Vector, distance int) {
	f.shift(0x6f004400, "sri", a, d, n, distance, false)
}

// SXTL makes integers of twice the size of the low half of n.
func (f *Function) SXTL(a Arrangement, d, n Vector) { f.sxtl(0x0f00a400, "sxtl", a, false, d, n) }

// SXTL2 is SXTL for the high half of n.
func (f *Function) SXTL2(a Arrangement, d, n Vector) { f.sxtl(0x4f00a400, "sxtl2", a, true, d, n) }

func (f *Function) sxtl(bits uint32, name string, a Arrangement, high bool, d, n Vector) {
	a.upTo32()
	f.word(bits|uint32(a.bits())<<16|uint32(n)<<5|uint32(d), "%s %v.%v, %v.%s", name, d, a+1, n, a.half(high))
}

// half returns how Arm writes the low half of a vector; instructions on the high
// half name the whole.
func (a Arrangement) half(high bool) string {
	if high {
		return a.String()
	}
	return [...]string{"8b", "4h", "2s", "1d"}[a]
}

// long writes an instruction on integers of one size with results of twice that.
func (f *Function) long(bits uint32, name string, a Arrangement, high bool, d, n, m Vector) {
	half := a.half(high)
	f.word(bits|a.upTo32()|uint32(m)<<16|uint32(n)<<5|uint32(d), "%s %v.%v, %v.%s, %v.%s", name, d, a+1, n, half, m, half)
}

// SMULL multiplies the low halves of n and m, with products of twice the size.
func (f *Function) SMULL(a Arrangement, d, n, m Vector) {
	f.long(0x0e20c000, "smull", a, false, d, n, m)
}

// SMULL2 is SMULL for the high halves.
func (f *Function) SMULL2(a Arrangement, d, n, m Vector) {
	f.long(0x4e20c000, "smull2", a, true, d, n, m)
}

// SMLAL adds the products of the low halves of n and m to d.
func (f *Function) SMLAL(a Arrangement, d, n, m Vector) {
	f.long(0x0e208000, "smlal", a, false, d, n, m)
}

// SMLAL2 is SMLAL for the high halves.
func (f *Function) SMLAL2(a Arrangement, d, n, m Vector) {
	f.long(0x4e208000, "smlal2", a, true, d, n, m)
}

// SADALP adds the sums of neighbours in n to d, integers of twice the size.
func (f *Function) SADALP(a Arrangement, d, n Vector) {
	f.word(0x4e206800|a.upTo32()|uint32(n)<<5|uint32(d), "sadalp %v.%v, %v.%v", d, a+1, n, a)
}

// SDOT adds to each integer of 32 bits in d the products of four bytes of n and m.
// It needs FEAT_DotProd.
func (f *Function) SDOT(d, n, m Vector) {
	f.word(0x4e809400|uint32(m)<<16|uint32(n)<<5|uint32(d), "sdot %v.4s, %v.16b, %v.16b", d, n, m)
}

// SDOTElement is SDOT with the same four bytes of m for all, those with number i.
func (f *Function) SDOTElement(d, n, m Vector, i int) {
	element(i, 4)
	f.word(0x4f80e000|uint32(i&1)<<21|uint32(i>>1)<<11|uint32(m)<<16|uint32(n)<<5|uint32(d), "sdot %v.4s, %v.16b, %v.4b[%d]", d, n, m, i)
}

// USMMLA adds to element 2i+j of d the products of eight bytes without sign, half i
// of n, and eight bytes with sign, half j of m. It needs FEAT_I8MM.
func (f *Function) USMMLA(d, n, m Vector) {
	f.word(0x4e80ac00|uint32(m)<<16|uint32(n)<<5|uint32(d), "usmmla %v.4s, %v.16b, %v.16b", d, n, m)
}
