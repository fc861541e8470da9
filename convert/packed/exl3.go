package packed

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// EXL3 has codes of 1 to 8 bits that are steps through a trellis, as exllamav3 writes them
// (after QTIP, https://arxiv.org/abs/2406.11235). Of a matrix of n rows of k elements, both
// multiples of 128:
//
//	trellis    I16 [k/16, n/16, 16*bits]  a tile of 16 by 16 elements: a stream of codes, which continues where it began
//	suh, svh   F16 [k], [n]               what the elements, and the rows, are multiplied by
//	su, sv     I16 [k/16], [n/16]         the same in early files: signs, a bit for each, set for -1
//	mcg, mul1  I32 []                     one of them if the values come from one of the newer two codebooks
//	bias       F16 [n]
//
// The last 16 bits of the stream up to a code are the number, in the codebook, of a value
// X. The matrix is diag(svh) * H * X * H * diag(suh), where H has Hadamard matrices of
// order 128, which are orthogonal, on its diagonal. X is exact, in float16; what exllamav3
// then computes in float16 is computed in float32 here. Rows and elements are added to make
// n and k multiples of 128.
var EXL3 = Format{Name: "EXL3", Methods: []string{"exl3"}, unpack: unpackEXL3}

const (
	exl3Tile  = 16  // rows and elements of a tile
	exl3Block = 128 // order of the Hadamard matrices
	exl3Tiles = exl3Block / exl3Tile
)

func unpackEXL3(c *checkpoint, name string) (string, weights.Rows, error) {
	module, ok := strings.CutSuffix(name, ".trellis")
	if !ok {
		return "", nil, nil
	}
	m, err := newEXL3(c, name, module)
	if err != nil {
		return "", nil, err
	}
	if bias := c.Get(module + ".bias"); bias != nil {
		c.replaced[module+".bias"] = tensor{module + ".bias", weights.Padded(bias, 1, exl3Block)}
	}
	c.layout = fmt.Sprintf("%d-bit", m.bits)
	r := weights.Compute([]int64{m.n, m.k}, weights.F32, exl3Block, m.read, m.trellis)
	return module + ".weight", weights.Padded(r, exl3Block, exl3Block), nil
}

// exl3 is a packed matrix.
type exl3 struct {
	trellis        weights.Rows
	n, k, bits     int64
	codebook       func() *exl3Codebook
	rows, elements func() ([]float32, error) // what they are multiplied by
}

func newEXL3(c *checkpoint, name, module string) (*exl3, error) {
	m := &exl3{trellis: c.Get(name)}
	shape := m.trellis.Shape()
	if len(shape) != 3 || m.trellis.Dtype() != weights.I16 || shape[0] < 1 || shape[0]%exl3Tiles != 0 || shape[1] < 1 || shape[1]%exl3Tiles != 0 ||
		shape[2] < exl3Tile || shape[2] > 8*exl3Tile || shape[2]%exl3Tile != 0 {
		return nil, fmt.Errorf("%w: tensor %.200q has type %s and shape %v: it is no matrix of EXL3", gguf.ErrCorrupt, name, m.trellis.Dtype(), shape)
	}
	m.k, m.n, m.bits = shape[0]*exl3Tile, shape[1]*exl3Tile, shape[2]/exl3Tile
	var err error
	if m.codebook, err = exl3CodebookOf(c, module); err != nil {
		return nil, err
	}
	if m.elements, err = exl3Scales(c, module, "su", m.k); err != nil {
		return nil, err
	}
	if m.rows, err = exl3Scales(c, module, "sv", m.n); err != nil {
		return nil, err
	}
	return m, nil
}

// exl3Codebook is the values of all numbers.
type exl3Codebook [1 << 16]float32

// exl3CodebookOf returns the codebook of a matrix.
func exl3CodebookOf(c *checkpoint, module string) (func() *exl3Codebook, error) {
	codebook, before := exl3First, ""
	for _, kind := range []struct {
		name       string
		multiplier uint32
		codebook   func() *exl3Codebook
	}{{module + ".mcg", exl3MCG, exl3Second}, {module + ".mul1", exl3Mul1, exl3Third}} {
		r := c.Get(kind.name)
		if r == nil {
			continue
		}
		c.drop(kind.name)
		if count(r) != 1 || r.Dtype().Size() != 4 {
			return nil, fmt.Errorf("%w: tensor %.200q of type %s and shape %v is not one number", gguf.ErrCorrupt, kind.name, r.Dtype(), r.Shape())
		}
		if before != "" {
			return nil, fmt.Errorf("%w: tensors %.200q and %.200q are of two codebooks", gguf.ErrCorrupt, before, kind.name)
		}
		var raw [4]byte
		if err := r.ReadRaw(raw[:], 0, 1); err != nil {
			return nil, err
		}
		if m := binary.LittleEndian.Uint32(raw[:]); m != kind.multiplier {
			return nil, c.unsupported(fmt.Sprintf("tensor %.200q is %#x, EXL3 with a multiplier of %#x is read", kind.name, m, kind.multiplier))
		}
		codebook, before = kind.codebook, kind.name
	}
	return codebook, nil
}

// exl3Scales returns what reads the n scales of a matrix that are called name+"h" or, if
// they are signs, name.
func exl3Scales(c *checkpoint, module, name string, n int64) (func() ([]float32, error), error) {
	full := module + "." + name + "h"
	if r := c.Get(full); r != nil {
		c.drop(full)
		if !slices.Equal(r.Shape(), []int64{n}) || r.Dtype() != weights.F16 {
			return nil, fmt.Errorf("%w: tensor %.200q has type %s and shape %v, there are %d scales", gguf.ErrCorrupt, full, r.Dtype(), r.Shape(), n)
		}
		return func() ([]float32, error) {
			scales := make([]float32, n)
			if err := r.ReadRows(scales, 0, 1); err != nil {
				return nil, err
			}
			if i := slices.IndexFunc(scales, isNotFinite); i >= 0 {
				return nil, fmt.Errorf("%w: tensor %.200q: scale %d is %v", gguf.ErrCorrupt, full, i, scales[i])
			}
			return scales, nil
		}, nil
	}
	signs := module + "." + name
	r, err := c.part(module+".trellis", signs)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(r.Shape(), []int64{n / 16}) || r.Dtype() != weights.I16 {
		return nil, fmt.Errorf("%w: tensor %.200q has type %s and shape %v, there are %d signs", gguf.ErrCorrupt, signs, r.Dtype(), r.Shape(), n)
	}
	return func() ([]float32, error) {
		raw, scales := make([]byte, n/8), make([]float32, n)
		if err := r.ReadRaw(raw, 0, 1); err != nil {
			return nil, err
		}
		for i := range scales {
			scales[i] = 1 - 2*float32(raw[i/8]>>(i%8)&1)
		}
		return scales, nil
	}, nil
}

// The multipliers of the two codebooks that are named in files.
const (
	exl3MCG  = 0xcbac1fed
	exl3Mul1 = 0x83dcd12d
)

// The codebooks, by decode_3inst in exllamav3's quant/codebook.cuh: a number is hashed, and
// two halves of what comes out are float16 numbers that are added, or four bytes are.
var (
	exl3First  = sync.OnceValue(func() *exl3Codebook { return exl3Halves(89226354, 64248484) })
	exl3Second = sync.OnceValue(func() *exl3Codebook { return exl3Halves(exl3MCG, 0) })
	exl3Third  = sync.OnceValue(exl3Bytes)
)

func exl3Halves(multiplier, offset uint32) *exl3Codebook {
	book := new(exl3Codebook)
	var raw [4]byte
	var halves [2]float32
	for i := range book {
		binary.LittleEndian.PutUint32(raw[:], (uint32(i)*multiplier+offset)&0x8fff8fff^0x3b603b60)
		weights.F16.Float32(halves[:], raw[:])
		book[i] = halves[0] + halves[1]
	}
	weights.F16.Round(book[:])
	return book
}

func exl3Bytes() *exl3Codebook {
	var factors [2]float32
	weights.F16.Float32(factors[:], []byte{0xee, 0x1e, 0x31, 0xc9})
	book := new(exl3Codebook)
	for i := range book {
		x := uint32(i) * exl3Mul1
		sum := x&255 + x>>8&255 + x>>16&255 + x>>24
		book[i] = float32(float32(1024+sum)*factors[0]) + factors[1] // exact
	}
	weights.F16.Round(book[:])
	return book
}

// exl3Kept has blocks of rows that were unpacked for some of them only.
var exl3Kept kept[*exl3, []float32]

func (m *exl3) rowBlocks() (rows, each int64) { return m.n, exl3Block }

func (m *exl3) readBlock(rows *[]float32, first, n int64) error {
	*rows = sized(*rows, n*m.k)
	return m.unpack(*rows, first/exl3Block)
}

func (m *exl3) read(dst []float32, first, n int64) error {
	for n > 0 {
		block, from := first/exl3Block, first%exl3Block
		some := min(n, exl3Block-from)
		part := dst[:some*m.k]
		var err error
		if some == exl3Block {
			err = m.unpack(part, block)
		} else {
			err = exl3Kept.each(m, first, some, func(rows *[]float32, from, _ int64) error {
				copy(part, (*rows)[from*m.k:])
				return nil
			})
		}
		if err != nil {
			return err
		}
		dst, first, n = dst[some*m.k:], first+some, n-some
	}
	return nil
}

// unpack fills dst with a block of rows, which the transforms mix.
func (m *exl3) unpack(dst []float32, block int64) error {
	rows, err := m.rows()
	if err != nil {
		return err
	}
	elements, err := m.elements()
	if err != nil {
		return err
	}
	book := m.codebook()
	values, raw := new(exl3Values), make([]byte, exl3Tiles*m.tileBytes())
	for k := int64(0); k < m.k; k += exl3Block {
		if err := m.decode(values, raw, book, block, k/exl3Block); err != nil {
			return err
		}
		values.hadamard()
		scales := elements[k:][:exl3Block]
		for i := range int64(exl3Block) {
			scale := rows[block*exl3Block+i] / exl3Block // which both matrices have
			row, out := values[i*exl3Block:][:exl3Block], dst[i*m.k+k:][:exl3Block]
			for j, v := range row {
				out[j] = v * scale * scales[j]
			}
		}
	}
	return nil
}

// tileBytes returns how many bytes a tile takes.
func (m *exl3) tileBytes() int64 { return 32 * m.bits }

// exl3Values is a block of a matrix, row after row.
type exl3Values [exl3Block * exl3Block]float32

// decode reads the values of a block. raw has room for 8 tiles.
func (m *exl3) decode(values *exl3Values, raw []byte, book *exl3Codebook, row, column int64) error {
	size := m.tileBytes()
	for k := range int64(exl3Tiles) {
		if err := m.trellis.ReadRaw(raw, (column*exl3Tiles+k)*(m.n/exl3Tile)+row*exl3Tiles, exl3Tiles); err != nil {
			return err
		}
		for n := range int64(exl3Tiles) {
			values.decodeTile(uint((n*exl3Block+k)*exl3Tile), raw[n*size:][:size], book, uint(m.bits))
		}
	}
	return nil
}

// decodeTile decodes the tile whose first value is at the given one. Words are read from the
// highest bit of the first on, and eight codes take as many bytes as a code has bits. Codes
// are in the order in which tensor cores of GPUs take values.
func (v *exl3Values) decodeTile(first uint, raw []byte, book *exl3Codebook, bits uint) {
	const before = 8               // bytes
	var stream [before + 32*8]byte // the last bytes of the tile, and all
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(stream[before+i:], binary.LittleEndian.Uint32(raw[i:]))
	}
	copy(stream[:before], stream[len(raw):])
	for t := range uint(exl3Tile * exl3Tile / 8) {
		place, end := first+t/4*exl3Block+t%4*2, (t+1)*bits
		v.decodeFour(place, binary.BigEndian.Uint64(stream[end-bits/2:])>>(bits%2*4), book, bits)
		v.decodeFour(place+8*exl3Block, binary.BigEndian.Uint64(stream[end:]), book, bits)
	}
}

// decodeFour decodes two values of a row, and those 8 behind them, of which the last code
// ends with the lowest bit of codes.
func (v *exl3Values) decodeFour(place uint, codes uint64, book *exl3Codebook, bits uint) {
	const mask = uint(len(v) - 1)
	v[(place+9)&mask] = book[uint16(codes)]
	v[(place+8)&mask] = book[uint16(codes>>(bits&63))]
	v[(place+1)&mask] = book[uint16(codes>>(2*bits&63))]
	v[place&mask] = book[uint16(codes>>(3*bits&63))]
}

// hadamard multiplies a block from both sides by the Hadamard matrix of order 128, which is
// not scaled: its Kronecker product with itself is that of order 1 << 14, of which this is
// the fast transform. 4 times 3 of its steps are done at once, and then the last 2.
func (v *exl3Values) hadamard() {
	for step := uint(1); step < 1<<12; step *= 8 {
		for i := uint(0); i < uint(len(v)); i += 8 * step {
			for j := range step {
				v.hadamard8(i+j, step)
			}
		}
	}
	const step = 1 << 12
	for j := range step {
		p0, p1, p2, p3 := &v[j], &v[j+step], &v[j+2*step], &v[j+3*step]
		a0, a1, a2, a3 := *p0+*p1, *p0-*p1, *p2+*p3, *p2-*p3
		*p0, *p1, *p2, *p3 = a0+a2, a1+a3, a0-a2, a1-a3
	}
}

// hadamard8 transforms 8 values that are so far from each other.
func (v *exl3Values) hadamard8(first, step uint) {
	const mask = uint(len(v) - 1)
	p0, p1, p2, p3 := &v[first&mask], &v[(first+step)&mask], &v[(first+2*step)&mask], &v[(first+3*step)&mask]
	p4, p5, p6, p7 := &v[(first+4*step)&mask], &v[(first+5*step)&mask], &v[(first+6*step)&mask], &v[(first+7*step)&mask]
	a0, a1, a2, a3 := *p0+*p1, *p0-*p1, *p2+*p3, *p2-*p3
	a4, a5, a6, a7 := *p4+*p5, *p4-*p5, *p6+*p7, *p6-*p7
	b0, b1, b2, b3 := a0+a2, a1+a3, a0-a2, a1-a3
	b4, b5, b6, b7 := a4+a6, a5+a7, a4-a6, a5-a7
	*p0, *p1, *p2, *p3 = b0+b4, b1+b5, b2+b6, b3+b7
	*p4, *p5, *p6, *p7 = b0-b4, b1-b5, b2-b6, b3-b7
}
