package packed

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
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
	r := weights.Compute([]int64{m.n, m.k}, weights.F32, 32, m.read, m.codes, m.scales)
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
	bits                 int64
	add                  zeroOffset
	index                func() ([]int32, error) // the group of each element
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
	m.k = codes[0] * 32 / m.bits
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

// readIndex reads the group of each element.
func (m *gptq) readIndex() ([]int32, error) {
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
	return index, nil
}

func (m *gptq) read(dst []float32, first, n int64) error {
	index, err := m.index()
	if err != nil {
		return err
	}
	return inBlocks(dst, m.k, first, n, func(dst []float32, first, n int64) error { return m.readBlock(dst, first, n, index) })
}

// readColumns reads the words, scales and zero points of rows.
func (m *gptq) readColumns(first, n int64) (words []byte, scales, zeros []float32, err error) {
	words = make([]byte, 4*m.codes.Shape()[0]*n)
	if err := weights.ReadColumns(m.codes, words, first, n); err != nil {
		return nil, nil, nil, err
	}
	if scales, err = scaleColumns(m.name, m.scales, first, n); err != nil {
		return nil, nil, nil, err
	}
	zeros, err = m.zeroPoints(first, n)
	return words, scales, zeros, err
}

// readBlock unpacks rows, which are columns of the words.
func (m *gptq) readBlock(dst []float32, first, n int64, index []int32) error {
	words, scales, zeros, err := m.readColumns(first, n)
	if err != nil {
		return err
	}
	var block [8]uint32 // up to 32 codes
	var codes [32]float32
	for k := int64(0); k < m.k; k += 32 {
		count := min(32, m.k-k)
		groups := index[k:][:count]
		one := !slices.ContainsFunc(groups, func(g int32) bool { return g != groups[0] })
		first, some := k*m.bits/32, (count*m.bits+31)/32 // words
		for col := range n {
			for i := range some {
				block[i] = binary.LittleEndian.Uint32(words[4*((first+i)*n+col):])
			}
			decode(&codes, &block, m.bits)
			row := dst[col*m.k+k:][:count]
			if one {
				at := int64(groups[0])*n + col
				scale, zero := scales[at], zeros[at]
				for i := range row {
					row[i] = (codes[i] - zero) * scale
				}
				continue
			}
			for i, g := range groups {
				at := int64(g)*n + col
				row[i] = (codes[i] - zeros[at]) * scales[at]
			}
		}
	}
	return nil
}

// blocks returns the matrix as blocks, if the 32 elements of each are of one group and the
// scale is a float16. Where all zero points are half of the codes these are of 4 or 8 bits;
// other codes less their zero points may have one bit more.
func (m *gptq) blocks() (*weights.Blocks, error) {
	index, err := m.index()
	if err != nil {
		return nil, err
	}
	for k, g := range index {
		if g != index[k&^31] {
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
	return integers{
		k: m.k, least: -most, most: 1<<m.bits - 1 - least,
		read: func(q []int8, d []uint16, first, n int64) error { return m.readIntegers(q, d, first, n, index) },
	}.blocks(), nil
}

// zeroRange returns the smallest and the largest zero point.
func (m *gptq) zeroRange() (least, most int, err error) {
	const some = 4096 // columns
	least = math.MaxInt
	for first := int64(0); first < m.n; first += some {
		zeros, err := m.zeroPoints(first, min(some, m.n-first))
		if err != nil {
			return 0, 0, err
		}
		least, most = min(least, int(slices.Min(zeros))), max(most, int(slices.Max(zeros)))
	}
	return least, most, nil
}

// readIntegers reads codes less their zero points, and a scale for each 32.
func (m *gptq) readIntegers(q []int8, d []uint16, first, n int64, index []int32) error {
	words, scales, zeros, err := m.readColumns(first, n)
	if err != nil {
		return err
	}
	var block [8]uint32
	var codes [32]float32
	for b := range m.k / 32 {
		for col := range n {
			for i := range m.bits {
				block[i] = binary.LittleEndian.Uint32(words[4*((b*m.bits+i)*n+col):])
			}
			decode(&codes, &block, m.bits)
			at := int64(index[32*b])*n + col
			row, zero := (*[32]int8)(q[col*m.k+32*b:]), zeros[at]
			for i, c := range codes {
				row[i] = int8(int32(c - zero))
			}
			d[(col*m.k+32*b)/32], _ = float16(scales[at])
		}
	}
	return nil
}

// decode takes 32 codes out of so many words, from the lowest bit of the first on.
func decode(codes *[32]float32, words *[8]uint32, bits int64) {
	switch bits {
	case 4:
		for i := range 4 {
			for j, w := 0, words[i]; j < 8; j, w = j+1, w>>4 {
				codes[8*i+j] = float32(w & 15)
			}
		}
	default:
		mask := uint64(1)<<bits - 1
		for i := range int64(32) {
			at := i * bits
			w := uint64(words[at/32])
			if at/32 < 7 {
				w |= uint64(words[at/32+1]) << 32
			}
			codes[i] = float32(w >> (at % 32) & mask)
		}
	}
}

// zeroPoints returns those of some rows, for each group.
func (m *gptq) zeroPoints(first, n int64) ([]float32, error) {
	from := first &^ 31 // where a word begins for all sizes of codes
	to := min((first+n+31)&^31, m.n)
	width := (to - from) * m.bits / 32
	words := make([]byte, 4*m.groups*width)
	if err := weights.ReadColumns(m.zeros, words, from*m.bits/32, width); err != nil {
		return nil, err
	}
	carry := m.add == addOnes && bits.OnesCount64(uint64(m.bits)) == 1 // not of 3 bits
	if carry {
		ones := ^uint32(0) / (1<<m.bits - 1)
		for i := 0; i < len(words); i += 4 {
			binary.LittleEndian.PutUint32(words[i:], binary.LittleEndian.Uint32(words[i:])+ones)
		}
	}
	most := uint32(1)<<m.bits - 1
	zeros := make([]float32, m.groups*n)
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
			zeros[g*n+i] = float32(z)
		}
	}
	return zeros, nil
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
