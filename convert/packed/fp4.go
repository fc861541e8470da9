package packed

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// What NVFP4 and MXFP4 have in common: floats of 4 bits, two in a byte, the first in the
// low bits, and a scale of 8 bits for each group of a row's elements. Blocks of GGUF hold
// them as they are.

// e2m1 has the numbers of 4 bits: a sign, two bits of exponent and one of mantissa (OCP
// Microscaling Formats Specification).
var e2m1 = [16]float32{0, 0.5, 1, 1.5, 2, 3, 4, 6, float32(math.Copysign(0, -1)), -0.5, -1, -1.5, -2, -3, -4, -6}

// fp4 is a packed matrix, or several of the same shape.
type fp4 struct {
	name          string // of codes
	codes, scales weights.Rows
	scale         weights.Dtype // of scales; they may be stored as U8
	shape         []int64
	rows, length  int64 // of a matrix
	group         int64
	// global has the scale of each matrix, or one for all, and inputs what activations are
	// divided by before they are rounded; nil if there are none.
	global, inputs func() ([]float32, error)
	divide         bool // by global, instead of multiplying, and multiply by inputs
}

// newFP4 returns matrices of a shape, called name, whose scales are numbers of a type.
func newFP4(name string, shape []int64, codes, scales weights.Rows, scale weights.Dtype) (*fp4, error) {
	m := &fp4{name: name, codes: codes, scales: scales, scale: scale, shape: shape}
	last := len(shape) - 1
	grid := slices.Clone(scales.Shape())
	if len(grid) == len(shape) && last > 0 && slices.Min(grid) > 0 {
		m.rows, m.length = shape[last-1], shape[last]
		m.group = m.length / grid[last]
		grid[last] *= m.group
	}
	if m.group < 2 || m.group%2 != 0 || !slices.Equal(grid, shape) || !isScale(scales, scale) {
		return nil, fmt.Errorf("%w: tensor %.200q: codes of shape %v do not fit scales of type %s and shape %v", gguf.ErrCorrupt,
			name, codes.Shape(), scales.Dtype(), scales.Shape())
	}
	return m, nil
}

// isScale reports whether a tensor has scales of a type: exponents are stored as U8, too.
func isScale(r weights.Rows, scale weights.Dtype) bool {
	return r.Dtype() == scale || scale == weights.F8E8M0 && r.Dtype() == weights.U8
}

// fitMatrices reports whether a tensor has a scale for each matrix, or one for all.
func (m *fp4) fitMatrices(r weights.Rows) bool {
	n := count(r)
	return (n == 1 || n == m.matrices()) && r.Dtype().Float()
}

// matrixScales returns what reads the scales of matrices from a tensor that fits them.
func (m *fp4) matrixScales(name string, r weights.Rows) func() ([]float32, error) {
	return sync.OnceValues(func() ([]float32, error) {
		values := make([]float32, count(r))
		rows, _ := weights.Count(r.Shape())
		if err := r.ReadRows(values, 0, rows); err != nil {
			return nil, err
		}
		for i, v := range values {
			if isNotFinite(v) || m.divide && v == 0 {
				return nil, fmt.Errorf("%w: tensor %.200q: scale %d is %v", gguf.ErrCorrupt, name, i, v)
			}
		}
		return values, nil
	})
}

// factors returns a scale to multiply by for each matrix, nil if they are no numbers.
func (m *fp4) factors(scales []float32) []float32 {
	factors := make([]float32, m.matrices())
	for i := range factors {
		f := scales[i%len(scales)]
		if m.divide {
			f = 1 / f
		}
		if isNotFinite(f) {
			return nil
		}
		factors[i] = f
	}
	return factors
}

func (m *fp4) matrices() int64 {
	n := int64(1)
	for _, d := range m.shape[:len(m.shape)-2] {
		n *= d
	}
	return n
}

// unpacked returns the matrices.
func (m *fp4) unpacked() weights.Rows {
	return weights.Exact(weights.Compute(m.shape, weights.F32, 1, m.read, m.codes, m.scales), m.blocks)
}

// fp4Reader reads rows. It has all values that a matrix can have.
type fp4Reader struct {
	fp4Values
	values [256][16]float32 // of the codes, for each scale
	finite [256]bool        // all of a scale
	raw    []byte
}

// fp4Values is what values depend on beside codes and scales.
type fp4Values struct {
	scale  weights.Dtype
	global float32
	divide bool
}

// fp4Readers keeps those that were used last.
var fp4Readers = sync.Pool{New: func() any { return new(fp4Reader) }}

// open prepares for one of the matrices.
func (r *fp4Reader) open(m *fp4, matrix int64) error {
	v := fp4Values{m.scale, 1, m.divide}
	if m.global != nil {
		global, err := m.global()
		if err != nil {
			return err
		}
		v.global = global[matrix%int64(len(global))]
	}
	if r.fp4Values == v {
		return nil
	}
	r.fp4Values = v
	for s := range r.values {
		var scale [1]float32
		m.scale.Float32(scale[:], []byte{byte(s)})
		r.finite[s] = true
		for code, level := range e2m1 {
			value := level * scale[0] // exactly
			if v.divide {
				value /= v.global
			} else {
				value *= v.global
			}
			r.values[s][code] = value
			r.finite[s] = r.finite[s] && !isNotFinite(value)
		}
	}
	return nil
}

// check finds codes of a row of m that stand for no number.
func (r *fp4Reader) check(m *fp4, codes, scales []byte, row int64) error {
	for g, scale := range scales {
		if r.finite[scale] {
			continue
		}
		for i := int64(g) * m.group; i < int64(g+1)*m.group; i++ {
			if v := r.values[scale][codes[i/2]>>(i%2*4)&15]; isNotFinite(v) {
				return fmt.Errorf("%w: tensor %.200q: element %d of row %d is %v", gguf.ErrCorrupt, m.name, i, row, v)
			}
		}
	}
	return nil
}

// eachRow calls f with the codes and the scales of each of n rows, and with all values that
// a code can have with each scale.
func (m *fp4) eachRow(first, n int64, f func(codes, scales []byte, values *[256][16]float32)) error {
	r := fp4Readers.Get().(*fp4Reader)
	defer fp4Readers.Put(r)
	size, groups := m.length/2, m.length/m.group
	_, width := weights.Count(m.codes.Shape())
	parts := size / width // a row of codes may be several
	const most = 64 << 10 // bytes at a time, unless a row has more
	for n > 0 {
		some := min(n, max(1, most/(size+groups)))
		r.raw = sized(r.raw, some*(size+groups))
		codes, scales := r.raw[:some*size], r.raw[some*size:]
		if err := m.codes.ReadRaw(codes, first*parts, some*parts); err != nil {
			return err
		}
		if err := m.scales.ReadRaw(scales, first, some); err != nil {
			return err
		}
		for row := first; row < first+some; row++ {
			if err := r.open(m, row/m.rows); err != nil {
				return err
			}
			if err := r.check(m, codes[:size], scales[:groups], row); err != nil {
				return err
			}
			f(codes[:size], scales[:groups], &r.values)
			codes, scales = codes[size:], scales[groups:]
		}
		first, n = first+some, n-some
	}
	return nil
}

func (m *fp4) read(dst []float32, first, n int64) error {
	return m.eachRow(first, n, func(codes, scales []byte, values *[256][16]float32) {
		for _, s := range scales {
			group, v := codes[:m.group/2], &values[s]
			codes = codes[len(group):]
			for ; len(group) >= 8; group, dst = group[8:], dst[16:] {
				x := (*[16]float32)(dst)
				for i, w := 0, binary.LittleEndian.Uint64(group); i < len(x); i, w = i+4, w>>16 {
					x[i], x[i+1], x[i+2], x[i+3] = v[w&15], v[w>>4&15], v[w>>8&15], v[w>>12&15]
				}
			}
			for _, two := range group {
				dst[0], dst[1] = v[two&15], v[two>>4]
				dst = dst[2:]
			}
		}
	})
}

// blocks returns the matrices in blocks of MXFP4 or NVFP4, nil if they do not fit. See
// package quant for the layout. The scales of whole matrices, which these blocks do not
// have, stand beside them; what divides becomes a factor.
func (m *fp4) blocks() (*weights.Blocks, error) {
	switch {
	case m.scale == weights.F8E8M0 && m.group == 32:
		return &weights.Blocks{Type: gguf.MXFP4, Read: m.readMXFP4}, nil
	case m.scale != weights.F8E4M3 || m.group != 16 || m.length%64 != 0:
		return nil, nil
	}
	global, err := m.global()
	if err != nil {
		return nil, err
	}
	b := &weights.Blocks{Type: gguf.NVFP4, Scales: m.factors(global), Read: m.readNVFP4}
	if b.Scales == nil {
		return nil, nil
	}
	b.Rounded = m.divide && !sameReciprocals(global)
	if m.inputs != nil {
		inputs, err := m.inputs()
		if err != nil {
			return nil, err
		}
		b.Inputs = m.factors(inputs)
	}
	return b, nil
}

// sameReciprocals reports whether it makes no difference to multiply by the reciprocals of
// scales of NVFP4, instead of dividing.
func sameReciprocals(divisors []float32) bool {
	for b := range 127 { // the others are their negatives, or no numbers
		var scale [1]float32
		weights.F8E4M3.Float32(scale[:], []byte{byte(b)})
		for _, v := range e2m1[:8] {
			v *= scale[0]
			if slices.ContainsFunc(divisors, func(d float32) bool { return v*(1/d) != v/d }) {
				return false
			}
		}
	}
	return true
}

func (m *fp4) readMXFP4(dst []byte, first, n int64) error {
	return m.eachRow(first, n, func(codes, scales []byte, _ *[256][16]float32) {
		for _, s := range scales {
			block := (*[17]byte)(dst)
			low, high := binary.LittleEndian.Uint64(codes), binary.LittleEndian.Uint64(codes[8:])
			block[0] = s
			binary.LittleEndian.PutUint64(block[1:], spread(low)|spread(high)<<4)
			binary.LittleEndian.PutUint64(block[9:], spread(low>>32)|spread(high>>32)<<4)
			codes, dst = codes[16:], dst[17:]
		}
	})
}

func (m *fp4) readNVFP4(dst []byte, first, n int64) error {
	return m.eachRow(first, n, func(codes, scales []byte, _ *[256][16]float32) {
		for ; len(scales) > 0; codes, scales, dst = codes[32:], scales[4:], dst[36:] {
			block := (*[36]byte)(dst)
			for i, s := range scales[:4] {
				w := binary.LittleEndian.Uint64(codes[8*i:])
				if s&0x80 != 0 { // the codes have the sign
					w ^= 0x8888888888888888
				}
				block[i] = s & 0x7f
				binary.LittleEndian.PutUint64(block[4+8*i:], spread(w)|spread(w>>32)<<4)
			}
		}
	})
}

// spread returns the lower eight codes of w, each in a byte.
func spread(w uint64) uint64 {
	w &= 1<<32 - 1
	w = (w | w<<16) & 0x0000ffff0000ffff
	w = (w | w<<8) & 0x00ff00ff00ff00ff
	return (w | w<<4) & 0x0f0f0f0f0f0f0f0f
}

// unpackFP4 returns the matrix that a tensor has the codes of, with scales of a type. It
// returns no matrix if these are others.
func unpackFP4(c *checkpoint, name string, scale weights.Dtype) (string, *fp4, error) {
	codes := c.Get(name)
	if codes.Dtype() != weights.U8 && codes.Dtype() != weights.I8 {
		return "", nil, nil
	}
	matrix := strings.TrimSuffix(name, "_packed")
	from := matrix + "_scale"
	if c.Get(from) == nil {
		from = strings.TrimSuffix(matrix, "weight") + "scale"
	}
	scales := c.Get(from)
	if scales == nil && codes.Dtype() == weights.U8 && (matrix != name || c.Get(matrix+"_scale_2") != nil) {
		_, err := c.part(name, matrix+"_scale")
		return "", nil, err
	}
	if scales == nil || !isScale(scales, scale) {
		return "", nil, nil
	}
	c.drop(from)
	shape := slices.Clone(codes.Shape())
	if last := len(shape) - 1; last >= 0 {
		shape[last] *= 2
	}
	m, err := newFP4(name, shape, codes, scales, scale)
	if err != nil {
		return "", nil, err
	}
	if name := strings.TrimSuffix(matrix, "weight") + "pre_quant_scale"; c.Get(name) != nil {
		return "", nil, c.unsupported(fmt.Sprintf("tensor %.200q scales activations", name))
	}
	list, err := c.compressedTensors()
	if err != nil {
		return "", nil, err
	}
	var sizes []int64
	for _, w := range list {
		if w.Bits == 4 && w.GroupSize > 0 {
			sizes = append(sizes, w.GroupSize)
		}
	}
	if len(sizes) > 0 && !slices.Contains(sizes, m.group) {
		return "", nil, fmt.Errorf("%w: tensor %.200q has groups of %d elements, %s says %d", gguf.ErrCorrupt, name, m.group, c.what(), sizes)
	}
	return matrix, m, nil
}
