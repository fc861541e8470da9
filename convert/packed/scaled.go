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

// What formats have in common that store codes and scales as rows of matrices: FP8 and
// compressed-tensors.

// scaled is a tensor of codes, of which each block has a scale, and may have a zero point:
// a matrix, or several, of which each has its own. An element is scale * (code - zero).
//
// Scales have the shape of the codes, with as many rows and columns as there are blocks.
// Those of whole rows, or matrices, may have less dimensions, and a single one is for all.
type scaled struct {
	name          string // of the matrix
	codes, scales weights.Rows
	zeros         weights.Rows // as the scales; nil if there are none
	index         weights.Rows // vector: the column of scales for each column; nil if they are side by side
	inverse       bool         // an element is code / scale

	block
	rows, length int64 // of a matrix
	down, across int64 // blocks in it
	shared       bool  // one scale for all matrices
	columns      func() ([]int32, error)
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
		if !slices.Equal(m.zeros.Shape(), m.scales.Shape()) && !(m.shared && count(m.zeros) == 1) {
			return nil, m.misfit(fmt.Sprintf("zero points are of shape %v", m.zeros.Shape()))
		}
		operands = append(operands, m.zeros)
	}
	m.columns = func() ([]int32, error) { return nil, nil }
	if m.index != nil {
		if t := m.index.Dtype(); t != weights.I32 || len(m.codes.Shape()) != 2 || !slices.Equal(m.index.Shape(), []int64{m.length}) {
			return nil, m.misfit(fmt.Sprintf("groups of columns are of shape %v and type %s", m.index.Shape(), t))
		}
		m.columns = sync.OnceValues(m.readIndex)
	}
	return weights.Compute(m.codes.Shape(), weights.F32, m.codes.Grain(), m.read, operands...), nil
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
		m.name, m.codes.Shape(), m.scales.Shape(), m.scales.Dtype(), what)
}

// fit finds the size of blocks.
func (m *scaled) fit(sizes []block) error {
	shape, grid := m.codes.Shape(), m.scales.Shape()
	if len(shape) < 2 {
		return fmt.Errorf("%w: tensor %.200q is packed, but no matrix: its shape is %v", gguf.ErrCorrupt, m.name, shape)
	}
	last := len(shape) - 1
	m.rows, m.length = shape[last-1], shape[last]
	if count(m.codes) < 1 || count(m.scales) < 1 {
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
// that all blocks are of the same size.
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

func (m *scaled) read(dst []float32, first, n int64) error {
	if n == 0 {
		return nil
	}
	columns, err := m.columns()
	if err != nil {
		return err
	}
	if err := m.codes.ReadRows(dst, first, n); err != nil {
		return err
	}
	from := m.line(first)
	lines := m.line(first+n-1) - from + 1
	scales, err := readFloats(m.scales, from*m.across, lines*m.across)
	if err != nil {
		return err
	}
	zeros := make([]float32, len(scales))
	if m.zeros != nil {
		if zeros, err = readFloats(m.zeros, from*m.across, lines*m.across); err != nil {
			return err
		}
	}
	for i := range n {
		at := (m.line(first+i) - from) * m.across
		values, scales, zeros := dst[i*m.length:][:m.length], scales[at:][:m.across], zeros[at:][:m.across]
		var most uint32
		switch {
		case m.inverse:
			most = m.divide(values, scales)
		case columns != nil:
			most = gather(values, columns, scales, zeros)
		default:
			most = m.multiply(values, scales, zeros)
		}
		if most >= infinite {
			j := slices.IndexFunc(values, isNotFinite)
			return fmt.Errorf("%w: tensor %.200q: element %d of row %d is %v", gguf.ErrCorrupt, m.name, j, first+i, values[j])
		}
	}
	return nil
}

// infinite is the magnitude of infinity; that of NaN is more.
const infinite = 0x7f800000 << 1

// magnitude returns what orders numbers by their absolute value.
func magnitude(v float32) uint32 { return math.Float32bits(v) << 1 }

// multiply makes elements of the codes of a row, and returns the largest magnitude.
func (m *scaled) multiply(values, scales, zeros []float32) (most uint32) {
	for b, scale := range scales {
		part, zero := values[int64(b)*m.width:min(int64(b+1)*m.width, m.length)], zeros[b]
		for j, v := range part {
			v = (v - zero) * scale
			part[j], most = v, max(most, magnitude(v))
		}
	}
	return most
}

// divide is multiply with the inverse of scales.
func (m *scaled) divide(values, scales []float32) (most uint32) {
	for b, scale := range scales {
		part := values[int64(b)*m.width : min(int64(b+1)*m.width, m.length)]
		for j, v := range part {
			v /= scale
			part[j], most = v, max(most, magnitude(v))
		}
	}
	return most
}

// gather is multiply where columns of blocks are not side by side.
func gather(values []float32, columns []int32, scales, zeros []float32) (most uint32) {
	for j, c := range columns {
		v := (values[j] - zeros[c]) * scales[c]
		values[j], most = v, max(most, magnitude(v))
	}
	return most
}

func isNotFinite(v float32) bool { return magnitude(v) >= infinite }
