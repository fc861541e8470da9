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
	read, grain := m.readGEMM, int64(32)
	switch layout {
	case awqGEMM:
		err = m.shapeGEMM(size)
	case awqGEMV:
		read, grain = m.readGEMV, 1
		err = m.shapeGEMV(size)
	case awqFast:
		read, grain = m.readFast, 4
		err = m.shapeFast(size)
	}
	if err != nil {
		return "", nil, err
	}
	c.layout = groupLayout(4, m.groupSize, m.k)
	return module + ".weight", weights.Compute([]int64{m.n, m.k}, weights.F32, grain, read, m.codes, m.scales), nil
}

// awq is a packed matrix.
type awq struct {
	name                 string // of codes
	codes, zeros, scales weights.Rows
	n, k, groupSize      int64
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

func (m *awq) readGEMM(dst []float32, first, n int64) error {
	return inBlocks(dst, m.k, first, n, m.readGEMMBlock)
}

func (m *awq) readGEMMBlock(dst []float32, first, n int64) error {
	from, to := first/8, (first+n+7)/8 // words
	width := to - from
	words, zeros := make([]byte, 4*width*m.k), make([]byte, 4*width*m.scales.Shape()[0])
	if err := weights.ReadColumns(m.codes, words, from, width); err != nil {
		return err
	}
	if err := weights.ReadColumns(m.zeros, zeros, from, width); err != nil {
		return err
	}
	scales, err := scaleColumns(m.name, m.scales, first, n)
	if err != nil {
		return err
	}
	for i := range n {
		word, shift := (first+i)/8-from, 4*awqOrder[(first+i)%8]
		row := dst[i*m.k:][:m.k]
		for g := int64(0); g*m.groupSize < m.k; g++ {
			zero := float32(binary.LittleEndian.Uint32(zeros[4*(g*width+word):]) >> shift & 15)
			scale := scales[g*n+i]
			for k := g * m.groupSize; k < min((g+1)*m.groupSize, m.k); k++ {
				row[k] = (float32(binary.LittleEndian.Uint32(words[4*(k*width+word):])>>shift&15) - zero) * scale
			}
		}
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
		if g > 0 && g <= m.k && m.k%g == 0 && m.padded(g) == words {
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

func (m *awq) readGEMV(dst []float32, first, n int64) error {
	width := m.zeros.Shape()[1]
	words, zeros, scales := make([]byte, m.k/2), make([]byte, 4*width), make([]float32, 8*width)
	for i := range n {
		if err := m.codes.ReadRaw(words, first+i, 1); err != nil {
			return err
		}
		if err := m.zeros.ReadRaw(zeros, first+i, 1); err != nil {
			return err
		}
		if err := m.scales.ReadRows(scales, first+i, 1); err != nil {
			return err
		}
		groups := m.k / m.groupSize
		if g := slices.IndexFunc(scales[:groups], isNotFinite); g >= 0 {
			return fmt.Errorf("%w: tensor %.200q: scale %d of row %d is %v", gguf.ErrCorrupt, m.name, g, first+i, scales[g])
		}
		row := dst[i*m.k:][:m.k]
		for g := range groups {
			zero, scale := float32(bitField(zeros, g, 4)), scales[g]
			for k := g * m.groupSize; k < (g+1)*m.groupSize; k++ {
				row[k] = (float32(bitField(words, k, 4)) - zero) * scale
			}
		}
	}
	return nil
}

func (m *awq) shapeFast(size int64) error {
	q, s := m.codes.Shape(), m.scales.Shape()
	m.n, m.k = s[1], q[1]
	if !m.zeros.Dtype().Float() || !m.scales.Dtype().Float() || m.n < 1 || m.k < 1 || m.n%4 != 0 || q[0] != m.n/4 || m.k%64 != 0 ||
		s[0]%8 != 0 || s[0] > m.k || !slices.Equal(m.zeros.Shape(), s) {
		return m.misfit("this is no matrix of AWQ (GEMV_FAST)")
	}
	return m.setGroupSize(size, s[0]/8)
}

func (m *awq) readFast(dst []float32, first, n int64) error {
	scales, err := scaleColumns(m.name, m.scales, first, n)
	if err != nil {
		return err
	}
	zeros, err := scaleColumns(m.name, m.zeros, first, n)
	if err != nil {
		return err
	}
	words := make([]byte, 2*m.k) // of four rows
	for i := range n {
		if i == 0 || (first+i)%4 == 0 {
			if err := m.codes.ReadRaw(words, (first+i)/4, 1); err != nil {
				return err
			}
		}
		r := (first + i) % 4
		row := dst[i*m.k:][:m.k]
		for k := range m.k {
			// Of 64 elements each row has 16 words, in each of which elements are 8 apart.
			word := k&^63 + 16*r + k%64/32*8 + k%8
			code := binary.LittleEndian.Uint16(words[2*word:]) >> (k % 32 / 8 * 4) & 15
			at := k/m.groupSize*n + i
			row[k] = float32(float32(code)*scales[at]) + zeros[at]
		}
	}
	return nil
}
