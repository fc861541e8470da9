package packed_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// ctGroup returns what config_groups says of weights.
func ctGroup(weights string) string {
	return `"config_groups": {"group_0": {"weights": {` + weights + `}}}`
}

var compressedTensors = []golden{
	{"ct-int3-g128-dense/k_proj", ctGroup(`"num_bits": 3, "group_size": 128`), "4a9285635579bf8137d0ebe8a7c493d3e27d3cc5c66fb18b46fbe97f9b78a079"},
	{"ct-int3-g128-old/k_proj", ctGroup(`"num_bits": 3, "group_size": 128`), "4a9285635579bf8137d0ebe8a7c493d3e27d3cc5c66fb18b46fbe97f9b78a079"},
	{"ct-int4-channel-f16/k_proj", ctGroup(`"num_bits": 4, "group_size": null`), "419db6dcb78a68563e33dbb17fe0bf82e560438b19e7b6ee67c5e6eb8a1fd402"},
	{"ct-int4-g32-actorder/k_proj", ctGroup(`"num_bits": 4, "group_size": 32, "actorder": "group"`), "db2c970ec9fdc66f93d9027d266dea705f12b633123c6b7e1d45bea2d6885ec3"},
	{"ct-int4-g32-asym/k_proj", ctGroup(`"num_bits": 4, "group_size": 32, "symmetric": false`), "0c9fa49c9503dc39a25997ab8213f98da4035ec02cd378083ef70971930fac39"},
	{"ct-int8-pack-channel/k_proj", ctGroup(`"num_bits": 8`), "6bbf2573b5e7e7805ae3fe5470dfa49cb3d2538d25c3fcc3f3790fc05ef5de1b"},
	{"ct-int8-w8a8/k_proj", ctGroup(`"num_bits": 8`), "6bbf2573b5e7e7805ae3fe5470dfa49cb3d2538d25c3fcc3f3790fc05ef5de1b"},
	{"ct-fp8-channel-dynamic/k_proj", ctGroup(`"type": "float"`), "9f11e3968e8c6de1e69dee9cce332c6a14466c8e486a33ccb4659254eecca24b"},
	{"ct-fp8-tensor-static/k_proj", `"config_groups": {"FP8": ["Linear"]}`, "b727eb2855ec21c7bfdb54099f7a4645fb3ea17f25ef906cecec10c539392647"},
}

// TestCompressedTensors compares with the values that compressed-tensors has, also where
// nothing is configured.
func TestCompressedTensors(t *testing.T) {
	testGolden(t, "compressed_tensors.safetensors", "compressed-tensors", compressedTensors)
	for _, g := range compressedTensors {
		set, err := unpackModule(t, module(t, "compressed_tensors.safetensors", g.name), "")
		require.NoError(t, err)
		require.Equal(t, g.sha256, hash(t, testmodel.Values(t, set.Get("m.weight"))), g.name)
	}
}

// pack packs a row of fields of so many bits, as pack-quantized does, or did: with words
// of whole fields.
func pack(fields []int, bits int, whole bool) (words []int32) {
	each := 32 / bits
	size := (len(fields)*bits + 31) / 32
	if whole {
		size = (len(fields) + each - 1) / each
	}
	words = make([]int32, size)
	for i, f := range fields {
		for b := range bits {
			at := i*bits + b
			if whole {
				at = i/each*32 + i%each*bits + b
			}
			words[at/32] |= int32(f>>b&1) << (at % 32)
		}
	}
	return words
}

// rawOf returns integers as a tensor.
func rawOf[T int8 | int32 | int64](dtype weights.Dtype, values []T, shape ...int64) raw {
	data, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		panic(err)
	}
	return raw{Dtype: dtype, Shape: shape, Data: data}
}

// TestPackQuantized: codes of all widths, with zero points, also of several matrices and
// of rows that are no whole groups or words.
func TestPackQuantized(t *testing.T) {
	const matrices, rows, length, size = 2, 21, 101, 32
	const groups = (length + size - 1) / size
	for bits := 1; bits <= 8; bits++ {
		for _, whole := range []bool{false, true} {
			what := fmt.Sprintf("%d bits, whole fields in words: %v", bits, whole)
			code := func(i int) int { return (i*7 + i/5) % (1 << bits) }
			zero := func(i int) int { return (i*3 + 1) % (1 << bits) }
			var words, zeroWords []int32
			var zeroCodes []int8
			var want []float32
			for m := range matrices {
				packed := make([][]int32, groups)
				for g := range packed {
					fields := make([]int, rows)
					for r := range fields {
						fields[r] = zero((m*rows+r)*groups + g)
					}
					packed[g] = pack(fields, bits, whole)
				}
				for w := range packed[0] {
					for g := range packed {
						zeroWords = append(zeroWords, packed[g][w])
					}
				}
				for r := range rows {
					line := make([]int, length)
					for k := range line {
						at := (m*rows+r)*groups + k/size
						line[k] = code((m*rows+r)*length + k)
						want = append(want, float32(line[k]-zero(at))*float32(at+1))
					}
					words = append(words, pack(line, bits, whole)...)
				}
			}
			scales := make([]float32, matrices*rows*groups)
			for i := range scales {
				scales[i] = float32(i + 1)
				zeroCodes = append(zeroCodes, int8(zero(i)-1<<(bits-1)))
			}
			scale := raw{Dtype: weights.F32, Shape: []int64{matrices, rows, groups}, Data: testmodel.Encode(t, weights.F32, scales)}
			tensors := map[string]raw{
				"m.weight_packed":     rawOf(weights.I32, words, matrices, rows, int64(len(words)/matrices/rows)),
				"m.weight_shape":      rawOf(weights.I64, []int64{matrices, rows, length}, 3),
				"m.weight_scale":      scale,
				"m.weight_zero_point": rawOf(weights.I32, zeroWords, matrices, int64(len(zeroWords)/matrices/groups), groups),
			}
			set, err := unpackModule(t, tensors, ctGroup(fmt.Sprintf(`"num_bits": %d, "group_size": %d, "symmetric": false`, bits, size)))
			require.NoError(t, err, what)
			require.Equal(t, []string{"m.weight"}, set.Names(), what)
			require.Equal(t, want, testmodel.Values(t, set.Get("m.weight")), what)
			part := make([]float32, 5*length)
			require.NoError(t, set.Get("m.weight").ReadRows(part, rows-2, 5), what)
			require.Equal(t, want[(rows-2)*length:][:5*length], part, what)

			tensors["m.weight_zero_point"] = rawOf(weights.I8, zeroCodes, matrices, rows, groups) // before they were packed
			set, err = unpackModule(t, tensors, ctGroup(fmt.Sprintf(`"num_bits": %d, "group_size": %d`, bits, size)))
			require.NoError(t, err, what)
			require.Equal(t, want, testmodel.Values(t, set.Get("m.weight")), what)
		}
	}
}

// TestMixedPrecision: each matrix has the width that fits it, of those that are configured.
func TestMixedPrecision(t *testing.T) {
	config := `"config_groups": {"a": {"weights": {"num_bits": 8}}, "b": {"weights": {"num_bits": 4, "group_size": 32}}, "c": {"weights": {"num_bits": 3, "group_size": 128}},
		"d": {"weights": null, "input_activations": {}}}`
	for _, g := range compressedTensors {
		set, err := unpackModule(t, module(t, "compressed_tensors.safetensors", g.name), config)
		require.NoError(t, err, g.name)
		require.Equal(t, g.sha256, hash(t, testmodel.Values(t, set.Get("m.weight"))), g.name)
	}
}

// TestActOrder: -1 says that groups are side by side.
func TestActOrder(t *testing.T) {
	tensors := module(t, "compressed_tensors.safetensors", "ct-int4-g32-asym/k_proj")
	index := make([]int32, 256)
	for i := range index {
		index[i] = -1
	}
	tensors["m.weight_g_idx"] = rawOf(weights.I32, index, 256)
	set, err := unpackModule(t, tensors, "")
	require.NoError(t, err)
	require.Equal(t, "0c9fa49c9503dc39a25997ab8213f98da4035ec02cd378083ef70971930fac39", hash(t, testmodel.Values(t, set.Get("m.weight"))))
}

// TestCompressedTensorsBlocks: integers whose groups are runs of 32 or more are blocks, if
// a float16 holds the scales.
func TestCompressedTensorsBlocks(t *testing.T) {
	types := map[string]gguf.Type{
		"ct-int3-g128-dense/k_proj":   gguf.Q4_0,
		"ct-int3-g128-old/k_proj":     gguf.Q4_0,
		"ct-int4-channel-f16/k_proj":  gguf.Q4_0,
		"ct-int4-g32-asym/k_proj":     gguf.Q5_0,
		"ct-int8-pack-channel/k_proj": gguf.Q8_0,
		"ct-int8-w8a8/k_proj":         gguf.Q8_0,
	}
	blocks := func(tensors map[string]raw, name string, want gguf.Type) {
		set, err := unpackModule(t, tensors, "")
		require.NoError(t, err)
		checkBlocks(t, name, set.Get("m.weight"), want)
	}
	for _, g := range compressedTensors {
		blocks(module(t, "compressed_tensors.safetensors", g.name), g.name, types[g.name])
	}
	tensors := module(t, "compressed_tensors.safetensors", "ct-int4-g32-asym/k_proj")
	index := make([]int32, 256)
	for i := range index {
		index[i] = int32(7 - i/32)
	}
	tensors["m.weight_g_idx"] = rawOf(weights.I32, index, 256)
	blocks(tensors, "runs in another order", gguf.Q5_0)
	tensors["m.weight_scale"] = poked(tensors["m.weight_scale"], 10, 1, 0x30)
	blocks(tensors, "a scale of less than float16 has", 0)
	tensors["m.weight_scale"] = poked(tensors["m.weight_scale"], 10, 0x80, 0x48)
	blocks(tensors, "a scale of more", 0)
}

func TestCompressedTensorsRefused(t *testing.T) {
	const fourBits, bytes, asym, order = "ct-int4-channel-f16/k_proj", "ct-int8-w8a8/k_proj", "ct-int4-g32-asym/k_proj", "ct-int4-g32-actorder/k_proj"
	shape := func(n ...int64) func(m map[string]raw) {
		return func(m map[string]raw) { m["m.weight_shape"] = rawOf(weights.I64, n, int64(len(n))) }
	}
	without := func(name string) func(m map[string]raw) { return func(m map[string]raw) { delete(m, name) } }
	for name, tt := range map[string]struct {
		module, config string
		change         func(m map[string]raw)
		want           string
		err            error
	}{
		"another method":        {fourBits, `"quant_method": "gptq"`, nil, `says "gptq"`, gguf.ErrCorrupt},
		"another method, bytes": {bytes, `"quant_method": "fp8"`, nil, `says "fp8"`, gguf.ErrCorrupt},
		"other bits":            {fourBits, ctGroup(`"num_bits": 8`), nil, "codes of [8] bits", gguf.ErrCorrupt},
		"other groups":          {asym, ctGroup(`"num_bits": 4, "group_size": 64`), nil, "[1 x 64]", gguf.ErrCorrupt},
		"no block":              {asym, ctGroup(`"block_structure": [0, 128]`), nil, "[0 128]", gguf.ErrCorrupt},
		"half a block":          {asym, ctGroup(`"block_structure": ["128"]`), nil, "block_structure", gguf.ErrCorrupt},
		"bits in words":         {fourBits, ctGroup(`"num_bits": "four"`), nil, "config_groups", gguf.ErrCorrupt},
		"online transforms":     {fourBits, `"transform_config": {"config_groups": {"R3": {"apply": [{"location": "weight_input"}, {"location": "q_attn"}]}}}`, nil, "q_attn", gguf.ErrUnsupported},
		"no zero points":        {fourBits, ctGroup(`"num_bits": 4, "symmetric": false`), nil, `"m.weight_zero_point" is missing`, gguf.ErrCorrupt},
		"no scales":             {fourBits, ``, without("m.weight_scale"), `"m.weight_scale" is missing`, gguf.ErrCorrupt},
		"no codes":              {fourBits, ``, without("m.weight_packed"), `"m.weight_scale" has the scales of a matrix that is not there`, gguf.ErrCorrupt},
		"bytes without scales":  {bytes, ``, without("m.weight_scale"), "I8", gguf.ErrUnsupported},
		"no shape":              {fourBits, ``, without("m.weight_shape"), `"m.weight_shape" is missing`, gguf.ErrCorrupt},
		"Marlin": {fourBits, ``, func(m map[string]raw) {
			delete(m, "m.weight_shape")
			m["m.scale_packed"] = m["m.weight_scale"]
		}, "Marlin", gguf.ErrUnsupported},
		"sparse":             {bytes, ``, func(m map[string]raw) { m["m.bitmask"] = m["m.weight"] }, "sparse", gguf.ErrUnsupported},
		"other rows":         {fourBits, ``, shape(63, 256), "[63 256]", gguf.ErrCorrupt},
		"other columns":      {fourBits, ``, shape(64, 1<<40), "1099511627776", gguf.ErrCorrupt},
		"more columns":       {fourBits, ctGroup(`"num_bits": 4`), shape(64, 257), "[64 257]", gguf.ErrCorrupt},
		"negative columns":   {fourBits, ``, shape(64, -256), "-256", gguf.ErrCorrupt},
		"no columns":         {fourBits, ``, shape(64, 0), "[64 0]", gguf.ErrCorrupt},
		"a vector":           {fourBits, ``, shape(16384), "m.weight_shape", gguf.ErrCorrupt},
		"zero points across": {asym, ``, func(m map[string]raw) { m["m.weight_zero_point"] = reshaped(m["m.weight_zero_point"], 4, 16) }, "m.weight_zero_point", gguf.ErrCorrupt},
		"zero points of rows": {asym, ``, func(m map[string]raw) { m["m.weight_zero_point"] = rawOf(weights.I8, make([]int8, 64), 64, 1) },
			"zero points are of shape [64 1]", gguf.ErrCorrupt},
		"a group too far":  {order, ``, func(m map[string]raw) { m["m.weight_g_idx"] = poked(m["m.weight_g_idx"], 8, 8) }, "column 2 is in group 8", gguf.ErrCorrupt},
		"a group below":    {order, ``, func(m map[string]raw) { m["m.weight_g_idx"] = poked(m["m.weight_g_idx"], 0, 0xfe, 0xff, 0xff, 0xff) }, "group -2", gguf.ErrCorrupt},
		"a short index":    {order, ``, func(m map[string]raw) { m["m.weight_g_idx"] = reshaped(m["m.weight_g_idx"], 2, 128) }, "[2 128]", gguf.ErrCorrupt},
		"no number":        {fourBits, ``, func(m map[string]raw) { m["m.weight_scale"] = poked(m["m.weight_scale"], 2, 0, 0x7e) }, "of row 1 is NaN", gguf.ErrCorrupt},
		"no finite number": {bytes, ``, func(m map[string]raw) { m["m.weight_scale"] = poked(m["m.weight_scale"], 2, 0x80, 0x7f) }, "of row 1 is", gguf.ErrCorrupt},
	} {
		tensors := module(t, "compressed_tensors.safetensors", tt.module)
		if tt.change != nil {
			tt.change(tensors)
		}
		err := readAll(unpackModule(t, tensors, tt.config))
		require.ErrorIs(t, err, tt.err, name)
		require.ErrorContains(t, err, tt.want, name)
	}
}

func FuzzCompressedTensors(f *testing.F) {
	fuzzModule(f, "compressed_tensors.safetensors", compressedTensors)
}
