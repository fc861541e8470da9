package packed

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// GPTQ has codes of 2, 3, 4 or 8 bits, and a scale and a zero point for each group of a
// row's elements, as AutoGPTQ, GPTQModel and AutoRound write them. Of a matrix of n rows
// of k elements, with g groups:
//
//	qweight  I32 [k*bits/32, n]  in each column the codes of a row, from the lowest bit of the first word on
//	qzeros   I32 [g, n*bits/32]  zero points, one stream in each row
//	scales   F16 [g, n]
//	g_idx    I32 [k]             the group of each element; equal runs of elements if it is missing, or zero
//	bias     F16 [n]             AutoGPTQ before 2024 wrote zeros for all matrices
//
// An element is scale * (code - zero). Zero points are stored less one, except in
// checkpoints of checkpoint_format gptq_v2. Where one is 0, AutoGPTQ spoiled its
// neighbours, and read them so; GPTQModel borrows from them.
var GPTQ = Format{Name: "GPTQ", Methods: []string{"gptq", "auto-round"}, unpack: unpackGPTQ}

type gptqSettings struct {
	Bits             *int64         `json:"bits"`
	GroupSize        int64          `json:"group_size"`
	Sym              *bool          `json:"sym"`
	Marlin           bool           `json:"is_marlin_format"`
	CheckpointFormat string         `json:"checkpoint_format"`
	Packing          string         `json:"packing_format"` // AutoRound
	Dynamic          jsontext.Value `json:"dynamic"`        // other settings for some matrices
	Meta             struct {
		Quantizer jsontext.Value `json:"quantizer"` // texts, or one
	} `json:"meta"`
}

func unpackGPTQ(c *checkpoint, name string) (string, weights.Rows, error) {
	module, ok := strings.CutSuffix(name, ".qweight")
	if !ok || awqKind(c, module) != awqNone {
		return "", nil, nil
	}
	s, err := settings[gptqSettings](c)
	if err != nil {
		return "", nil, err
	}
	if err := s.check(c); err != nil {
		return "", nil, err
	}
	m := &gptq{name: name, codes: c.Get(name), add: s.zeroOffset()}
	if m.scales, err = c.part(name, module+".scales"); err != nil {
		return "", nil, err
	}
	if m.zeros, err = c.part(name, module+".qzeros"); err != nil {
		return "", nil, err
	}
	if g := c.Get(module + ".g_idx"); g != nil {
		m.groupOf = g
		c.drop(module + ".g_idx")
	}
	if err := m.shape(s); err != nil {
		return "", nil, err
	}
	if err := m.checkLabel(s); err != nil {
		return "", nil, err
	}
	if bias := c.Get(module + ".bias"); bias != nil {
		zero, err := isZero(bias)
		if err != nil {
			return "", nil, err
		}
		if zero {
			c.replaced[module+".bias"] = tensor{module + ".bias", weights.Spare(bias)}
		}
	}
	c.layout = groupLayout(m.bits, m.groupSize, m.k)
	m.index = sync.OnceValues(m.readIndex)
	r := weights.Compute([]int64{m.n, m.k}, weights.F32, m.grain, m.read, m.codes, m.scales)
	return module + ".weight", weights.Exact(r, m.blocks), nil
}

// check refuses layouts of the same tensors that are not read.
func (s *gptqSettings) check(c *checkpoint) error {
	switch {
	case s.Marlin || s.CheckpointFormat == "marlin":
		return c.unsupported("GPTQ in the layout of Marlin")
	case !slices.Contains([]string{"", "gptq", "gptq_v2"}, s.CheckpointFormat):
		return c.unsupported(fmt.Sprintf("GPTQ, checkpoint_format %.100q", s.CheckpointFormat))
	case !slices.Contains([]string{"", "auto_round:auto_gptq"}, s.Packing):
		return c.unsupported(fmt.Sprintf("AutoRound, packing_format %.100q", s.Packing))
	}
	return nil
}

// zeroOffset is how a zero point comes from what is stored.
type zeroOffset int

const (
	addOne     zeroOffset = iota // to each, as AutoGPTQ does
	addOnes                      // to each, where the sum carries over to the next: GPTQModel
	addNothing                   // gptq_v2
)

func (s *gptqSettings) zeroOffset() zeroOffset {
	switch {
	case s.CheckpointFormat == "gptq_v2":
		return addNothing
	case bytes.Contains(s.Meta.Quantizer, []byte("gptqmodel")):
		return addOnes
	}
	return addOne
}

// gptq is a packed matrix.
type gptq struct {
	name                 string // of codes
	codes, zeros, scales weights.Rows
	groupOf              weights.Rows // nil if equal runs of elements are groups
	n, k, groups         int64
	groupSize            int64
	grain                int64 // columns that are read together
	bits                 int64
	add                  zeroOffset
	index                func() (*gptqIndex, error)
}

func (m *gptq) corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: tensor %.200q: "+format, append([]any{gguf.ErrCorrupt, m.name}, args...)...)
}

// shape derives the sizes from the shapes of the tensors, and compares them.
func (m *gptq) shape(s *gptqSettings) error {
	codes, zeros, scales := m.codes.Shape(), m.zeros.Shape(), m.scales.Shape()
	if len(codes) != 2 || len(zeros) != 2 || len(scales) != 2 || !m.scales.Dtype().Float() {
		return m.corrupt("shape %v, with zero points of shape %v and scales of type %s and shape %v; it is no matrix of GPTQ",
			codes, zeros, m.scales.Dtype(), scales)
	}
	if m.codes.Dtype() != weights.I32 || m.zeros.Dtype() != weights.I32 {
		return fmt.Errorf("%w: tensor %.200q: codes of GPTQ in words of %s and %s (I32 is read)", gguf.ErrUnsupported, m.name, m.codes.Dtype(), m.zeros.Dtype())
	}
	m.n, m.groups = codes[1], scales[0]
	if scales[1] != m.n || zeros[0] != m.groups || m.n < 1 || m.groups < 1 || codes[0] < 1 {
		return m.corrupt("shape %v does not fit zero points of shape %v and scales of shape %v", codes, zeros, scales)
	}
	m.bits = zeros[1] * 32 / m.n
	if !slices.Contains([]int64{2, 3, 4, 8}, m.bits) || m.bits*m.n != zeros[1]*32 {
		return m.corrupt("%d words of zero points for %d rows; codes of 2, 3, 4 or 8 bits are read", zeros[1], m.n)
	}
	if s.Bits != nil && *s.Bits != m.bits && s.Dynamic == nil {
		return m.corrupt("codes of %d bits, the configuration says %d", m.bits, *s.Bits)
	}
	m.k, m.grain = codes[0]*32/m.bits, gptqTogether(codes[0])
	if m.k*m.bits != codes[0]*32 || m.groups > m.k {
		return m.corrupt("%d words of codes of %d bits in %d groups", codes[0], m.bits, m.groups)
	}
	if m.groupOf != nil && (m.groupOf.Dtype() != weights.I32 || !slices.Equal(m.groupOf.Shape(), []int64{m.k})) {
		return m.corrupt("rows of %d elements, its g_idx is of type %s and shape %v", m.k, m.groupOf.Dtype(), m.groupOf.Shape())
	}
	if m.groupSize = groupSize(m.k, m.groups, s.GroupSize); m.groupSize == 0 {
		return m.corrupt("%d groups for rows of %d elements", m.groups, m.k)
	}
	return nil
}

// checkLabel finds out what is stored for the zero points of a symmetric checkpoint,
// all of which are half of the codes: some say they are of the other checkpoint_format.
func (m *gptq) checkLabel(s *gptqSettings) error {
	if s.Sym != nil && !*s.Sym {
		return nil
	}
	words := make([]byte, m.zeros.Shape()[1]*4)
	if err := m.zeros.ReadRaw(words, 0, 1); err != nil {
		return err
	}
	all := func(field uint32) bool {
		for i := range m.n {
			if bitField(words, i, m.bits) != field {
				return false
			}
		}
		return true
	}
	half := uint32(1) << (m.bits - 1)
	switch {
	case all(half):
		m.add = addNothing
	case all(half-1) && m.add == addNothing:
		m.add = addOne
	}
	return nil
}

// gptqIndex says which group elements are of.
type gptqIndex struct {
	group []int32 // of each element
	// runs are all elements, if those of each are neighbours and in whole words of codes
	// of 4 bits; else nil.
	runs []gptqRun
}

// gptqRun are elements of a group.
type gptqRun struct {
	group      int32
	first, end int64
}

// newGPTQIndex finds the runs.
func newGPTQIndex(group []int32) *gptqIndex {
	index := &gptqIndex{group: group}
	for k := 0; k < len(group); {
		end := k + 1
		for end < len(group) && group[end] == group[k] {
			end++
		}
		if (end-k)%8 != 0 {
			index.runs = nil
			break
		}
		index.runs = append(index.runs, gptqRun{group[k], int64(k), int64(end)})
		k = end
	}
	return index
}

// readIndex reads the group of each element.
func (m *gptq) readIndex() (*gptqIndex, error) {
	index := make([]int32, m.k)
	zero := true
	if m.groupOf != nil {
		raw := make([]byte, 4*m.k)
		if err := m.groupOf.ReadRaw(raw, 0, 1); err != nil {
			return nil, err
		}
		for i := range index {
			g := int32(binary.LittleEndian.Uint32(raw[4*i:]))
			zero = zero && g == 0
			if g < 0 {
				g += int32(m.groups)
			}
			if g < 0 || int64(g) >= m.groups {
				return nil, fmt.Errorf("%w: tensor %.200q: group %d of element %d, there are %d", gguf.ErrCorrupt,
					strings.TrimSuffix(m.name, "qweight")+"g_idx", g, i, m.groups)
			}
			index[i] = g
		}
	}
	if zero {
		for i := range index {
			index[i] = int32(int64(i) / m.groupSize)
		}
	}
	return newGPTQIndex(index), nil
}

// gptqColumns is what some rows are unpacked from, which are columns in the file.
type gptqColumns struct {
	of       *gptq
	first, n int64
	// What was asked for: n words of each row of qweight, and of each group n scales, zero
	// points, and scales that are float16.
	words         []byte
	scales, zeros []float32
	halves        []uint16
	near          []scaleZero
}

// scaleZero is what a group of a row has; those of a row are next to each other.
type scaleZero struct{ scale, zero float32 }

// gptqTogether returns how many columns are read together of so many rows of words: enough
// of each row to make it worth while, and else 512 KiB, so that these and the rows that are made
// of them stay in the cache.
func gptqTogether(height int64) int64 {
	const least, bytes = 128, 512 << 10
	return max(least, bytes/(4*height)/least*least)
}

var gptqKept kept[*gptq, gptqColumns]

func (m *gptq) rowBlocks() (rows, each int64) { return m.n, m.grain }

func (m *gptq) readBlock(b *gptqColumns, first, n int64) error {
	b.of, b.first, b.n = m, first, n
	b.words, b.scales, b.zeros, b.halves = b.words[:0], b.scales[:0], b.zeros[:0], b.halves[:0]
	return nil
}

func (b *gptqColumns) readWords() error {
	if len(b.words) > 0 {
		return nil
	}
	b.words = sized(b.words, 4*b.of.codes.Shape()[0]*b.n)
	return wordColumns(b.words, b.of.codes, b.first, b.n)
}

func (b *gptqColumns) readScales() error {
	if len(b.scales) > 0 {
		return nil
	}
	return scaleColumns(&b.scales, b.of.name, b.of.scales, b.first, b.n)
}

func (b *gptqColumns) readZeros() error {
	if len(b.zeros) > 0 {
		return nil
	}
	return b.of.zeroPoints(&b.zeros, b.first, b.n)
}

func (b *gptqColumns) readHalves() error {
	if len(b.halves) > 0 {
		return nil
	}
	return halfColumns(&b.halves, b.of.name, b.of.scales, b.first, b.n)
}

func (m *gptq) read(dst []float32, first, n int64) error {
	index, err := m.index()
	if err != nil {
		return err
	}
	return gptqKept.each(m, first, n, func(b *gptqColumns, col, rows int64) error {
		if err := cmp.Or(b.readWords(), b.readScales(), b.readZeros()); err != nil {
			return err
		}
		for ; rows > 0; rows -= fewColumns {
			some := min(rows, fewColumns)
			if index.runs != nil && m.bits == 4 {
				b.nibbles(dst, col, some, index.runs)
			} else {
				b.values(dst, col, some, index.group)
			}
			dst, col = dst[some*m.k:], col+some
		}
		return nil
	})
}

// fewColumns is how many columns become numbers side by side: no more than there are ways
// in a cache, since rows are often a multiple of its size apart.
const fewColumns = 8

// nibbles unpacks rows of codes of 4 bits whose groups are runs.
func (b *gptqColumns) nibbles(dst []float32, col, rows int64, runs []gptqRun) {
	step, words := 4*b.n, b.words[4*col:]
	var values [fewColumns][16]float32
	for _, r := range runs {
		for i := range rows {
			at := int64(r.group)*b.n + col + i
			scale, zero := b.scales[at], b.zeros[at]
			for code := range values[i] {
				values[i][code] = (float32(code) - zero) * scale
			}
		}
		for at := r.first / 8; at < r.end/8; at++ {
			line := words[at*step:][:4*rows]
			for i := range rows {
				w, v, x := binary.LittleEndian.Uint32(line[4*i:]), &values[i], (*[8]float32)(dst[i*b.of.k+8*at:])
				x[0], x[1], x[2], x[3] = v[w&15], v[w>>4&15], v[w>>8&15], v[w>>12&15]
				x[4], x[5], x[6], x[7] = v[w>>16&15], v[w>>20&15], v[w>>24&15], v[w>>28]
			}
		}
	}
}

// values unpacks rows of any codes and groups.
func (b *gptqColumns) values(dst []float32, col, rows int64, group []int32) {
	groups := b.of.groups
	b.near = sized(b.near, rows*groups)
	for g := range groups {
		for i := range rows {
			b.near[i*groups+g] = scaleZero{b.scales[g*b.n+col+i], b.zeros[g*b.n+col+i]}
		}
	}
	var codes [32]uint8
	for k := int64(0); k < b.of.k; k += 32 {
		for i := range rows {
			b.codes(&codes, k, col+i)
			part, near := dst[i*b.of.k+k:][:min(32, b.of.k-k)], b.near[i*groups:][:groups]
			for j, g := range group[k:][:len(part)] {
				part[j] = (float32(codes[j&31]) - near[g].zero) * near[g].scale
			}
		}
	}
}

// word returns one of a column.
func (b *gptqColumns) word(i, col int64) uint32 {
	return binary.LittleEndian.Uint32(b.words[4*(i*b.n+col):])
}

// codes takes 32 codes out of a column, or as many as there are, from code k on.
func (b *gptqColumns) codes(codes *[32]uint8, k, col int64) {
	bits := b.of.bits
	first, end := k*bits/32, min(k+32, b.of.k)*bits/32
	switch bits {
	case 4:
		for i, at := 0, first; at < end; i, at = i+8, at+1 {
			binary.LittleEndian.PutUint64(codes[i:], spread(uint64(b.word(at, col))))
		}
		return
	case 8:
		for i, at := 0, first; at < end; i, at = i+4, at+1 {
			binary.LittleEndian.PutUint32(codes[i:], b.word(at, col))
		}
		return
	}
	var buffer, have uint64
	mask := uint64(1)<<bits - 1
	i := 0
	for at := first; at < end; at++ {
		buffer |= uint64(b.word(at, col)) << have
		for have += 32; have >= uint64(bits) && i < len(codes); i++ {
			codes[i] = uint8(buffer & mask)
			buffer >>= bits
			have -= uint64(bits)
		}
	}
}

// lineColumns is how many columns are unpacked side by side: some cache lines of words.
const lineColumns = 128

// putQ40 stores rows of codes of 4 bits without their zero points, which are all 8: those of
// columns from column col on, whose words are the first of so many. Columns that are next to
// each other go to rows that are not, a block of each at a time.
func (b *gptqColumns) putQ40(dst []byte, col, rows int64, words []byte, width int64, group []int32) {
	rowBytes := int(b.of.k / 32 * 18)
	for ; rows > 0; rows, col = rows-lineColumns, col+lineColumns {
		n := min(rows, lineColumns)
		for k := int64(0); k < b.of.k; k += 32 {
			quant.ColumnsQ40(dst[k/32*18:], rowBytes, b.halves[int64(group[k])*b.n+col:][:n], words[k/8*4*width:], int(width))
		}
		dst, words = dst[n*int64(rowBytes):], words[4*n:]
	}
}

// putQ80 stores rows of codes of 8 bits less their zero points, which are all 128.
func (b *gptqColumns) putQ80(dst []byte, col, rows int64, words []byte, width int64, group []int32) {
	rowBytes := int(b.of.k / 32 * 34)
	for ; rows > 0; rows, col = rows-lineColumns, col+lineColumns {
		n := min(rows, lineColumns)
		for k := int64(0); k < b.of.k; k += 32 {
			at := int(k / 32 * 34)
			for i, d := range b.halves[int64(group[k])*b.n+col:][:n] {
				binary.LittleEndian.PutUint16(dst[i*rowBytes+at:], d)
			}
			for w := range int64(8) {
				line := words[4*(k/4+w)*width:][:4*n]
				for i := range int(n) {
					binary.LittleEndian.PutUint32(dst[i*rowBytes+at+2+4*int(w):], binary.LittleEndian.Uint32(line[4*i:])^0x80808080)
				}
			}
		}
		dst, words = dst[n*int64(rowBytes):], words[4*n:]
	}
}

// blocks returns the matrix as blocks, if the 32 elements of each are of one group and the
// scale is a float16. Where all zero points are half of the codes these are of 4 or 8 bits;
// other codes less their zero points may have one bit more.
func (m *gptq) blocks() (*weights.Blocks, error) {
	index, err := m.index()
	if err != nil {
		return nil, err
	}
	for k, g := range index.group {
		if g != index.group[k&^31] {
			return nil, nil
		}
	}
	if ok, err := areFloat16(m.scales); err != nil || !ok {
		return nil, err
	}
	least, most, err := m.zeroRange()
	if err != nil {
		return nil, err
	}
	b := integers{
		k: m.k, least: -most, most: 1<<m.bits - 1 - least,
		read: func(q []int8, d []uint16, first, n int64) error { return m.readIntegers(q, d, first, n, index.group) },
	}.blocks()
	if b == nil || least != most || least != 1<<(m.bits-1) {
		return b, nil
	}
	rowBytes := b.Type.RowBytes(m.k)
	var put func(b *gptqColumns, dst []byte, col, rows int64, words []byte, width int64, group []int32)
	switch m.bits {
	case 4:
		put = (*gptqColumns).putQ40
	case 8:
		put = (*gptqColumns).putQ80
	default:
		return b, nil
	}
	b.Read = func(dst []byte, first, n int64) error {
		return gptqKept.each(m, first, n, func(b *gptqColumns, col, rows int64) error {
			if err := b.readHalves(); err != nil {
				return err
			}
			err := weights.View(m.codes, func(words []byte) error {
				put(b, dst, col, rows, words[4*(b.first+col):], m.n, index.group)
				return nil
			})
			if errors.Is(err, errors.ErrUnsupported) {
				if err = b.readWords(); err == nil {
					put(b, dst, col, rows, b.words[4*col:], b.n, index.group)
				}
			}
			dst = dst[rows*rowBytes:]
			return err
		})
	}
	return b, nil
}

// zeroRange returns the smallest and the largest zero point.
func (m *gptq) zeroRange() (least, most int, err error) {
	const some = 4096 // columns
	if zero, ok, err := m.onlyZero(); ok || err != nil {
		return zero, zero, err
	}
	least = math.MaxInt
	var zeros []float32
	for first := int64(0); first < m.n; first += some {
		if err := m.zeroPoints(&zeros, first, min(some, m.n-first)); err != nil {
			return 0, 0, err
		}
		least, most = min(least, int(slices.Min(zeros))), max(most, int(slices.Max(zeros)))
	}
	return least, most, nil
}

// onlyZero returns the zero point that all are, if all words of them are the same: the
// quick way for a matrix that is symmetric.
func (m *gptq) onlyZero() (zero int, ok bool, err error) {
	groups, width := weights.Count(m.zeros.Shape())
	words := make([]byte, 4*width)
	for g := range groups {
		first := binary.LittleEndian.Uint32(words)
		if err := m.zeros.ReadRaw(words, g, 1); err != nil {
			return 0, false, err
		}
		if g == 0 {
			first = binary.LittleEndian.Uint32(words)
		}
		for i := 0; i < len(words); i += 4 {
			if binary.LittleEndian.Uint32(words[i:]) != first {
				return 0, false, nil
			}
		}
	}
	var zeros []float32
	if err := m.zeroPoints(&zeros, 0, min(m.n, 32)); err != nil || slices.Min(zeros) != slices.Max(zeros) || m.bits == 3 {
		return 0, false, err
	}
	return int(zeros[0]), true, nil
}

// readIntegers reads codes less their zero points, and a scale for each 32.
func (m *gptq) readIntegers(q []int8, d []uint16, first, n int64, group []int32) error {
	return gptqKept.each(m, first, n, func(b *gptqColumns, col, rows int64) error {
		if err := cmp.Or(b.readWords(), b.readHalves(), b.readZeros()); err != nil {
			return err
		}
		var codes [32]uint8
		for end := col + rows; col < end; col++ {
			for k := int64(0); k < m.k; k += 32 {
				b.codes(&codes, k, col)
				at := int64(group[k])*b.n + col
				zero := int32(b.zeros[at])
				for i, c := range codes {
					q[i] = int8(int32(c) - zero)
				}
				d[0] = b.halves[at]
				q, d = q[32:], d[1:]
			}
		}
		return nil
	})
}

// zeroPoints reads those of n rows from row first on, for each group, into a slice whose
// memory is used again.
func (m *gptq) zeroPoints(zeros *[]float32, first, n int64) error {
	from := first &^ 31 // where a word begins for all sizes of codes
	to := min((first+n+31)&^31, m.n)
	width := (to - from) * m.bits / 32
	buf := getBytes(4 * m.groups * width)
	defer byteScratch.Put(buf)
	words := *buf
	if err := weights.ReadColumns(m.zeros, words, from*m.bits/32, width); err != nil {
		return err
	}
	carry := m.add == addOnes && bits.OnesCount64(uint64(m.bits)) == 1 // not of 3 bits
	if carry {
		ones := ^uint32(0) / (1<<m.bits - 1)
		for i := 0; i < len(words); i += 4 {
			binary.LittleEndian.PutUint32(words[i:], binary.LittleEndian.Uint32(words[i:])+ones)
		}
	}
	most := uint32(1)<<m.bits - 1
	*zeros = sized(*zeros, m.groups*n)
	for g := range m.groups {
		line := words[4*g*width:][:4*width]
		for i := range n {
			z := bitField(line, first-from+i, m.bits)
			if m.add != addNothing && !carry {
				z++
				if m.bits != 3 || m.add == addOnes { // AutoGPTQ reads 8 of 3 bits
					z &= most
				}
			}
			(*zeros)[g*n+i] = float32(z)
		}
	}
	return nil
}

// isZero reports whether a vector is zeros only.
func isZero(r weights.Rows) (bool, error) {
	rows, length := weights.Count(r.Shape())
	if rows != 1 || !r.Dtype().Float() {
		return false, nil // whatever it is
	}
	values := make([]float32, length)
	if err := r.ReadRows(values, 0, 1); err != nil {
		return false, err
	}
	return !slices.ContainsFunc(values, func(v float32) bool { return v != 0 }), nil
}
