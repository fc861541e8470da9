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

// EXL2 has codes of 2, 3, 4, 5, 6 or 8 bits, of several sizes in a matrix, as exllamav2
// writes them. Elements are sorted by how much they matter, and groups of them have codes
// of the same size, and a largest scale. Of a matrix of n rows of k elements, with g groups:
//
//	q_weight     I32 [w, n]    in each column the codes of a row, each group from the lowest bit of its first word on
//	q_groups     I16 [2*g]     of each group the bits of a code, and the first of its words
//	q_scale      I32 [g, n/8]  4 bits for each row: how large its scale is
//	q_scale_max  F16 [g]
//	q_invperm    I32 [k]       where each element is among those of the groups
//
// An element is scale * (code - 2^(bits-1)), and a scale is (q + 1)^2 * (max / 256), with
// every result rounded to float16. Rows are added to make n a multiple of 32. What is
// configured are averages, and nothing at all was before March 2024.
var EXL2 = Format{Name: "EXL2", Methods: []string{"exl2"}, unpack: unpackEXL2}

func unpackEXL2(c *checkpoint, name string) (string, weights.Rows, error) {
	module, ok := strings.CutSuffix(name, ".q_weight")
	if !ok {
		return "", nil, nil
	}
	m := &exl2{module: module, codes: c.Get(name)}
	for _, part := range []struct {
		name string
		r    *weights.Rows
	}{{".q_groups", &m.groups}, {".q_scale", &m.scales}, {".q_scale_max", &m.largest}, {".q_invperm", &m.places}} {
		var err error
		if *part.r, err = c.part(name, module+part.name); err != nil {
			return "", nil, err
		}
	}
	c.drop(module + ".q_perm") // the inverse of q_invperm, which exllamav2 computes anew
	if err := m.shape(); err != nil {
		return "", nil, err
	}
	c.layout = fmt.Sprintf("%.1f-bit", 32*float64(m.codes.Shape()[0])/float64(m.k)) // the mean
	m.index = sync.OnceValues(m.readIndex)
	r := weights.Compute([]int64{m.n, m.k}, weights.F16, exl2Together, m.read, m.codes, m.scales)
	return module + ".weight", weights.Padded(r, 32, 1), nil
}

// exl2 is a packed matrix.
type exl2 struct {
	module                                 string
	codes, groups, scales, largest, places weights.Rows
	n, k                                   int64
	index                                  func() (*exl2Index, error)
}

// exl2Index is what all rows of a matrix have in common.
type exl2Index struct {
	groups   []exl2Group
	elements []int32 // of the codes, in the order of these
}

// exl2Group is some elements whose codes have the same size.
type exl2Group struct {
	bits, word   int64 // word is the first that has codes
	first, count int64 // elements
	scales       [16]float32
}

func (m *exl2) corrupt(part, format string, args ...any) error {
	return fmt.Errorf("%w: tensor %.200q: "+format, append([]any{gguf.ErrCorrupt, m.module + part}, args...)...)
}

// shape derives the sizes from the shapes of the tensors, and compares them.
func (m *exl2) shape() error {
	codes, groups, scales, places := m.codes.Shape(), m.groups.Shape(), m.scales.Shape(), m.places.Shape()
	if len(codes) != 2 || len(groups) != 1 || len(scales) != 2 || len(places) != 1 || m.codes.Dtype() != weights.I32 ||
		m.groups.Dtype() != weights.I16 || m.scales.Dtype() != weights.I32 || m.places.Dtype() != weights.I32 {
		return m.corrupt(".q_weight", "type %s and shape %v, with q_groups of %s and %v, q_scale of %s and %v and q_invperm of %s and %v; it is no matrix of EXL2",
			m.codes.Dtype(), codes, m.groups.Dtype(), groups, m.scales.Dtype(), scales, m.places.Dtype(), places)
	}
	m.n, m.k = codes[1], places[0]
	if codes[0] < 1 || m.n < 1 || m.n%32 != 0 || m.k < 1 || scales[0] < 1 || !slices.Equal(scales, []int64{groups[0] / 2, m.n / 8}) || groups[0]%2 != 0 {
		return m.corrupt(".q_weight", "shape %v does not fit q_groups of shape %v, q_scale of shape %v and q_invperm of shape %v", codes, groups, scales, places)
	}
	if m.largest.Dtype() != weights.F16 || !slices.Equal(m.largest.Shape(), scales[:1]) {
		return m.corrupt(".q_scale_max", "type %s and shape %v, there are %d groups", m.largest.Dtype(), m.largest.Shape(), scales[0])
	}
	return nil
}

// readIndex reads what all rows have in common.
func (m *exl2) readIndex() (*exl2Index, error) {
	groups, err := m.readGroups()
	if err != nil {
		return nil, err
	}
	if err := m.readScales(groups); err != nil {
		return nil, err
	}
	places, elements := make([]byte, 4*m.k), make([]int32, m.k)
	if err := m.places.ReadRaw(places, 0, 1); err != nil {
		return nil, err
	}
	for i := range elements {
		elements[i] = -1
	}
	for i := range elements {
		place := binary.LittleEndian.Uint32(places[4*i:])
		if int64(place) >= m.k {
			return nil, m.corrupt(".q_invperm", "place %d of element %d, there are %d", int32(place), i, m.k)
		}
		if other := elements[place]; other >= 0 {
			return nil, m.corrupt(".q_invperm", "elements %d and %d have the same place %d", other, i, place)
		}
		elements[place] = int32(i)
	}
	return &exl2Index{groups, elements}, nil
}

// readGroups reads which elements and words are whose. All words of a group are full of
// codes, but for the last group.
func (m *exl2) readGroups() ([]exl2Group, error) {
	const part = ".q_groups"
	words, count := m.codes.Shape()[0], m.scales.Shape()[0]
	raw, groups := make([]byte, 4*count), make([]exl2Group, count)
	if err := m.groups.ReadRaw(raw, 0, 1); err != nil {
		return nil, err
	}
	word := func(i int) int64 { return int64(binary.LittleEndian.Uint16(raw[4*i+2:])) }
	first := int64(0)
	for i := range groups {
		g := exl2Group{bits: int64(binary.LittleEndian.Uint16(raw[4*i:])), word: word(i), first: first}
		if !slices.Contains([]int64{2, 3, 4, 5, 6, 8}, g.bits) {
			return nil, m.corrupt(part, "group %d has codes of %d bits; 2, 3, 4, 5, 6 and 8 are possible", i, g.bits)
		}
		last, end := i == len(groups)-1, words
		if !last {
			end = word(i + 1)
		}
		if i == 0 && g.word != 0 || end <= g.word || end > words {
			return nil, m.corrupt(part, "group %d has words %d to %d of %d", i, g.word, end, words)
		}
		g.count = (end - g.word) * 32 / g.bits
		if left := m.k - first; last && left > 0 && left <= g.count && (left*g.bits+31)/32 == end-g.word {
			g.count = left
		} else if last || g.count >= left || g.count*g.bits != (end-g.word)*32 {
			return nil, m.corrupt(part, "group %d of %d has %d words for codes of %d bits, where %d elements are left", i, count, end-g.word, g.bits, left)
		}
		groups[i] = g
		first += g.count
	}
	return groups, nil
}

// readScales fills in the scales that the rows of each group choose from.
func (m *exl2) readScales(groups []exl2Group) error {
	largest := make([]float32, len(groups))
	if err := m.largest.ReadRows(largest, 0, 1); err != nil {
		return err
	}
	if i := slices.IndexFunc(largest, isNotFinite); i >= 0 {
		return m.corrupt(".q_scale_max", "scale of group %d is %v", i, largest[i])
	}
	for i := range largest {
		largest[i] /= 256
	}
	weights.F16.Round(largest)
	for i := range groups {
		g := &groups[i]
		for q := range g.scales {
			g.scales[q] = float32((q+1)*(q+1)) * largest[i]
		}
		weights.F16.Round(g.scales[:])
	}
	return nil
}

// exl2Columns is what some rows are unpacked from, which are columns in the file.
type exl2Columns struct {
	of            *exl2
	first, n      int64
	words, scales []byte // of all columns, row after row
	column        []byte // words of one, and 8 bytes
}

// exl2Together is how many columns are read together: a KiB of each row of words.
const exl2Together = 256

var exl2Kept kept[*exl2, exl2Columns]

func (m *exl2) read(dst []float32, first, n int64) error {
	index, err := m.index()
	if err != nil {
		return err
	}
	return exl2Kept.each(m, first, n, func(c *exl2Columns, from, n int64) error {
		for column := from; column < from+n; column++ {
			if err := c.unpack(dst[:m.k], column, index); err != nil {
				return err
			}
			dst = dst[m.k:]
		}
		return nil
	})
}

func (m *exl2) rowBlocks() (rows, each int64) { return m.n, exl2Together }

func (m *exl2) readBlock(c *exl2Columns, first, n int64) error {
	height, groups := m.codes.Shape()[0], m.scales.Shape()[0]
	*c = exl2Columns{
		of: m, first: first, n: n,
		words: sized(c.words, 4*height*n), scales: sized(c.scales, groups*n/2), column: sized(c.column, 4*height+8),
	}
	if err := wordColumns(c.words, m.codes, first, n); err != nil {
		return err
	}
	return weights.ReadColumns(m.scales, c.scales, first/8, n/8)
}

// beyondF16 is the smallest number that float16 rounds to infinity.
const beyondF16 = 65520

// unpack unpacks a row from a column. A product has few enough bits for float32: it is
// rounded to float16 later, once.
func (c *exl2Columns) unpack(row []float32, column int64, index *exl2Index) error {
	for i, at := 0, 4*column; at < int64(len(c.words)); i, at = i+4, at+4*c.n {
		binary.LittleEndian.PutUint32(c.column[i:], binary.LittleEndian.Uint32(c.words[at:]))
	}
	for i := range index.groups {
		g := &index.groups[i]
		scale := g.scales[bitField(c.scales[int64(i)*c.n/2:], column, 4)]
		if most := scale * float32(int64(1)<<(g.bits-1)); most >= beyondF16 || most <= -beyondF16 {
			return c.of.corrupt(".q_scale_max", "scale of group %d for codes of %d bits is beyond float16, %v in row %d", i, g.bits, scale, c.first+column)
		}
		g.decode(row, index.elements[g.first:][:g.count], c.column[4*g.word:], scale)
	}
	return nil
}

// decode writes the group's elements of a row. Eight codes take as many bytes as a code has
// bits; codes has eight bytes behind them.
func (g *exl2Group) decode(row []float32, elements []int32, codes []byte, scale float32) {
	bits, mask, middle := uint(g.bits), int32(1)<<g.bits-1, int32(1)<<(g.bits-1)
	value := func(eight uint64) float32 { return float32(int32(eight)&mask-middle) * scale }
	for len(elements) >= 8 {
		eight := binary.LittleEndian.Uint64(codes)
		e := (*[8]int32)(elements)
		row[e[0]] = value(eight)
		eight >>= bits & 63
		row[e[1]] = value(eight)
		eight >>= bits & 63
		row[e[2]] = value(eight)
		eight >>= bits & 63
		row[e[3]] = value(eight)
		eight >>= bits & 63
		row[e[4]] = value(eight)
		eight >>= bits & 63
		row[e[5]] = value(eight)
		eight >>= bits & 63
		row[e[6]] = value(eight)
		eight >>= bits & 63
		row[e[7]] = value(eight)
		elements, codes = elements[8:], codes[bits:]
	}
	eight := binary.LittleEndian.Uint64(codes)
	for _, e := range elements {
		row[e] = value(eight)
		eight >>= bits & 63
	}
}
