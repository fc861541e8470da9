package packed

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// CompressedTensors has integers of 1 to 8 bits and a scale for each group of a row's
// elements, each row, or the matrix, as llm-compressor writes them: pack-quantized, where
// codes are packed into words, and int-quantized and naive-quantized, where each has a
// byte. Of a matrix of n rows of k elements, with g groups:
//
//	weight_packed      I32 [n, w]  in each row its codes, from the lowest bit of the first word on
//	weight_shape       I64 [2]     n and k
//	weight             I8  [n, k]  instead of these two
//	weight_scale       [n, g], [n, 1] or [1], of a float type
//	weight_zero_point  I32 [w, g]  if asymmetric: in each column those of the rows, packed; or I8, as scales
//	weight_g_idx       I32 [k]     with actorder: the group of each element
//
// An element is scale * (code - zero). Codes and zero points are stored plus half of what
// they can be. Words had as many whole codes as fit until May 2026, and have no gaps since
// then, which differs for 3, 5, 6 and 7 bits.
//
// Floats of 8 bits, float-quantized, are [FP8].
var CompressedTensors = Format{Name: "compressed-tensors", Methods: []string{"compressed-tensors"}, unpack: unpackCompressedTensors}

func unpackCompressedTensors(c *checkpoint, name string) (string, weights.Rows, error) {
	codes := c.Get(name)
	if codes.Dtype() == weights.I8 && c.Get(name+"_scale") != nil {
		r, err := unpackIntegers(c, name, name, byteCodes(codes), 8, c.Get(name+"_zero_point"))
		return name, r, err
	}
	matrix, ok := strings.CutSuffix(name, "_packed")
	if !ok || codes.Dtype() != weights.I32 {
		return "", nil, nil
	}
	p, err := findPacking(c, name, matrix)
	if err != nil {
		return "", nil, err
	}
	zeros := c.Get(matrix + "_zero_point")
	if scales := c.Get(matrix + "_scale"); zeros != nil && zeros.Dtype() == weights.I32 && scales != nil {
		if zeros, err = p.zeros(matrix+"_zero_point", zeros, scales); err != nil {
			return "", nil, err
		}
	}
	r, err := unpackIntegers(c, name, matrix, p.codes(codes), p.bits, zeros)
	return matrix, r, err
}

// unpackIntegers returns the matrix of integers of so many bits, which is recognised by a
// tensor.
func unpackIntegers(c *checkpoint, name, matrix string, codes codes, bits int64, zeros weights.Rows) (weights.Rows, error) {
	scales, err := c.part(name, matrix+"_scale")
	if err != nil {
		return nil, err
	}
	s, err := c.compressedTensors()
	if err != nil {
		return nil, err
	}
	if zeros == nil && len(s) > 0 && !slices.ContainsFunc(s, func(w ctWeights) bool { return w.Symmetric == nil || *w.Symmetric }) {
		return nil, fmt.Errorf("%w: tensor %.200q is packed, %s says that it has zero points, and %.200q is missing", gguf.ErrCorrupt, name, c.File, matrix+"_zero_point")
	}
	c.drop(matrix+"_zero_point", matrix+"_g_idx")
	sizes, err := c.blockSizes()
	if err != nil {
		return nil, err
	}
	m := &scaled{name: matrix, codes: codes, scales: scales, zeros: zeros, index: c.Get(matrix + "_g_idx")}
	r, err := m.unpacked(sizes)
	c.layout = fmt.Sprintf("%d-bit %s", bits, m.layout())
	return r, err
}

type ctSettings struct {
	ConfigGroups map[string]jsontext.Value `json:"config_groups"` // objects, or, for schemes that have a name, lists
	Transforms   struct {
		ConfigGroups map[string]struct {
			Apply []struct {
				Location string `json:"location"`
			} `json:"apply"`
		} `json:"config_groups"`
	} `json:"transform_config"`
}

// ctWeights is how weights of a config group are quantized.
type ctWeights struct {
	Bits           int64          `json:"num_bits"`
	Symmetric      *bool          `json:"symmetric"`
	GroupSize      int64          `json:"group_size"`
	BlockStructure jsontext.Value `json:"block_structure"` // a list, or once a text
}

// compressedTensors returns how the configuration says that weights are quantized: in one
// or several ways.
func (c *checkpoint) compressedTensors() ([]ctWeights, error) {
	s, err := settings[ctSettings](c)
	if err != nil {
		return nil, err
	}
	for _, t := range s.Transforms.ConfigGroups {
		for _, a := range t.Apply {
			if !strings.HasPrefix(a.Location, "weight") { // those are in the weights
				return nil, c.unsupported(fmt.Sprintf("compressed-tensors with a transform of %.100q while the model runs", a.Location))
			}
		}
	}
	var list []ctWeights
	for _, name := range slices.Sorted(maps.Keys(s.ConfigGroups)) {
		value := s.ConfigGroups[name]
		if value.Kind() != '{' {
			continue
		}
		var group struct {
			Weights *ctWeights `json:"weights"`
		}
		if err := pyjson.Unmarshal(value, &group); err != nil {
			return nil, fmt.Errorf("%w: %s: config_groups: %.100q: %w", gguf.ErrCorrupt, c.what(), name, err)
		}
		if group.Weights != nil {
			list = append(list, *group.Weights)
		}
	}
	return list, nil
}

// packing is how codes of a matrix are packed in words.
type packing struct {
	shape []int64
	bits  int64
	gaps  bool // words have whole codes only
}

// words returns how many n codes take.
func (p *packing) words(n int64) int64 {
	if p.gaps {
		return blocksIn(n, 32/p.bits)
	}
	return blocksIn(n*p.bits, 32)
}

// at returns where a code is: in which word, and from which bit on.
func (p *packing) at(i int64) (word, shift int64) {
	if each := 32 / p.bits; p.gaps {
		return i / each, i % each * p.bits
	}
	return i * p.bits / 32, i * p.bits % 32
}

// findPacking compares the shape that a tensor of words says to have with that it has.
func findPacking(c *checkpoint, name, matrix string) (*packing, error) {
	words := c.Get(name).Shape()
	shapeName := matrix + "_shape"
	shape, err := c.part(name, shapeName)
	if err != nil {
		if c.Get(strings.TrimSuffix(matrix, "weight")+"scale_packed") != nil {
			return nil, c.unsupported(fmt.Sprintf("tensor %.200q is in the layout of Marlin", name))
		}
		return nil, err
	}
	corrupt := func(format string, args ...any) error {
		return fmt.Errorf("%w: tensor %.200q: "+format, append([]any{gguf.ErrCorrupt, shapeName}, args...)...)
	}
	if shape.Dtype() != weights.I64 || len(words) < 2 || !slices.Equal(shape.Shape(), []int64{int64(len(words))}) {
		return nil, corrupt("shape %v and type %s are not those of the shape of %.200q, which is %v as packed", shape.Shape(), shape.Dtype(), name, words)
	}
	raw := make([]byte, 8*len(words))
	if err := shape.ReadRaw(raw, 0, 1); err != nil {
		return nil, err
	}
	p := &packing{shape: make([]int64, len(words))}
	for i := range p.shape {
		p.shape[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	last := len(words) - 1
	k := p.shape[last]
	if !slices.Equal(p.shape[:last], words[:last]) || k < 1 || k > 32*words[last] {
		return nil, corrupt("it says %v, %.200q is %v as packed", p.shape, name, words)
	}
	s, err := c.compressedTensors()
	if err != nil {
		return nil, err
	}
	var bits []int64
	for _, w := range s {
		if w.Bits >= 1 && w.Bits <= 8 {
			bits = append(bits, w.Bits)
		}
	}
	if len(bits) == 0 {
		bits = []int64{4, 8, 2, 3, 5, 6, 7, 1}
	}
	for _, gaps := range []bool{false, true} {
		for _, b := range bits {
			p.bits, p.gaps = b, gaps
			if p.words(k) == words[last] {
				return p, nil
			}
		}
	}
	return nil, corrupt("it says %v, %.200q is %v as packed: with codes of %v bits it has other words", p.shape, name, words, bits)
}

// fieldValues has, for each number of bits, what codes stand for: less half of how many
// there are.
var fieldValues = func() (list [9]codeValues) {
	for bits := 1; bits <= 8; bits++ {
		half := 1 << (bits - 1)
		v := &list[bits]
		v.most, v.end, v.integers = float32(half), noEnd, true
		for i := range 2 * half {
			v.of[i] = float32(i - half)
		}
	}
	return list
}()

// codes returns what is packed along rows.
func (p *packing) codes(words weights.Rows) codes {
	_, width := weights.Count(words.Shape())
	_, length := weights.Count(p.shape)
	return codes{words, p.shape, &fieldValues[p.bits], func(dst []byte, first, n int64) error {
		buf := getBytes(4*width*n + 8) // unpack reads 8 bytes at a time
		defer byteScratch.Put(buf)
		raw := *buf
		if err := words.ReadRaw(raw[:4*width*n], first, n); err != nil {
			return err
		}
		for i := range n {
			p.unpack(dst[i*length:][:length], raw[4*i*width:])
		}
		return nil
	}}
}

// unpack takes codes out of words, behind which there are 8 bytes.
func (p *packing) unpack(dst, words []byte) {
	mask := uint64(1)<<p.bits - 1
	if p.gaps {
		for each := min(32/int(p.bits), len(dst)); len(dst) > 0; each = min(each, len(dst)) {
			word := binary.LittleEndian.Uint32(words)
			for i := range dst[:each] {
				dst[i] = byte(uint64(word) & mask)
				word >>= p.bits
			}
			dst, words = dst[each:], words[4:]
		}
		return
	}
	// Eight codes take as many bytes as each has bits. They are moved apart, first halves of
	// them, then halves of these, and of these.
	b := uint(p.bits) & 15
	one, two, four := mask*0x0001000100010001, (uint64(1)<<(2*b)-1)*0x0000000100000001, uint64(1)<<(4*b)-1
	for ; len(dst) > 0; words = words[b:] {
		v := binary.LittleEndian.Uint64(words)
		v = v&four | v>>(4*b)&four<<32
		v = v&two | v>>(2*b)&two<<16
		v = v&one | v>>b&one<<8
		if len(dst) < 8 {
			var last [8]byte
			binary.LittleEndian.PutUint64(last[:], v)
			copy(dst, last[:])
			return
		}
		binary.LittleEndian.PutUint64(dst, v)
		dst = dst[8:]
	}
}

// zeros returns zero points, which are packed along columns, in the shape of scales.
func (p *packing) zeros(name string, words, scales weights.Rows) (weights.Rows, error) {
	shape, packed := scales.Shape(), words.Shape()
	last := len(shape) - 1
	if len(packed) != len(shape) || last < 1 || !slices.Equal(packed[:last-1], shape[:last-1]) || packed[last] != shape[last] ||
		shape[last-1] < 1 || packed[last-1] != p.words(shape[last-1]) {
		return nil, fmt.Errorf("%w: tensor %.200q: shape %v does not fit scales of shape %v, for codes of %d bits", gguf.ErrCorrupt, name, packed, shape, p.bits)
	}
	rows, height, width := shape[last-1], packed[last-1], shape[last]
	return weights.Compute(shape, weights.F32, 1, func(dst []float32, first, n int64) error {
		for n > 0 {
			row := first % rows
			some := min(n, rows-row)
			if err := p.readZeros(dst[:some*width], words, first/rows*height, row, some); err != nil {
				return err
			}
			dst, first, n = dst[some*width:], first+some, n-some
		}
		return nil
	}, words), nil
}

// readZeros reads zero points of n rows of a matrix, whose words begin at row start.
func (p *packing) readZeros(dst []float32, words weights.Rows, start, row, n int64) error {
	_, width := weights.Count(words.Shape())
	from, _ := p.at(row)
	count := p.words(row+n) - from
	raw := make([]byte, 4*width*count)
	if err := words.ReadRaw(raw, start+from, count); err != nil {
		return err
	}
	mask, half := uint64(1)<<p.bits-1, int64(1)<<(p.bits-1)
	for i := range n {
		word, shift := p.at(row + i)
		line := dst[i*width:][:width]
		for g := range line {
			at := (word-from)*width + int64(g)
			v := uint64(binary.LittleEndian.Uint32(raw[4*at:]))
			if shift+p.bits > 32 {
				v |= uint64(binary.LittleEndian.Uint32(raw[4*(at+width):])) << 32
			}
			line[g] = float32(int64(v>>shift&mask) - half)
		}
	}
	return nil
}
