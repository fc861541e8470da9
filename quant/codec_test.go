package quant_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
)

// types are those with a codec. The budget is what test-quantize-fns.cpp of
// ggml allows for the root of the summed squared errors over the number of
// elements, on its 4096 values; for types it does not test, what it allows others
// of as many bits.
var types = []struct {
	typ    gguf.Type
	budget float64
}{
	{gguf.F32, 0},
	{gguf.F16, 0.002},
	{gguf.BF16, 0.002},
	{gguf.Q4_0, 0.002},
	{gguf.Q4_1, 0.002},
	{gguf.Q5_0, 0.002},
	{gguf.Q5_1, 0.002},
	{gguf.Q8_0, 0.002},
	{gguf.Q2_K, 0.0075},
	{gguf.Q3_K, 0.0040},
	{gguf.Q4_K, 0.002},
	{gguf.Q5_K, 0.002},
	{gguf.Q6_K, 0.002},
	{gguf.IQ1_S, 0.025},
	{gguf.IQ1_M, 0.025},
	{gguf.IQ2_XXS, 0.0075},
	{gguf.IQ2_XS, 0.0075},
	{gguf.IQ2_S, 0.0075},
	{gguf.IQ3_XXS, 0.005},
	{gguf.IQ3_S, 0.004},
	{gguf.IQ4_NL, 0.002},
	{gguf.IQ4_XS, 0.002},
	{gguf.TQ1_0, 0.01},
	{gguf.TQ2_0, 0.01},
	{gguf.MXFP4, 0.002},
	{gguf.NVFP4, 0.003},
	{gguf.Q1_0, 0.025},
	{gguf.Q2_0, 0.01},
}

// forEachType runs f as a subtest for every type with a codec.
func forEachType(t *testing.T, f func(t *testing.T, typ gguf.Type)) {
	for _, c := range types {
		t.Run(c.typ.String(), func(t *testing.T) { f(t, c.typ) })
	}
}

// quantize takes all importances as equal where there must be some.
func quantize(t require.TestingT, typ gguf.Type, x []float32) []byte {
	blocks := make([]byte, typ.RowBytes(int64(len(x))))
	require.NoError(t, quant.Quantize(typ, blocks, x, len(x), equalImportance(typ, len(x))))
	return blocks
}

func equalImportance(typ gguf.Type, n int) []float32 {
	if !quant.NeedsImportance(typ) {
		return nil
	}
	importance := make([]float32, n)
	for i := range importance {
		importance[i] = 1
	}
	return importance
}

func dequantize(t require.TestingT, typ gguf.Type, blocks []byte) []float32 {
	x := make([]float32, len(blocks)/typ.BlockBytes()*typ.BlockSize())
	require.NoError(t, quant.Dequantize(typ, x, blocks, len(x)))
	return x
}

// validate takes the blocks as one row.
func validate(typ gguf.Type, blocks []byte) error {
	return quant.Validate(typ, blocks, len(blocks)/typ.BlockBytes()*typ.BlockSize())
}

// bytesOf returns x as little-endian binary32, independently of the package.
func bytesOf(x []float32) []byte {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func floatsOf(b []byte) []float32 {
	x := make([]float32, len(b)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestBlocksAreThoseOfGGML(t *testing.T) {
	skipLong(t)
	const dir = "../testdata/blocks/"
	type golden struct {
		SHA256       string
		ValuesSHA256 string `json:"values_sha256"`
		RowsCRC32    string `json:"rows_crc32"`
	}
	var index struct {
		Rows, Cols       int
		RowKinds         []string `json:"row_kinds"`
		InputSHA256      string   `json:"input_sha256"`
		ImportanceSHA256 string   `json:"importance_sha256"`
		Types            map[string]struct{ Plain, Weighted *golden }
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(dir + name)
		require.NoError(t, err)
		return data
	}
	require.NoError(t, json.Unmarshal(read("index.json"), &index))
	input, importances := read("input.f32"), read("importance.f32")
	require.Equal(t, index.InputSHA256, hash(input))
	require.Equal(t, index.ImportanceSHA256, hash(importances))
	x, importance := floatsOf(input), floatsOf(importances)
	require.Len(t, x, index.Rows*index.Cols)
	require.Len(t, importance, index.Cols)

	check := func(t *testing.T, typ gguf.Type, want *golden, got []byte) {
		rowBytes := len(got) / index.Rows
		for row := range index.Rows {
			sum := crc32.ChecksumIEEE(got[row*rowBytes:][:rowBytes])
			require.Equal(t, want.RowsCRC32[8*row:][:8], fmt.Sprintf("%08x", sum), "row %d: %s", row, index.RowKinds[row%len(index.RowKinds)])
		}
		require.Equal(t, want.SHA256, hash(got))
		require.Equal(t, want.ValuesSHA256, hash(bytesOf(dequantize(t, typ, got))))
	}
	isatest.ForEach(t, func(t *testing.T) {
		forEachType(t, func(t *testing.T, typ gguf.Type) {
			if typ == gguf.F32 {
				require.Equal(t, input, quantize(t, typ, x))
				require.Equal(t, x, dequantize(t, typ, input))
				return
			}
			want, ok := index.Types[typ.String()]
			require.True(t, ok)
			require.Equal(t, quant.NeedsImportance(typ), want.Plain == nil)
			if want.Plain != nil {
				check(t, typ, want.Plain, quantize(t, typ, x))
			}
			if typ.Quantized() {
				got := make([]byte, typ.RowBytes(int64(len(x))))
				require.NoError(t, quant.Quantize(typ, got, x, index.Cols, importance))
				check(t, typ, want.Weighted, got)
			}
		})
	})
}

func TestTypesThatIgnoreImportance(t *testing.T) {
	x := ramp(512)
	for _, typ := range []gguf.Type{gguf.F32, gguf.F16, gguf.BF16, gguf.Q8_0, gguf.MXFP4, gguf.NVFP4, gguf.Q1_0, gguf.Q2_0, gguf.TQ1_0, gguf.TQ2_0} {
		got := make([]byte, typ.RowBytes(512))
		require.NoError(t, quant.Quantize(typ, got, x, 256, ramp(256)))
		require.Equal(t, quantize(t, typ, x), got, typ)
	}
}

func TestErrorIsWithinBudget(t *testing.T) {
	skipLong(t)
	x := make([]float32, 4096)
	for i := range x {
		x[i] = float32(0.1 + 2*math.Cos(float64(i)))
	}
	for _, c := range types {
		var sum float64
		for i, v := range dequantize(t, c.typ, quantize(t, c.typ, x)) {
			d := float64(v) - float64(x[i])
			sum += d * d
		}
		require.LessOrEqual(t, math.Sqrt(sum)/float64(len(x)), c.budget, c.typ)
	}
}

// weights draws rows of finite values of about one magnitude.
func weights(elements int) *rapid.Generator[[]float32] {
	return rapid.Custom(func(t *rapid.T) []float32 {
		scale := float32(math.Ldexp(1, rapid.IntRange(-8, 8).Draw(t, "exponent")))
		x := rapid.SliceOfN(rapid.Float32Range(-1, 1), elements, elements).Draw(t, "values")
		for i := range x {
			x[i] *= scale
		}
		return x
	})
}

// Where the largest value of a block fixes its scale, what was decoded once is
// kept exactly when it is encoded again.
func TestRequantizingKeepsValues(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.F32, gguf.F16, gguf.BF16, gguf.Q8_0, gguf.Q4_0, gguf.Q5_0} {
		t.Run(typ.String(), rapid.MakeCheck(func(t *rapid.T) {
			once := dequantize(t, typ, quantize(t, typ, weights(64).Draw(t, "row")))
			require.Equal(t, once, dequantize(t, typ, quantize(t, typ, once)))
		}))
	}
}

// The types with one scale per block keep each value to within half a step of
// that scale, or a whole one at the end that has a level less, and what F16
// rounds off.
func TestValuesStayWithinAStep(t *testing.T) {
	for typ, levels := range map[gguf.Type]float64{gguf.Q8_0: 127 * 2, gguf.Q4_0: 8, gguf.Q4_1: 15, gguf.Q5_0: 16, gguf.Q5_1: 31} {
		t.Run(typ.String(), rapid.MakeCheck(func(t *rapid.T) {
			x := weights(32).Draw(t, "row")
			var largest, low, high float64
			low, high = math.Inf(1), math.Inf(-1)
			for _, v := range x {
				low, high = min(low, float64(v)), max(high, float64(v))
			}
			largest = max(-low, high)
			spread := largest
			if typ == gguf.Q4_1 || typ == gguf.Q5_1 {
				spread = high - low
			}
			tolerance := spread/levels + largest/512
			for i, v := range dequantize(t, typ, quantize(t, typ, x)) {
				require.InDelta(t, x[i], v, tolerance+1e-6, "element %d", i)
			}
		}))
	}
}

func TestBlocksDoNotDependOnTheirNeighbours(t *testing.T) {
	skipLong(t)
	forEachType(t, func(t *testing.T, typ gguf.Type) {
		rapid.Check(t, func(t *rapid.T) {
			x := weights(512).Draw(t, "row")
			var parts []byte
			for first := 0; first < len(x); first += typ.BlockSize() {
				parts = append(parts, quantize(t, typ, x[first:first+typ.BlockSize()])...)
			}
			require.Equal(t, parts, quantize(t, typ, x))
		})
	})
}

func TestQuantizeReplacesWhatWasThere(t *testing.T) {
	forEachType(t, func(t *testing.T, typ gguf.Type) {
		for _, x := range [][]float32{make([]float32, 256), ramp(256)} {
			want := quantize(t, typ, x)
			got := make([]byte, len(want))
			for i := range got {
				got[i] = 0xff
			}
			require.NoError(t, quant.Quantize(typ, got, x, len(x), equalImportance(typ, len(x))))
			require.Equal(t, want, got)
		}
	})
}

func ramp(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i) - float32(n)/3
	}
	return x
}

func TestCodecsDoNotAllocate(t *testing.T) {
	forEachType(t, func(t *testing.T, typ gguf.Type) {
		x := ramp(512)
		blocks := make([]byte, typ.RowBytes(512))
		equal, importance := equalImportance(typ, 512), ramp(512)
		for i := range importance {
			importance[i] *= importance[i]
		}
		require.Zero(t, testing.AllocsPerRun(3, func() {
			_ = quant.Quantize(typ, blocks, x, 512, equal)
			_ = quant.Quantize(typ, blocks, x, 512, importance)
			_ = quant.Dequantize(typ, x, blocks, len(x))
			_ = quant.Validate(typ, blocks, 512)
		}))
	})
}

func TestFloat16(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		value float32
		bits  uint16
	}{
		{0, 0}, {float32(math.Copysign(0, -1)), 0x8000},
		{1, 0x3c00}, {-2, 0xc000},
		{65504, 0x7bff}, {65519.996, 0x7bff}, {65520, 0x7c00}, {-1e9, 0xfc00}, {inf, 0x7c00}, {-inf, 0xfc00},
		{1 + 1.0/2048, 0x3c00}, {1 + 3.0/2048, 0x3c02}, {1 + 1.0/2048 + 1e-6, 0x3c01}, // ties go to even
		{0x1p-14, 0x0400}, {0x1p-24, 1}, {0x1p-25, 0}, {0x1.000002p-25, 1}, {0x3p-25, 2}, {0x1.ff8p-15, 0x03ff}, {0x1.ffcp-15, 0x0400},
		{0x1p-149, 0},
		{float32(math.NaN()), 0x7e00}, {math.Float32frombits(0xff800001), 0xfe00},
	} {
		got := binary.LittleEndian.Uint16(quantize(t, gguf.F16, []float32{c.value}))
		require.Equal(t, fmt.Sprintf("%#04x", c.bits), fmt.Sprintf("%#04x", got), "%g", c.value)
	}
	for bits := range 1 << 16 {
		h := binary.LittleEndian.AppendUint16(nil, uint16(bits))
		v := dequantize(t, gguf.F16, h)
		if bits&0x7fff > 0x7c00 {
			require.True(t, math.IsNaN(float64(v[0])))
			continue
		}
		require.Equal(t, h, quantize(t, gguf.F16, v), "%#04x", bits)
	}
}

func TestBFloat16(t *testing.T) {
	for bits, want := range map[uint32]uint16{
		0x3f800000: 0x3f80,
		0x3f808000: 0x3f80, // ties go to even
		0x3f818000: 0x3f82,
		0x3f808001: 0x3f81,
		0x7f7fffff: 0x7f80,
		0x7f800000: 0x7f80,
		0x7f800001: 0x7fc0, // NaN that would lose its payload
		0xffffffff: 0xffff,
		0x00000001: 0x0000,
	} {
		got := binary.LittleEndian.Uint16(quantize(t, gguf.BF16, []float32{math.Float32frombits(bits)}))
		require.Equal(t, want, got, "%#x", bits)
	}
}

func TestValidate(t *testing.T) {
	forEachType(t, func(t *testing.T, typ gguf.Type) {
		blocks := quantize(t, typ, ramp(1024))
		require.NoError(t, validate(typ, blocks))
	})
	for _, c := range []struct {
		typ    gguf.Type
		offset int // in the third block
		bits   []byte
		want   string
	}{
		{gguf.F32, 0, []byte{0, 0, 0x80, 0x7f}, "block 2 of F32 has +Inf at byte 0"},
		{gguf.F16, 0, []byte{0, 0xfc}, "block 2 of F16 has -Inf at byte 0"},
		{gguf.BF16, 0, []byte{0x81, 0x7f}, "block 2 of BF16 has NaN at byte 0"},
		{gguf.Q4_0, 0, []byte{1, 0x7c}, "block 2 of Q4_0 has NaN at byte 0"},
		{gguf.Q4_1, 2, []byte{0, 0x7c}, "block 2 of Q4_1 has +Inf at byte 2"},
		{gguf.Q5_0, 0, []byte{0, 0x7c}, "block 2 of Q5_0 has +Inf at byte 0"},
		{gguf.Q5_1, 2, []byte{0, 0x7c}, "block 2 of Q5_1 has +Inf at byte 2"},
		{gguf.Q8_0, 0, []byte{0, 0x7c}, "block 2 of Q8_0 has +Inf at byte 0"},
		{gguf.Q2_K, 80, []byte{0, 0x7c}, "block 2 of Q2_K has +Inf at byte 80"},
		{gguf.Q2_K, 82, []byte{0, 0x7c}, "block 2 of Q2_K has +Inf at byte 82"},
		{gguf.Q3_K, 108, []byte{0, 0x7c}, "block 2 of Q3_K has +Inf at byte 108"},
		{gguf.Q4_K, 2, []byte{0, 0x7c}, "block 2 of Q4_K has +Inf at byte 2"},
		{gguf.Q5_K, 0, []byte{0, 0x7c}, "block 2 of Q5_K has +Inf at byte 0"},
		{gguf.Q6_K, 208, []byte{0, 0x7c}, "block 2 of Q6_K has +Inf at byte 208"},
		{gguf.IQ1_S, 0, []byte{0, 0x7c}, "block 2 of IQ1_S has +Inf at byte 0"},
		{gguf.IQ1_M, 48, []byte{0, 0, 0, 0, 0, 0xc0, 0, 0x70}, "block 2 of IQ1_M has values up to +Inf"},
		{gguf.IQ2_XXS, 0, []byte{0, 0x7c}, "block 2 of IQ2_XXS has +Inf at byte 0"},
		{gguf.IQ2_XS, 0, []byte{0, 0x7c}, "block 2 of IQ2_XS has +Inf at byte 0"},
		{gguf.IQ2_S, 0, []byte{0, 0x7c}, "block 2 of IQ2_S has +Inf at byte 0"},
		{gguf.IQ3_XXS, 0, []byte{0, 0x7c}, "block 2 of IQ3_XXS has +Inf at byte 0"},
		{gguf.IQ3_S, 0, []byte{1, 0x7c}, "block 2 of IQ3_S has NaN at byte 0"},
		{gguf.IQ4_NL, 0, []byte{0, 0x7c}, "block 2 of IQ4_NL has +Inf at byte 0"},
		{gguf.IQ4_XS, 0, []byte{0, 0x7c}, "block 2 of IQ4_XS has +Inf at byte 0"},
		{gguf.TQ1_0, 52, []byte{0, 0x7c}, "block 2 of TQ1_0 has +Inf at byte 52"},
		{gguf.TQ2_0, 64, []byte{0, 0x7c}, "block 2 of TQ2_0 has +Inf at byte 64"},
		{gguf.Q1_0, 0, []byte{0, 0x7c}, "block 2 of Q1_0 has +Inf at byte 0"},
		{gguf.Q2_0, 0, []byte{0, 0x7c}, "block 2 of Q2_0 has +Inf at byte 0"},
		{gguf.MXFP4, 0, []byte{0xff}, "block 2 of MXFP4 has values up to NaN"},
		{gguf.MXFP4, 0, []byte{0xfd}, "block 2 of MXFP4 has values up to +Inf"},
	} {
		blocks := quantize(t, c.typ, ramp(1024))
		copy(blocks[2*c.typ.BlockBytes()+c.offset:], c.bits)
		require.EqualError(t, validate(c.typ, blocks), c.want)
	}
	zeros := make([]byte, gguf.MXFP4.BlockBytes())
	zeros[0] = 0xfe
	require.NoError(t, validate(gguf.MXFP4, zeros))
}

func TestValidateFindsEveryNumber(t *testing.T) {
	for typ, numbers := range map[gguf.Type]struct{ greatest, infinity uint32 }{
		gguf.F16:  {0xfbff, 0x7c00},
		gguf.BF16: {0xff7f, 0x7f80},
		gguf.F32:  {0xff7fffff, 0x7f800000},
	} {
		size := typ.BlockBytes()
		put := func(data []byte, i int, bits uint32) {
			var b [4]byte
			binary.LittleEndian.PutUint32(b[:], bits)
			copy(data[i*size:][:size], b[:])
		}
		for n := range 40 {
			data := make([]byte, n*size)
			for i := range n {
				put(data, i, numbers.greatest)
			}
			require.NoError(t, validate(typ, data))
			for i := range n {
				for _, bits := range []uint32{numbers.infinity, numbers.infinity + 1} {
					put(data, i, bits)
					require.ErrorContains(t, validate(typ, data), fmt.Sprintf("block %d of %s", i, typ))
				}
				put(data, i, numbers.greatest)
			}
		}
	}
}

func TestTypesThatNeedImportance(t *testing.T) {
	for _, typ := range []gguf.Type{gguf.IQ1_S, gguf.IQ2_XXS, gguf.IQ2_XS} {
		require.True(t, quant.NeedsImportance(typ))
		require.True(t, quant.CanQuantize(typ))
		x, blocks := ramp(256), make([]byte, typ.BlockBytes())
		err := quant.Quantize(typ, blocks, x, len(x), nil)
		require.ErrorIs(t, err, gguf.ErrUnsupported)
		require.ErrorContains(t, err, typ.String()+" blocks cannot be written without importance matrix")
	}
	require.False(t, quant.NeedsImportance(gguf.IQ2_S))
	require.False(t, quant.NeedsImportance(gguf.Q4_K))
}

// The grids of the IQ types are made when they are first used, here by several
// goroutines at once if no other test ran before.
func TestCodecsAreSafeForConcurrentUse(t *testing.T) {
	x := ramp(256)
	for _, typ := range []gguf.Type{gguf.IQ1_S, gguf.IQ1_M, gguf.IQ2_XXS, gguf.IQ2_XS, gguf.IQ2_S, gguf.IQ3_XXS, gguf.IQ3_S} {
		results := make([][]float32, 4)
		var done sync.WaitGroup
		for i := range results {
			done.Go(func() {
				blocks := make([]byte, typ.BlockBytes())
				if quant.Quantize(typ, blocks, x, 256, equalImportance(typ, 256)) == nil {
					results[i] = dequantize(t, typ, blocks)
				}
			})
		}
		done.Wait()
		for _, result := range results {
			require.NotNil(t, result)
			require.Equal(t, results[0], result, typ)
		}
	}
}

func TestTypesWithoutCodec(t *testing.T) {
	have := make(map[gguf.Type]bool)
	for _, c := range types {
		have[c.typ] = true
	}
	for _, typ := range append(slices.Collect(gguf.Types()), 4, 5, 200, math.MaxUint32) {
		require.Equal(t, have[typ], quant.CanQuantize(typ), typ)
		require.Equal(t, have[typ], quant.CanDequantize(typ), typ)
		if have[typ] {
			continue
		}
		for _, err := range []error{quant.Quantize(typ, nil, nil, 0, nil), quant.Dequantize(typ, nil, nil, 0), quant.Validate(typ, nil, 0)} {
			require.ErrorIs(t, err, gguf.ErrUnsupported)
			require.ErrorContains(t, err, typ.String())
		}
	}
}

func TestSlicesThatDoNotMatchAreABug(t *testing.T) {
	forEachType(t, func(t *testing.T, typ gguf.Type) {
		blocks, x := make([]byte, 2*typ.BlockBytes()), make([]float32, typ.BlockSize())
		importance := equalImportance(gguf.IQ1_S, len(x))
		require.Panics(t, func() { _ = quant.Quantize(typ, blocks, x, len(x), importance) })
		block := blocks[:typ.BlockBytes()]
		require.Panics(t, func() { _ = quant.Quantize(typ, block, x, 2*len(x), importance) })
		require.Panics(t, func() { _ = quant.Quantize(typ, block, x, len(x), append(importance, 1)) })
		if !quant.NeedsImportance(typ) {
			require.Panics(t, func() { _ = quant.Quantize(typ, blocks, x, len(x), nil) })
		}
		require.Panics(t, func() { _ = quant.Dequantize(typ, x, blocks, len(x)) })
		require.Panics(t, func() { _ = quant.Validate(typ, blocks[1:], typ.BlockSize()) })
	})
}

// FuzzQuantize takes any floats there are, NaN and infinities included, as values
// and as importances.
func FuzzQuantize(f *testing.F) {
	for i := range types {
		f.Add(uint8(i), bytesOf(ramp(256)))
		f.Add(uint8(i), bytesOf([]float32{1e38, -1e38, float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), 1e-45, 0, 65520}))
	}
	f.Fuzz(func(t *testing.T, number uint8, data []byte) {
		typ := types[int(number)%len(types)].typ
		x := make([]float32, 256)
		copy(x, floatsOf(data[:min(len(data), 1024)]))
		importance := make([]float32, 256)
		copy(importance, floatsOf(data[len(data)/2:][:min((len(data)+1)/2, 1024)]))
		checkFinite(t, typ, quantize(t, typ, x))
		blocks := make([]byte, typ.RowBytes(256))
		require.NoError(t, quant.Quantize(typ, blocks, x, 256, importance))
		checkFinite(t, typ, blocks)
	})
}

// FuzzDequantize takes any blocks there are.
func FuzzDequantize(f *testing.F) {
	for i, c := range types {
		f.Add(uint8(i), quantize(f, c.typ, ramp(256)))
	}
	f.Fuzz(func(t *testing.T, number uint8, data []byte) {
		typ := types[int(number)%len(types)].typ
		checkFinite(t, typ, data[:min(len(data), 4096)/typ.BlockBytes()*typ.BlockBytes()])
	})
}

// checkFinite requires valid blocks to have finite values.
func checkFinite(t *testing.T, typ gguf.Type, blocks []byte) {
	x := dequantize(t, typ, blocks)
	if validate(typ, blocks) != nil {
		return
	}
	for i, v := range x {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			t.Fatalf("%s: valid blocks have %v as element %d", typ, v, i)
		}
	}
}

func BenchmarkQuantize(b *testing.B) {
	x := make([]float32, 64<<10)
	for i := range x {
		x[i] = float32(math.Cos(float64(i)*float64(i%977)) * 0.02)
	}
	importance := make([]float32, len(x))
	for i := range importance {
		importance[i] = 1 + float32(i%17)
	}
	for _, c := range types {
		blocks := make([]byte, c.typ.RowBytes(int64(len(x))))
		run := func(name string, importance []float32) {
			b.Run(c.typ.String()+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(4 * len(x)))
				for b.Loop() {
					_ = quant.Quantize(c.typ, blocks, x, len(x), importance)
				}
			})
		}
		if !quant.NeedsImportance(c.typ) {
			run("plain", nil)
		}
		run("weighted", importance)
	}
}

func BenchmarkDequantize(b *testing.B) {
	x := ramp(64 << 10)
	for _, c := range types {
		blocks := quantize(b, c.typ, x)
		b.Run(c.typ.String(), func(b *testing.B) {
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				_ = quant.Dequantize(c.typ, x, blocks, len(x))
			}
		})
	}
}
