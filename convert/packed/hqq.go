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

// HQQ has codes of 1 to 8 bits, and a scale and a zero point, which is no integer, for each
// group, as hqq writes them (HQQLinear) and transformers with it. The elements of a matrix,
// row after row, are rows of groups (axis 1), or columns (axis 0):
//
//	MODULE.W_q    the codes. Several are in a word: of 2 in a byte, for example, the elements
//	              of the first half are the upper ones, and those of the second half the lower
//	MODULE.scale  F16 [groups, 1], or [1, groups] of axis 0
//	MODULE.zero   the same
//	MODULE.shape  I64 [2]; nbits, axis, group_size and other settings are tensors as well
//
// 8, 4, 2 and 1 bits fill bytes, 5 and 6 bits take one, 1.58 bits take 2; ten of 3 bits are in
// an I32, of a matrix filled up with zeros. W_q may be typed as floats (view_as_float). An
// element is (code - zero) * scale.
var HQQ = Format{Name: "HQQ", Methods: []string{"hqq"}, unpack: unpackHQQ}

// hqqSettings are the tensors beside codes, scales and zero points.
var hqqSettings = []string{
	"shape", "nbits", "axis", "group_size", "packing", "compute_dtype", "view_as_float", "unpack_view_dtype", "quant_scale", "quant_zero",
	"channel_wise", "optimize", "round_zero", "offload_meta", "encoded_state_dict", "stores_quant_config",
}

func unpackHQQ(c *checkpoint, name string) (string, weights.Rows, error) {
	module, ok := strings.CutSuffix(name, ".W_q")
	if !ok {
		return "", nil, nil
	}
	m := &hqq{name: name, codes: c.Get(name)}
	var err error
	if m.scales, err = c.part(name, module+".scale"); err != nil {
		return "", nil, err
	}
	if m.zeros, err = c.part(name, module+".zero"); err != nil {
		return "", nil, err
	}
	shape, err := c.part(name, module+".shape")
	if err != nil {
		return "", nil, err
	}
	if err := m.setShape(shape); err != nil {
		return "", nil, err
	}
	if err := m.setGroups(c, module); err != nil {
		return "", nil, err
	}
	if err := m.setBits(c, module); err != nil {
		return "", nil, err
	}
	for _, s := range hqqSettings {
		c.drop(module + "." + s)
	}
	c.layout = fmt.Sprintf("%d-bit g%d", m.bits, m.groupSize)
	return module + ".weight", weights.Compute([]int64{m.n, m.k}, weights.F32, 1, m.read, m.codes, m.scales, shape), nil
}

// hqq is a packed matrix.
type hqq struct {
	name                 string // of codes
	codes, scales, zeros weights.Rows
	n, k                 int64
	columns              bool  // groups are columns
	groups, groupSize    int64 // how many, and their elements
	bits                 int64 // of a code in its word
	wordSize             int64 // bytes
	words                int64
}

func (m *hqq) corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: tensor %.200q: "+format, append([]any{gguf.ErrCorrupt, m.name}, args...)...)
}

func (m *hqq) setShape(r weights.Rows) error {
	if r.Dtype() != weights.I64 || !slices.Equal(r.Shape(), []int64{2}) {
		return m.corrupt("its shape is of type %s and shape %v", r.Dtype(), r.Shape())
	}
	var raw [16]byte
	if err := weights.ReadElements(r, raw[:], 0); err != nil {
		return err
	}
	m.n, m.k = int64(binary.LittleEndian.Uint64(raw[:])), int64(binary.LittleEndian.Uint64(raw[8:]))
	const most = 10 // codes in two bytes and a half
	if m.n < 1 || m.k < 1 || m.n > most*weights.Bytes(m.codes)/m.k {
		return m.corrupt("%d bytes of codes for a shape of [%d %d]", weights.Bytes(m.codes), m.n, m.k)
	}
	return nil
}

// setGroups derives the groups from the shape of their scales.
func (m *hqq) setGroups(c *checkpoint, module string) error {
	scales, zeros := m.scales.Shape(), m.zeros.Shape()
	m.groups = count(m.scales)
	m.columns = len(scales) == 2 && scales[0] == 1 && scales[1] > 1
	if !m.scales.Dtype().Float() || !m.zeros.Dtype().Float() || !slices.Equal(scales, zeros) || m.groups < 1 || m.n*m.k%m.groups != 0 ||
		m.groups > 1 && (len(scales) != 2 || max(scales[0], scales[1]) != m.groups) {
		return m.corrupt("scales of type %s and shape %v and zero points of type %s and shape %v for a shape of [%d %d]",
			m.scales.Dtype(), scales, m.zeros.Dtype(), zeros, m.n, m.k)
	}
	m.groupSize = m.n * m.k / m.groups
	axis, ok, err := setting(c, module+".axis")
	if err != nil {
		return err
	}
	if ok && m.groups > 1 && (axis == 0) != m.columns {
		return m.corrupt("scales of shape %v for axis %v", scales, axis)
	}
	size, ok, err := setting(c, module+".group_size")
	if err != nil {
		return err
	}
	if ok && m.groups > 1 && size > 0 && size != float32(m.groupSize) {
		return m.corrupt("%d groups of %d elements, group_size is %v", m.groups, m.groupSize, size)
	}
	return nil
}

// setBits takes nbits, or else what the size of the codes tells, and checks that size.
func (m *hqq) setBits(c *checkpoint, module string) error {
	nbits, ok, err := setting(c, module+".nbits")
	if err != nil {
		return err
	}
	bytes, elements := weights.Bytes(m.codes), m.n*m.k
	switch {
	case ok && (nbits == 5 || nbits == 6):
		m.bits = 8
	case ok && nbits > 1.5 && nbits < 2:
		m.bits = 2
	case ok:
		m.bits = int64(nbits)
	case m.codes.Dtype() == weights.I32:
		m.bits = 3
	default:
		m.bits = 8 * bytes / elements
	}
	m.wordSize, m.words = 1, elements*m.bits/8
	fits := m.words*8 == elements*m.bits
	if m.bits == 3 {
		rows, length := m.groups, m.groupSize
		switch {
		case m.groups == 1: // one scale for all: the matrix is as it is
			rows, length = m.n, m.k
		case m.columns:
			rows, length = length, rows
		}
		m.wordSize, m.words, fits = 4, (rows+9)/10*length, true
	}
	if !slices.Contains([]int64{1, 2, 3, 4, 8}, m.bits) || !fits || bytes != m.words*m.wordSize {
		return m.corrupt("%d bytes of codes of %d bits (%v are configured) for a shape of [%d %d]", bytes, m.bits, nbits, m.n, m.k)
	}
	return nil
}

// setting returns the number that a tensor of one element has; ok is false if it is not there.
func setting(c *checkpoint, name string) (value float32, ok bool, err error) {
	r := c.Get(name)
	if r == nil {
		return 0, false, nil
	}
	if count(r) != 1 {
		return 0, false, fmt.Errorf("%w: tensor %.200q of shape %v is not one number", gguf.ErrCorrupt, name, r.Shape())
	}
	v, err := finiteFloats(name, r, 0, 1)
	if err != nil {
		return 0, false, err
	}
	return v[0], true, nil
}

// read unpacks runs of elements whose codes are in the same place of their words, and, if
// groups are columns, whose groups are neighbours.
func (m *hqq) read(dst []float32, first, _ int64) error {
	const most = 1 << 15
	buf := byteScratch.Get().(*[]byte)
	defer byteScratch.Put(buf)
	g := hqqScratch.Get().(*hqqGroups)
	defer hqqScratch.Put(g)
	for at := first * m.k; len(dst) > 0; {
		some := min(int64(len(dst)), most, m.words-at%m.words)
		group, groups := at/m.groupSize, (at+some-1)/m.groupSize+1-at/m.groupSize
		if m.columns {
			some = min(some, m.groups-at%m.groups)
			group, groups = at%m.groups, some
		}
		if err := m.readGroups(g, group, groups); err != nil {
			return err
		}
		codes, values, err := m.readCodes(buf, at, some)
		if err != nil {
			return err
		}
		if m.columns {
			part, scales, zeros := dst[:len(codes)], g.scales[:len(codes)], g.zeros[:len(codes)]
			for i, c := range codes {
				part[i] = (values[c] - zeros[i]) * scales[i]
			}
			dst, at = dst[some:], at+some
			continue
		}
		for i, scale := range g.scales {
			run := codes[:min(int64(len(codes)), (group+int64(i)+1)*m.groupSize-at)]
			part, zero := dst[:len(run)], g.zeros[i]
			for j, c := range run {
				part[j] = (values[c] - zero) * scale
			}
			dst, codes, at = dst[len(run):], codes[len(run):], at+int64(len(run))
		}
	}
	return nil
}

// hqqGroups are scales and zero points between being read and being used.
type hqqGroups struct {
	raw           []byte
	scales, zeros []float32
}

var hqqScratch = sync.Pool{New: func() any { return new(hqqGroups) }}

// readGroups reads the scales and zero points of n groups.
func (m *hqq) readGroups(g *hqqGroups, first, n int64) error {
	for _, part := range []struct {
		weights.Rows
		to *[]float32
	}{{m.scales, &g.scales}, {m.zeros, &g.zeros}} {
		g.raw = sized(g.raw, n*int64(part.Dtype().Size()))
		if err := weights.ReadElements(part.Rows, g.raw, first); err != nil {
			return err
		}
		*part.to = sized(*part.to, n)
		part.Dtype().Float32(*part.to, g.raw)
	}
	for i, scale := range g.scales {
		if zero := g.zeros[i]; isNotFinite((255 + max(zero, -zero)) * scale) {
			return m.corrupt("group %d has a scale of %v and a zero point of %v", first+int64(i), scale, zero)
		}
	}
	return nil
}

// readCodes returns n bytes that have the codes of elements from the one at first on, and
// what the codes are of each value of such a byte: their place in it is the same.
func (m *hqq) readCodes(buf *[]byte, first, n int64) ([]byte, *[256]float32, error) {
	place, word := first/m.words, first%m.words
	raw, err := readBytes(buf, m.codes, word*m.wordSize, n*m.wordSize)
	if err != nil {
		return nil, nil, err
	}
	if m.bits == 3 {
		shift := (27 - 3*place) & 31
		for i := range n {
			raw[i] = byte(binary.LittleEndian.Uint32(raw[4*i:]) >> shift & 7)
		}
		return raw[:n], &hqqCodes[8][0], nil
	}
	return raw, &hqqCodes[m.bits][place], nil
}

// hqqCodes has, by their bits and their place in a byte, the codes of all bytes.
var hqqCodes = func() (tables [9][8][256]float32) {
	for _, bits := range []int{1, 2, 4, 8} {
		for place := range 8 / bits {
			for b := range 256 {
				tables[bits][place][b] = float32(b >> (8 - bits*(place+1)) & (1<<bits - 1))
			}
		}
	}
	return tables
}()
