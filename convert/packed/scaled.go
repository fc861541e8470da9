package packed

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// What formats have in common that store codes and scales as rows of matrices: FP8,
// compressed-tensors and torchao.

// scaled is a tensor of codes, of which each block has a scale, and may have a zero point:
// a matrix, or several, of which each has its own. An element is scale * (code - zero).
//
// Scales have the shape of the codes, with as many rows and columns as there are blocks.
// Those of whole rows, or matrices, may have fewer dimensions, and a single one is for all.
type scaled struct {
	name    string // of the matrix
	codes   codes
	scales  weights.Rows
	zeros   weights.Rows // as the scales; nil if there are none
	index   weights.Rows // vector: the column of scales for each column; nil if they are side by side
	inverse bool         // an element is code / scale

	block
	rows, length int64 // of a matrix
	down, across int64 // blocks in it
	shared       bool  // one scale for all matrices
	columns      func() ([]int32, error)
}

// codes are the rows of a tensor as codes of a byte each.
type codes struct {
	weights.Rows // what they are read from
	shape        []int64
	values       *codeValues
	// read fills dst with n rows from row first on.
	read func(dst []byte, first, n int64) error
}

// byteCodes returns the codes of a tensor of one of the types of byteValues.
func byteCodes(r weights.Rows) codes {
	return codes{r, r.Shape(), byteValues[r.Dtype()], r.ReadRaw}
}

// codeValues are what codes stand for.
type codeValues struct {
	of       [256]float32
	most     float32 // of their magnitudes
	end      byte    // codes from here on, without the uppermost bit, are no finite numbers
	integers bool    // of[0] + i, for code i; those of int8 wrap around
}

// noEnd is the end if all codes are finite numbers.
const noEnd = 1 << 7

// byteValues are those of types of a byte.
var byteValues = map[weights.Dtype]*codeValues{
	weights.F8E4M3: valuesOf(weights.F8E4M3),
	weights.F8E5M2: valuesOf(weights.F8E5M2),
	weights.I8:     valuesOf(weights.I8),
}

func valuesOf(t weights.Dtype) *codeValues {
	v := &codeValues{end: noEnd, integers: t == weights.I8}
	var all [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	t.Float32(v.of[:], all[:])
	for i, f := range v.of {
		if isNotFinite(f) {
			v.end = min(v.end, byte(i)&^(1<<7))
		} else {
			v.most = max(v.most, f, -f)
		}
	}
	return v
}

// invalid returns the index of a code that is no finite number, -1 if there is none.
func (v *codeValues) invalid(codes []byte) int {
	if v.end == noEnd {
		return -1
	}
	const ones = ^uint64(0) / 255
	add := ones * uint64(noEnd-v.end) // carries into the uppermost bit
	rest := codes
	for ; len(rest) >= 8; rest = rest[8:] {
		if (binary.LittleEndian.Uint64(rest)&(ones*0x7f)+add)&(ones<<7) != 0 {
			break
		}
	}
	i := slices.IndexFunc(rest, func(c byte) bool { return c&^(1<<7) >= v.end })
	if i < 0 {
		return i
	}
	return len(codes) - len(rest) + i
}

// block is the size of the blocks of a matrix. Those at its edges may be cut off.
type block struct{ height, width int64 }

func (b block) String() string { return fmt.Sprintf("%d x %d", b.height, b.width) }

// blocksIn returns how many blocks of a size there are in so many rows, or columns.
func blocksIn(n, size int64) int64 { return (n-1)/size + 1 }

// unpacked returns the tensor. sizes are those that blocks are configured to have, where
// they are not whole rows or matrices.
func (m *scaled) unpacked(sizes []block) (weights.Rows, error) {
	if t := m.scales.Dtype(); t == weights.U8 {
		m.scales = exponents(m.scales)
	} else if !t.Float() {
		return nil, m.misfit("scales are floats")
	}
	if err := m.fit(sizes); err != nil {
		return nil, err
	}
	operands := []weights.Rows{m.codes, m.scales}
	if m.zeros != nil {
		if !slices.Equal(m.zeros.Shape(), m.scales.Shape()) && (!m.shared || count(m.zeros) != 1) {
			return nil, m.misfit(fmt.Sprintf("zero points are of shape %v", m.zeros.Shape()))
		}
		operands = append(operands, m.zeros)
	}
	m.columns = func() ([]int32, error) { return nil, nil }
	if m.index != nil {
		if t := m.index.Dtype(); t != weights.I32 || len(m.codes.shape) != 2 || !slices.Equal(m.index.Shape(), []int64{m.length}) {
			return nil, m.misfit(fmt.Sprintf("groups of columns are of shape %v and type %s", m.index.Shape(), t))
		}
		m.columns = sync.OnceValues(m.readIndex)
	}
	r := weights.Compute(m.codes.shape, weights.F32, 1, func(dst []float32, first, n int64) error {
		return inBlocks(dst, m.length, first, n, m.read)
	}, operands...)
	if m.codes.values.integers && !m.inverse {
		r = weights.Exact(r, m.blocks)
	}
	return r, nil
}

// exponents returns numbers of type F8_E8M0, of which bytes are said to be integers.
func exponents(r weights.Rows) weights.Rows {
	return weights.Compute(r.Shape(), weights.F32, 1, func(dst []float32, first, n int64) error {
		raw := make([]byte, len(dst))
		if err := r.ReadRaw(raw, first, n); err != nil {
			return err
		}
		weights.F8E8M0.Float32(dst, raw)
		return nil
	}, r)
}

// misfit returns an error that shows the shapes.
func (m *scaled) misfit(what string) error {
	return fmt.Errorf("%w: tensor %.200q of shape %v has scales of shape %v and type %s: %s", gguf.ErrCorrupt,
		m.name, m.codes.shape, m.scales.Shape(), m.scales.Dtype(), what)
}

// fit finds the size of blocks.
func (m *scaled) fit(sizes []block) error {
	shape, grid := m.codes.shape, m.scales.Shape()
	if len(shape) < 2 {
		return fmt.Errorf("%w: tensor %.200q is packed, but no matrix: its shape is %v", gguf.ErrCorrupt, m.name, shape)
	}
	last := len(shape) - 1
	m.rows, m.length = shape[last-1], shape[last]
	if rows, _ := weights.Count(shape); rows < 1 || m.length < 1 || count(m.scales) < 1 {
		return m.misfit("there is nothing")
	}
	if count(m.scales) == 1 {
		m.block, m.down, m.across, m.shared = block{m.rows, m.length}, 1, 1, true
		return nil
	}
	whole := len(grid) < len(shape) // rows, or matrices
	if whole {
		grid = append(slices.Clone(grid), slices.Repeat([]int64{1}, len(shape)-len(grid))...)
	}
	if len(grid) != len(shape) || !slices.Equal(grid[:last-1], shape[:last-1]) {
		return m.misfit("it has others")
	}
	m.down, m.across = grid[last-1], grid[last]
	var ok bool
	if m.block, ok = m.size(sizes, whole); !ok {
		what := "they belong to no blocks"
		if len(sizes) > 0 {
			what = fmt.Sprintf("blocks are configured to be of size %v", sizes)
		}
		return m.misfit(what)
	}
	return nil
}

// size returns the size of blocks. If none is configured, it is the usual one, or such
// that all blocks are of the same size. They are whole rows or matrices if whole is true.
func (m *scaled) size(sizes []block, whole bool) (block, bool) {
	if m.across == 1 && (m.down == 1 || m.down == m.rows) {
		return block{m.rows / m.down, m.length}, true
	}
	for _, b := range sizes {
		if m.down == blocksIn(m.rows, b.height) && m.across == blocksIn(m.length, b.width) {
			return b, true
		}
	}
	if len(sizes) > 0 || whole {
		return block{}, false
	}
	const usual = 128
	size := func(n, blocks int64) int64 {
		switch {
		case blocks == blocksIn(n, usual):
			return usual
		case n%blocks == 0:
			return n / blocks
		}
		return 0
	}
	b := block{size(m.rows, m.down), size(m.length, m.across)}
	return b, b.height > 0 && b.width > 0
}

// layout says what has a scale.
func (m *scaled) layout() string {
	switch {
	case m.height > 1 && m.height < m.rows:
		return fmt.Sprintf("%dx%d", m.height, m.width)
	case m.width < m.length:
		return fmt.Sprintf("g%d", m.width)
	case m.height < m.rows:
		return "per row"
	}
	return "per tensor"
}

// readIndex reads which column of scales columns have. It returns nil if that is not
// said: compressed-tensors then has -1.
func (m *scaled) readIndex() ([]int32, error) {
	raw := make([]byte, 4*m.length)
	if err := m.index.ReadRaw(raw, 0, 1); err != nil {
		return nil, err
	}
	index := make([]int32, m.length)
	for i := range index {
		index[i] = int32(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	if slices.Contains(index, -1) {
		return nil, nil
	}
	for i, g := range index {
		if g < 0 || int64(g) >= m.across {
			return nil, m.misfit(fmt.Sprintf("column %d is in group %d", i, g))
		}
	}
	return index, nil
}

// line returns which row of scales a row has.
func (m *scaled) line(row int64) int64 {
	if m.shared {
		return 0
	}
	return row/m.rows*m.down + row%m.rows/m.height
}

// grid are rows of scales and zero points, from one of them on.
type grid struct {
	scales, zeros []float32
	from          int64
}

// readGrid reads what n rows from row first on have.
func (m *scaled) readGrid(first, n int64) (g grid, err error) {
	g.from = m.line(first)
	at, size := g.from*m.across, (m.line(first+n-1)-g.from+1)*m.across
	if g.scales, err = readFloats(m.scales, at, size); err != nil {
		return grid{}, err
	}
	g.zeros = make([]float32, size)
	if m.zeros != nil {
		if g.zeros, err = readFloats(m.zeros, at, size); err != nil {
			return grid{}, err
		}
	}
	for i, s := range g.scales {
		zero := g.zeros[i]
		most := (m.codes.values.most + max(zero, -zero)) * s
		if m.inverse {
			most = m.codes.values.most / s
		}
		if isNotFinite(most) {
			return grid{}, fmt.Errorf("%w: tensor %.200q: scale %d of row %d is %v", gguf.ErrCorrupt, m.name, int64(i)%m.across, g.from+int64(i)/m.across, s)
		}
	}
	return g, nil
}

// byteScratch keeps codes between being read and being decoded.
var byteScratch = sync.Pool{New: func() any { return new([]byte) }}

// getBytes returns so many bytes of byteScratch, whose values are of no meaning.
func getBytes(n int64) *[]byte {
	buf := byteScratch.Get().(*[]byte)
	*buf = sized(*buf, n)
	return buf
}

func (m *scaled) read(dst []float32, first, n int64) error {
	columns, err := m.columns()
	if err != nil {
		return err
	}
	g, err := m.readGrid(first, n)
	if err != nil {
		return err
	}
	buf := getBytes(int64(len(dst)))
	defer byteScratch.Put(buf)
	if err := m.codes.read(*buf, first, n); err != nil {
		return err
	}
	for i := range n {
		at := (m.line(first+i) - g.from) * m.across
		values, codes := dst[i*m.length:][:m.length], (*buf)[i*m.length:][:m.length]
		if j := m.codes.values.invalid(codes); j >= 0 {
			return fmt.Errorf("%w: tensor %.200q: element %d of row %d is %v", gguf.ErrCorrupt, m.name, j, first+i, m.codes.values.of[codes[j]])
		}
		m.decode(values, codes, columns, g.scales[at:][:m.across], g.zeros[at:][:m.across])
	}
	return nil
}

// decode makes elements of the codes of a row.
func (m *scaled) decode(dst []float32, codes []byte, columns []int32, scales, zeros []float32) {
	of := &m.codes.values.of
	if columns != nil {
		for j, c := range codes {
			g := columns[j]
			dst[j] = (of[c] - zeros[g]) * scales[g]
		}
		return
	}
	for b, scale := range scales {
		from, to := int64(b)*m.width, min(int64(b+1)*m.width, m.length)
		codes, zero := codes[from:to], zeros[b]
		part := dst[from:][:len(codes)]
		switch {
		case m.inverse:
			for j, c := range codes {
				part[j] = of[c] / scale
			}
		case zero == 0:
			for j, c := range codes {
				part[j] = of[c] * scale
			}
		default:
			for j, c := range codes {
				part[j] = (of[c] - zero) * scale
			}
		}
	}
}

// blocks returns the rows of integers as blocks of GGUF, nil if they are none.
func (m *scaled) blocks() (*weights.Blocks, error) {
	columns, err := m.columns()
	if err != nil {
		return nil, err
	}
	if columns == nil {
		columns = make([]int32, m.length)
		for k := range columns {
			columns[k] = int32(int64(k) / m.width)
		}
	}
	for k, g := range columns {
		if g != columns[k&^31] {
			return nil, nil
		}
	}
	if ok, err := areFloat16(m.scales); err != nil || !ok {
		return nil, err
	}
	of := &m.codes.values.of
	r := integers{k: m.length, least: int(slices.Min(of[:])), most: int(slices.Max(of[:]))}
	if m.zeros != nil {
		zeros, err := readFloats(m.zeros, 0, count(m.zeros))
		if err != nil {
			return nil, err
		}
		for _, z := range zeros {
			if z != float32(int8(z)) {
				return nil, nil
			}
		}
		r.least, r.most = r.least-int(slices.Max(zeros)), r.most-int(slices.Min(zeros))
	}
	r.read = func(q []int8, d []uint16, first, n int64) error { return m.readIntegers(q, d, first, n, columns) }
	return r.blocks(), nil
}

// readIntegers reads n rows of integers from row first on, and the float16 of each 32.
func (m *scaled) readIntegers(q []int8, d []uint16, first, n int64, columns []int32) error {
	g, err := m.readGrid(first, n)
	if err != nil {
		return err
	}
	buf := getBytes(int64(len(q)))
	defer byteScratch.Put(buf)
	if err := m.codes.read(*buf, first, n); err != nil {
		return err
	}
	for i := range n {
		at := (m.line(first+i) - g.from) * m.across
		for k := int64(0); k < m.length; k += 32 {
			column := at + int64(columns[k])
			d[(i*m.length+k)/32], _ = float16(g.scales[column])
			part := q[i*m.length+k:][:32]
			add := byte(int(m.codes.values.of[0]) - int(g.zeros[column]))
			for j, c := range (*buf)[i*m.length+k:][:32] {
				part[j] = int8(c + add)
			}
		}
	}
	return nil
}

// isNotFinite reports whether the exponent of v says that it is infinite, or NaN.
func isNotFinite(v float32) bool { return math.Float32bits(v)<<1 >= 0xff<<24 }
