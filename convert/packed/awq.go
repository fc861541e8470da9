package packed

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// AWQ has codes of 4 bits, and a scale and a zero point for each group of a row's
// elements, as AutoAWQ and llm-awq write them, in one of three layouts. Of a matrix of n
// rows of k elements, with g groups and w words for as many zero points, or more:
//
//	GEMM       qweight I32 [k, n/8]  qzeros I32 [g, n/8]  scales F16 [g, n]
//	GEMV       qweight I32 [n, k/8]  qzeros I32 [n, w]    scales F16 [n, 8*w]
//	GEMV_FAST  qweight I16 [n/4, k]  qzeros F16 [8*w, n]  scales F16 [8*w, n]
//
// An element is scale * (code - zero), and of GEMV_FAST, which is that of llm-awq too,
// scale * code + zero.
var AWQ = Format{Name: "AWQ", Methods: []string{"awq", "auto-round"}, unpack: unpackAWQ}

type awqSettings struct {
	Bits       *int64 `json:"bits"`
	WBit       *int64 `json:"w_bit"`
	GroupSize  int64  `json:"group_size"`
	QGroupSize int64  `json:"q_group_size"`
	ZeroPoint  *bool  `json:"zero_point"`
	Version    string `json:"version"`
}

// awqLayout is how the tensors of a matrix are laid out.
type awqLayout int

const (
	awqNone awqLayout = iota
	awqGEMM
	awqGEMV
	awqFast
)

// awqKind returns the layout of a matrix that has a qweight, by the shapes alone: those
// of square matrices of GEMM and GEMV differ in their scales only. It is awqNone for
// what may be GPTQ.
func awqKind(c *checkpoint, module string) awqLayout {
	codes, scales := c.Get(module+".qweight"), c.Get(module+".scales")
	if scales == nil || c.Get(module+".g_idx") != nil || len(codes.Shape()) != 2 || len(scales.Shape()) != 2 {
		return awqNone
	}
	q, s := codes.Shape(), scales.Shape()
	switch {
	case codes.Dtype() == weights.I16:
		return awqFast
	case q[1] == s[1]/8 && s[1]%8 == 0:
		return awqGEMM
	case q[0] == s[0]:
		return awqGEMV
	}
	return awqNone
}

func unpackAWQ(c *checkpoint, name string) (string, weights.Rows, error) {
	module, ok := strings.CutSuffix(name, ".qweight")
	if !ok {
		return "", nil, nil
	}
	layout := awqKind(c, module)
	if layout == awqNone {
		return "", nil, nil
	}
	s, err := settings[awqSettings](c)
	if err != nil {
		return "", nil, err
	}
	if strings.EqualFold(s.Version, "marlin") || s.ZeroPoint != nil && !*s.ZeroPoint {
		return "", nil, c.unsupported("AWQ in the layout of Marlin, or without zero points")
	}
	for _, b := range []*int64{s.Bits, s.WBit} {
		if b != nil && *b != 4 {
			return "", nil, c.unsupported(fmt.Sprintf("AWQ of %d bits", *b))
		}
	}
	m := &awq{name: name, codes: c.Get(name)}
	if m.scales, err = c.part(name, module+".scales"); err != nil {
		return "", nil, err
	}
	if m.zeros, err = c.part(name, module+".qzeros"); err != nil {
		return "", nil, err
	}
	if c.Get(module+".act.scales") != nil || c.Get(strings.TrimSuffix(module, ".down_proj")+".act.scales") != nil {
		return "", nil, c.unsupported(fmt.Sprintf("tensor %.200q has scales for its activations", name))
	}
	size := max(s.GroupSize, s.QGroupSize)
	switch layout {
	case awqGEMM:
		m.together, m.readRows, err = 256, m.gemm, m.shapeGEMM(size) // two cache lines of each row of words
	case awqGEMV:
		m.together, m.readRows, err = 32, m.gemv, m.shapeGEMV(size)
	case awqFast:
		m.together, m.readRows, err = 32, m.fast, m.shapeFast(size)
	}
	if err != nil {
		return "", nil, err
	}
	c.layout = groupLayout(4, m.groupSize, m.k)
	r := weights.Compute([]int64{m.n, m.k}, weights.F32, m.together, m.read, m.codes, m.scales)
	return module + ".weight", weights.Exact(r, m.blocks), nil
}

// awq is a packed matrix.
type awq struct {
	name                 string // of codes
	codes, zeros, scales weights.Rows
	n, k, groupSize      int64
	added                bool  // GEMV_FAST: zeros are added to codes times scales
	together             int64 // rows that are read together
	// readRows reads n rows from row first on as the layout has them.
	readRows func(r *awqRows, first, n int64) error
}

// awqRows are some rows of codes.
type awqRows struct {
	// codes fills dst with those of a group of a row, one in each byte.
	codes func(dst []byte, row, group int64)
	// group returns the scale of a group, and its zero point, or of GEMV_FAST what is added.
	group func(row, group int64) (scale, zero float32)

	// What these are made of.
	words, zeros  []byte
	scales, added []float32
}

var awqKept kept[*awq, awqRows]

func (m *awq) rowBlocks() (rows, each int64)              { return m.n, m.together }
func (m *awq) readBlock(r *awqRows, first, n int64) error { return m.readRows(r, first, n) }

// each calls use for the groups of n rows from row first on, with their codes and where
// they are in these rows.
func (m *awq) each(first, n int64, use func(codes []byte, at int64, scale, zero float32)) error {
	codes := getBytes(m.groupSize)
	defer byteScratch.Put(codes)
	done := int64(0)
	return awqKept.each(m, first, n, func(r *awqRows, from, n int64) error {
		for g := int64(0); g*m.groupSize < m.k; g++ {
			part := (*codes)[:min(m.groupSize, m.k-g*m.groupSize)]
			for i := range n {
				r.codes(part, from+i, g)
				scale, zero := r.group(from+i, g)
				use(part, (done+i)*m.k+g*m.groupSize, scale, zero)
			}
		}
		done += n
		return nil
	})
}

func (m *awq) read(dst []float32, first, n int64) error {
	var values [16]float32
	return m.each(first, n, func(codes []byte, at int64, scale, zero float32) {
		for code := range values {
			if values[code] = (float32(code) - zero) * scale; m.added {
				values[code] = float32(float32(code)*scale) + zero
			}
		}
		part := dst[at:][:len(codes)]
		for k, code := range codes {
			part[k] = values[code&15]
		}
	})
}

// misfit returns an error that shows the shapes.
func (m *awq) misfit(what string) error {
	return fmt.Errorf("%w: tensor %.200q of type %s and shape %v has zero points of type %s and shape %v and scales of type %s and shape %v: %s", gguf.ErrCorrupt,
		m.name, m.codes.Dtype(), m.codes.Shape(), m.zeros.Dtype(), m.zeros.Shape(), m.scales.Dtype(), m.scales.Shape(), what)
}

func (m *awq) shapeGEMM(size int64) error {
	q, s := m.codes.Shape(), m.scales.Shape()
	groups := s[0]
	m.k, m.n = q[0], s[1]
	if m.codes.Dtype() != weights.I32 || m.zeros.Dtype() != weights.I32 || !m.scales.Dtype().Float() || m.n < 1 || groups < 1 ||
		!slices.Equal(m.zeros.Shape(), []int64{groups, q[1]}) {
		return m.misfit("this is no matrix of AWQ (GEMM)")
	}
	if m.groupSize = groupSize(m.k, groups, size); m.groupSize == 0 {
		return m.misfit(fmt.Sprintf("%d groups for rows of %d elements", groups, m.k))
	}
	return nil
}

// awqOrder has the nibble of a word where each of 8 neighbouring columns is in GEMM.
var awqOrder = [8]int{0, 4, 1, 5, 2, 6, 3, 7}

func (m *awq) gemm(r *awqRows, first, n int64) error {
	from, width := first/8, (n+7)/8 // words
	r.words, r.zeros = sized(r.words, 4*width*m.k), sized(r.zeros, 4*width*m.scales.Shape()[0])
	if err := wordColumns(r.words, m.codes, from, width); err != nil {
		return err
	}
	if err := weights.ReadColumns(m.zeros, r.zeros, from, width); err != nil {
		return err
	}
	if err := scaleColumns(&r.scales, m.name, m.scales, first, n); err != nil {
		return err
	}
	place := func(row int64) (word int64, shift int) { return row / 8, 4 * awqOrder[row%8] }
	r.codes = func(dst []byte, row, group int64) {
		word, shift := place(row)
		column := r.words[4*word:]
		for k := range dst {
			dst[k] = byte(binary.LittleEndian.Uint32(column[4*(group*m.groupSize+int64(k))*width:])>>shift) & 15
		}
	}
	r.group = func(row, group int64) (scale, zero float32) {
		word, shift := place(row)
		return r.scales[group*n+row], float32(binary.LittleEndian.Uint32(r.zeros[4*(group*width+word):]) >> shift & 15)
	}
	return nil
}

// padded returns how many words GEMV and GEMV_FAST have for the zero points of a row.
func (m *awq) padded(size int64) int64 {
	multiple := int64(1)
	switch {
	case size < 64:
		multiple = 4
	case size < 128:
		multiple = 2
	}
	words := (m.k/size + 7) / 8
	return (words + multiple - 1) / multiple * multiple
}

// setGroupSize takes the configured size of groups, or the only usual one with so many
// words of zero points.
func (m *awq) setGroupSize(size, words int64) error {
	sizes := []int64{size}
	if size <= 0 {
		sizes = []int64{32, 64, 128, m.k}
	}
	for _, g := range sizes {
		if g > 0 && g%8 == 0 && g <= m.k && m.k%g == 0 && m.padded(g) == words {
			if m.groupSize != 0 && m.groupSize != g {
				return m.misfit("groups may be of several sizes, and no configuration tells of which")
			}
			m.groupSize = g
		}
	}
	if m.groupSize == 0 {
		return m.misfit(fmt.Sprintf("no %d words of zero points belong to rows of %d elements", words, m.k))
	}
	return nil
}

func (m *awq) shapeGEMV(size int64) error {
	q, z, s := m.codes.Shape(), m.zeros.Shape(), m.scales.Shape()
	m.n, m.k = q[0], 8*q[1]
	if m.codes.Dtype() != weights.I32 || m.zeros.Dtype() != weights.I32 || !m.scales.Dtype().Float() || m.n < 1 || m.k < 1 ||
		len(z) != 2 || z[0] != m.n || z[1] > m.k || s[1] != 8*z[1] {
		return m.misfit("this is no matrix of AWQ (GEMV)")
	}
	return m.setGroupSize(size, z[1])
}

func (m *awq) gemv(r *awqRows, first, n int64) error {
	width := m.zeros.Shape()[1]
	r.words, r.zeros, r.scales = sized(r.words, n*m.k/2), sized(r.zeros, n*4*width), sized(r.scales, n*8*width)
	if err := m.codes.ReadRaw(r.words, first, n); err != nil {
		return err
	}
	if err := m.zeros.ReadRaw(r.zeros, first, n); err != nil {
		return err
	}
	if err := m.scales.ReadRows(r.scales, first, n); err != nil {
		return err
	}
	for i := range n {
		if g := slices.IndexFunc(r.scales[i*8*width:][:m.k/m.groupSize], isNotFinite); g >= 0 {
			return fmt.Errorf("%w: tensor %.200q: scale %d of row %d is %v", gguf.ErrCorrupt, m.name, g, first+i, r.scales[i*8*width+int64(g)])
		}
	}
	r.codes = func(dst []byte, row, group int64) {
		for i, pair := range r.words[(row*m.k+group*m.groupSize)/2:][:len(dst)/2] {
			dst[2*i], dst[2*i+1] = pair&15, pair>>4
		}
	}
	r.group = func(row, group int64) (scale, zero float32) {
		return r.scales[row*8*width+group], float32(bitField(r.zeros[row*4*width:], group, 4))
	}
	return nil
}

func (m *awq) shapeFast(size int64) error {
	q, s := m.codes.Shape(), m.scales.Shape()
	m.n, m.k, m.added = s[1], q[1], true
	if !m.zeros.Dtype().Float() || !m.scales.Dtype().Float() || m.n < 1 || m.k < 1 || m.n%4 != 0 || q[0] != m.n/4 || m.k%64 != 0 ||
		s[0]%8 != 0 || s[0] > m.k || !slices.Equal(m.zeros.Shape(), s) {
		return m.misfit("this is no matrix of AWQ (GEMV_FAST)")
	}
	return m.setGroupSize(size, s[0]/8)
}

func (m *awq) fast(r *awqRows, first, n int64) error {
	if err := scaleColumns(&r.scales, m.name, m.scales, first, n); err != nil {
		return err
	}
	if err := scaleColumns(&r.added, m.name, m.zeros, first, n); err != nil {
		return err
	}
	r.words = sized(r.words, 2*m.k*(n/4)) // of fours of rows
	if err := m.codes.ReadRaw(r.words, first/4, n/4); err != nil {
		return err
	}
	r.codes = func(dst []byte, row, group int64) {
		four := r.words[row/4*2*m.k:]
		for i := 0; i < len(dst); i += 8 {
			// Of 64 elements each row has 16 words, in each of which elements are 8 apart.
			k := group*m.groupSize + int64(i)
			at, shift := k&^63+16*(row%4)+k%64/32*8, k%32/8*4
			for j := range dst[i : i+8] {
				dst[i+j] = byte(binary.LittleEndian.Uint16(four[2*(at+int64(j)):])>>shift) & 15
			}
		}
	}
	r.group = func(row, group int64) (scale, zero float32) { return r.scales[group*n+row], r.added[group*n+row] }
	return nil
}

// blocks returns the matrix as blocks: of Q4_1, which has what is added, or, with zero
// points, of a type for integers.
func (m *awq) blocks() (*weights.Blocks, error) {
	if m.groupSize%32 != 0 || m.k%32 != 0 {
		return nil, nil
	}
	if ok, err := areFloat16(m.scales); err != nil || !ok {
		return nil, err
	}
	if m.added {
		if ok, err := areFloat16(m.zeros); err != nil || !ok {
			return nil, err
		}
		return &weights.Blocks{Type: gguf.Q4_1, Read: m.readQ41}, nil
	}
	least, most, err := m.zeroRange()
	if err != nil {
		return nil, err
	}
	return integers{k: m.k, least: -most, most: 15 - least, read: m.readIntegers}.blocks(), nil
}

// zeroRange returns the smallest and the largest zero point. Those that only pad a row
// count as well.
func (m *awq) zeroRange() (least, most int, err error) {
	rows, words := weights.Count(m.zeros.Shape())
	row := make([]byte, 4*words)
	least = 15
	for i := range rows {
		if err := m.zeros.ReadRaw(row, i, 1); err != nil {
			return 0, 0, err
		}
		for _, pair := range row {
			low, high := int(pair&15), int(pair>>4)
			least, most = min(least, low, high), max(most, low, high)
		}
	}
	return least, most, nil
}

func (m *awq) readIntegers(q []int8, d []uint16, first, n int64) error {
	return m.each(first, n, func(codes []byte, at int64, scale, zero float32) {
		h, _ := float16(scale)
		for i := range len(codes) / 32 {
			d[at/32+int64(i)] = h
		}
		for k, code := range codes {
			q[at+int64(k)] = int8(code) - int8(zero)
		}
	})
}

func (m *awq) readQ41(dst []byte, first, n int64) error {
	const size = 20
	return m.each(first, n, func(codes []byte, at int64, scale, zero float32) {
		d, _ := float16(scale)
		least, _ := float16(zero)
		for ; len(codes) > 0; codes, at = codes[32:], at+32 {
			block := dst[at/32*size:][:size]
			binary.LittleEndian.PutUint16(block, d)
			binary.LittleEndian.PutUint16(block[2:], least)
			for i := range 16 {
				block[4+i] = codes[i] | codes[i+16]<<4
			}
		}
	})
}
