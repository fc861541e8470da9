package packed

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// BitsAndBytes has codes of 4 bits, NF4 or FP4, as transformers writes them with
// bitsandbytes. The elements of NAME, row after row, are cut into blocks, of 64 as a rule:
//
//	NAME                                  two codes a byte, the first in the upper half; any type of which that takes all bytes
//	NAME.absmax                           F32 [blocks], or U8 if it is quantized itself (double quantization):
//	NAME.nested_absmax                    F32, one for each 256 blocks
//	NAME.nested_quant_map                 F32 [256]
//	NAME.quant_map                        F32 [16]
//	NAME.quant_state.bitsandbytes__nf4    U8, JSON: shape, blocksize, nested_offset and others; or __fp4
//
// An element is quant_map[code] * absmax, and an absmax that is quantized
// nested_quant_map[absmax] * nested_absmax + nested_offset. GPTQModel writes NAME_absmax and
// so on, and NAME_quant_state. All of this is told by the tensors; nothing is configured.
var BitsAndBytes = Format{Name: "bitsandbytes", Methods: []string{"bitsandbytes"}, unpack: unpackBitsAndBytes}

// bnbState is what quant_state says.
type bnbState struct {
	Type            string  `json:"quant_type"`
	BlockSize       int64   `json:"blocksize"`
	Shape           []int64 `json:"shape"`
	NestedBlockSize int64   `json:"nested_blocksize"`
	NestedOffset    float32 `json:"nested_offset"`
}

// bnbStates are how the names of quant_state end.
var bnbStates = []string{".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4", "_quant_state"}

func unpackBitsAndBytes(c *checkpoint, name string) (string, weights.Rows, error) {
	for _, end := range bnbStates {
		if matrix, ok := strings.CutSuffix(name, end); ok {
			r, err := newBitsAndBytes(c, matrix, name, matrix+end[:1])
			return matrix, r, err
		}
	}
	for _, end := range []string{".quant_map", "_quant_map"} {
		matrix, ok := strings.CutSuffix(name, end)
		hasState := func(end string) bool { return c.Get(matrix+end) != nil }
		if ok && !strings.HasSuffix(matrix, "nested") && !slices.ContainsFunc(bnbStates, hasState) {
			_, err := c.part(matrix, matrix+bnbStates[0])
			return "", nil, err
		}
	}
	return "", nil, nil
}

// newBitsAndBytes returns a matrix of the tensor of its codes, of quant_state, and of those
// whose names begin with prefix.
func newBitsAndBytes(c *checkpoint, name, stateName, prefix string) (weights.Rows, error) {
	m := &bitsAndBytes{name: name}
	state, err := readBnbState(stateName, c.Get(stateName))
	if err != nil {
		return nil, err
	}
	if m.codes, err = c.part(stateName, name); err != nil {
		return nil, err
	}
	shape := state.Shape
	m.length, m.blockSize = shape[len(shape)-1], state.BlockSize
	elements := int64(1)
	for _, n := range shape {
		if n < 1 || elements > 2*weights.Bytes(m.codes)/n {
			return nil, m.corrupt("%d bytes of codes for a shape of %v", weights.Bytes(m.codes), shape)
		}
		elements *= n
	}
	if weights.Bytes(m.codes) != (elements+1)/2 {
		return nil, m.corrupt("%d bytes of codes for a shape of %v", weights.Bytes(m.codes), shape)
	}
	table, err := m.readTable(c, prefix+"quant_map", int64(len(m.table)))
	if err != nil {
		return nil, err
	}
	copy(m.table[:], table)
	for _, v := range table {
		m.most = max(m.most, float32(math.Abs(float64(v))))
	}
	if m.absmax, err = c.part(name, prefix+"absmax"); err != nil {
		return nil, err
	}
	blocks := blocksIn(elements, m.blockSize)
	if count(m.absmax) != blocks || m.absmax.Dtype() != weights.U8 && !m.absmax.Dtype().Float() {
		return nil, m.corrupt("absmax has type %s and shape %v; there are %d blocks", m.absmax.Dtype(), m.absmax.Shape(), blocks)
	}
	if m.absmax.Dtype() == weights.U8 {
		if m.nested, err = m.newNested(c, prefix, blocks, state); err != nil {
			return nil, err
		}
	}
	c.layout = fmt.Sprintf("%s g%d", strings.ToUpper(state.Type), m.blockSize)
	if m.nested != nil {
		c.layout += " double"
	}
	return weights.Compute(shape, weights.F32, 1, m.read, m.codes, m.absmax, c.Get(stateName)), nil
}

// bitsAndBytes is a packed matrix.
type bitsAndBytes struct {
	name              string // of codes
	codes, absmax     weights.Rows
	length, blockSize int64
	table             [16]float32 // of codes
	most              float32     // of the table's numbers without their signs
	nested            *bnbNested  // nil if absmax is not quantized
}

// bnbNested is how absmax is quantized.
type bnbNested struct {
	table     []float32 // of 256 codes
	absmax    weights.Rows
	blockSize int64
	offset    float32
}

func (m *bitsAndBytes) corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: tensor %.200q: "+format, append([]any{gguf.ErrCorrupt, m.name}, args...)...)
}

// readBnbState reads quant_state.
func readBnbState(name string, r weights.Rows) (*bnbState, error) {
	const most = 1 << 12
	if r.Dtype() != weights.U8 || count(r) > most {
		return nil, fmt.Errorf("%w: tensor %.200q of type %s and shape %v is no text", gguf.ErrCorrupt, name, r.Dtype(), r.Shape())
	}
	text := make([]byte, count(r))
	if err := weights.ReadElements(r, text, 0); err != nil {
		return nil, err
	}
	s := &bnbState{BlockSize: 64, NestedBlockSize: 256}
	if err := pyjson.Unmarshal(text, s); err != nil {
		return nil, fmt.Errorf("%w: tensor %.200q: %w", gguf.ErrCorrupt, name, err)
	}
	switch {
	case s.Type != "nf4" && s.Type != "fp4":
		return nil, fmt.Errorf("%w: tensor %.200q: quant_type %.100q (nf4 and fp4 are read)", gguf.ErrUnsupported, name, s.Type)
	case s.BlockSize < 1 || s.NestedBlockSize < 1 || len(s.Shape) < 2 || isNotFinite(s.NestedOffset):
		return nil, fmt.Errorf("%w: tensor %.200q: blocks of %d and %d, a shape of %v and an offset of %v", gguf.ErrCorrupt, name,
			s.BlockSize, s.NestedBlockSize, s.Shape, s.NestedOffset)
	}
	return s, nil
}

// floats returns a part of the matrix that has n numbers.
func (m *bitsAndBytes) floats(c *checkpoint, name string, n int64) (weights.Rows, error) {
	r, err := c.part(m.name, name)
	if err != nil {
		return nil, err
	}
	if count(r) != n || !r.Dtype().Float() {
		return nil, fmt.Errorf("%w: tensor %.200q of type %s and shape %v (%d numbers are needed)", gguf.ErrCorrupt, name, r.Dtype(), r.Shape(), n)
	}
	return r, nil
}

// readTable returns a part of the matrix that has what n codes stand for.
func (m *bitsAndBytes) readTable(c *checkpoint, name string, n int64) ([]float32, error) {
	r, err := m.floats(c, name, n)
	if err != nil {
		return nil, err
	}
	return finiteFloats(name, r, 0, n)
}

func (m *bitsAndBytes) newNested(c *checkpoint, prefix string, blocks int64, s *bnbState) (*bnbNested, error) {
	n := &bnbNested{blockSize: s.NestedBlockSize, offset: s.NestedOffset}
	var err error
	if n.table, err = m.readTable(c, prefix+"nested_quant_map", 256); err != nil {
		return nil, err
	}
	n.absmax, err = m.floats(c, prefix+"nested_absmax", blocksIn(blocks, n.blockSize))
	return n, err
}

// read unpacks some blocks at a time.
func (m *bitsAndBytes) read(dst []float32, first, n int64) error {
	const most = 1 << 15 // elements, unless a block has more
	buf := byteScratch.Get().(*[]byte)
	defer byteScratch.Put(buf)
	for at, end := first*m.length, (first+n)*m.length; at < end; {
		block := at / m.blockSize
		next := min(end, (block+max(1, most/m.blockSize))*m.blockSize)
		absmax, err := m.readAbsmax(block, (next-1)/m.blockSize+1-block)
		if err != nil {
			return err
		}
		codes, err := readBytes(buf, m.codes, at/2, (next+1)/2-at/2)
		if err != nil {
			return err
		}
		for _, scale := range absmax {
			some := min(next, (at/m.blockSize+1)*m.blockSize) - at
			var table [16]float32
			for i, v := range m.table {
				table[i] = v * scale
			}
			codes = nibbles(dst[:some], codes, at%2 == 1, &table)
			dst, at = dst[some:], at+some
		}
	}
	return nil
}

// readAbsmax returns the scales of n blocks.
func (m *bitsAndBytes) readAbsmax(block, n int64) ([]float32, error) {
	absmax, err := readFloats(m.absmax, block, n)
	if err != nil {
		return nil, err
	}
	if q := m.nested; q != nil {
		from := block / q.blockSize
		nested, err := readFloats(q.absmax, from, (block+n-1)/q.blockSize+1-from)
		if err != nil {
			return nil, err
		}
		for i, code := range absmax {
			scale := q.table[int(code)] * nested[(block+int64(i))/q.blockSize-from]
			absmax[i] = float32(scale) + q.offset
		}
	}
	for i := range absmax {
		if isNotFinite(absmax[i] * m.most) {
			return nil, m.corrupt("absmax of block %d is %v", block+int64(i), absmax[i])
		}
	}
	return absmax, nil
}

// nibbles decodes codes of 4 bits, the upper half of a byte first, or, if odd, from the
// lower half of the first byte on. It returns the bytes from the one with the next code on.
func nibbles(dst []float32, codes []byte, odd bool, table *[16]float32) []byte {
	if odd && len(dst) > 0 {
		dst[0] = table[codes[0]&15]
		dst, codes = dst[1:], codes[1:]
	}
	for len(dst) >= 8 {
		d, c := (*[8]float32)(dst), (*[4]byte)(codes)
		d[0], d[1], d[2], d[3] = table[c[0]>>4], table[c[0]&15], table[c[1]>>4], table[c[1]&15]
		d[4], d[5], d[6], d[7] = table[c[2]>>4], table[c[2]&15], table[c[3]>>4], table[c[3]&15]
		dst, codes = dst[8:], codes[4:]
	}
	n := len(dst) / 2
	for i, b := range codes[:n] {
		dst[2*i], dst[2*i+1] = table[b>>4], table[b&15]
	}
	codes = codes[n:]
	if len(dst)%2 == 1 {
		dst[len(dst)-1] = table[codes[0]>>4]
	}
	return codes
}
