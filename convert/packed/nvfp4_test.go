package packed_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

const (
	ctNVFP4       = "ct-nvfp4/v_proj"
	modeloptNVFP4 = "modelopt-nvfp4/v_proj"
	fp4Groups     = `"config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "float", "group_size": 16}}, "group_1": {}}`
)

var (
	ctNVFP4Golden       = []golden{{ctNVFP4, `"format": "nvfp4-pack-quantized", ` + fp4Groups, "030f7c7ace5e701176c9fe4f7398595609eb14bad28f6e6c459cab9b084fb064"}}
	modeloptNVFP4Golden = []golden{{modeloptNVFP4, `"quant_algo": "NVFP4", ` + fp4Groups, "6a8e2d7dafcf437f3d7c1837379790b9b19bef2aebae253c0712c43a94414c6d"}}
)

// TestNVFP4 compares with the values that compressed-tensors and ModelOpt have.
func TestNVFP4(t *testing.T) {
	testGolden(t, "nvfp4.safetensors", "compressed-tensors", ctNVFP4Golden)
	testGolden(t, "nvfp4.safetensors", "modelopt", modeloptNVFP4Golden)

	// What is only for activations and the KV cache is left out.
	tensors := module(t, "nvfp4.safetensors", ctNVFP4)
	for _, name := range []string{"m.input_global_scale", "m.v_scale", "attention.q_scale"} {
		tensors[name] = tensors["m.weight_global_scale"]
	}
	set, err := unpackModule(t, tensors, `"quant_method": "compressed-tensors"`)
	require.NoError(t, err)
	require.Equal(t, []string{"m.weight"}, set.Names())
	set, err = unpackModule(t, map[string]raw{"m.v_scale": tensors["m.v_scale"]}, ``)
	require.NoError(t, err)
	require.Equal(t, []string{"m.v_scale"}, set.Names(), "nothing is packed")
}

// fp4Module returns a module with NVFP4 of ModelOpt in two matrices of a shape.
func fp4Module(shape []int64, codes, scales []byte, global ...float32) map[string]raw {
	groups := []int64{shape[0], shape[1], shape[2] / 16}
	values := make([]byte, 4*len(global))
	weights.F32.Encode(values, global)
	return map[string]raw{
		"m.weight":         {Dtype: weights.U8, Shape: []int64{shape[0], shape[1], shape[2] / 2}, Data: codes},
		"m.weight_scale":   {Dtype: weights.F8E4M3, Shape: groups, Data: scales},
		"m.weight_scale_2": {Dtype: weights.F32, Shape: []int64{int64(len(global))}, Data: values},
	}
}

// TestNVFP4Experts: matrices of several experts have a scale each, or one for all.
// Negative scales are in the codes of blocks.
func TestNVFP4Experts(t *testing.T) {
	shape := []int64{2, 1, 64}
	codes, scales := make([]byte, 64), []byte{0x38, 0x40, 0xb8, 0x01, 0x38, 0x38, 0x38, 0x38} // 1, 2, -1, 1/512
	for i := range codes {
		codes[i] = byte(i * 37)
	}
	levels := []float32{0, 0.5, 1, 1.5, 2, 3, 4, 6}
	for _, global := range [][]float32{{3}, {3, 0.25}} {
		set, err := unpackModule(t, fp4Module(shape, codes, scales, global...), `"quant_method": "modelopt"`)
		require.NoError(t, err)
		require.Equal(t, shape, set.Get("m.weight").Shape())
		var want []float32
		for i := range 128 {
			code := codes[i/2] >> (i % 2 * 4) & 15
			v := levels[code&7] * []float32{1, 2, -1, 1. / 512, 1, 1, 1, 1}[i/16] * global[i/64%len(global)]
			if code&8 != 0 {
				v = -v
			}
			want = append(want, v)
		}
		require.Equal(t, want, testmodel.Values(t, set.Get("m.weight")))
		blocks, err := weights.BlocksOf(set.Get("m.weight"))
		require.NoError(t, err)
		require.Equal(t, []float32{3, global[len(global)-1]}, blocks.Scales)
		block, got := make([]byte, 72), make([]float32, 128)
		require.NoError(t, blocks.Read(block, 0, 2))
		require.NoError(t, quant.Dequantize(gguf.NVFP4, got, block, 64))
		for i := range got {
			got[i] *= blocks.Scales[i/64]
		}
		require.Equal(t, want, got)
	}
}

// TestNVFP4Blocks compares with what convert_hf_to_gguf.py writes for the same matrices.
func TestNVFP4Blocks(t *testing.T) {
	for _, name := range []string{ctNVFP4, modeloptNVFP4} {
		set, err := unpackModule(t, module(t, "nvfp4.safetensors", name), ``)
		require.NoError(t, err)
		blocks, err := weights.BlocksOf(set.Get("m.weight"))
		require.NoError(t, err)
		require.Equal(t, gguf.NVFP4, blocks.Type)
		require.Equal(t, "ec20b0f3ba5ea02510ba4ab24e2d30de267267a0b1d3a6efbc7bb60c5de91d28", blocksHash(t, blocks, 0, 64, 256))
		require.Equal(t, "d27e37d1d42b4f7d4d4f7a5ea8c8a37c11f5a53e3b88151bc8c6704b5392653c", hash(t, blocks.Scales), "of the matrix")
		require.Equal(t, name == ctNVFP4, blocks.Rounded)
	}
	// What activations are divided by is there as well.
	for name, input := range map[string]string{modeloptNVFP4: "m.input_scale", ctNVFP4: "m.input_global_scale"} {
		tensors := module(t, "nvfp4.safetensors", name)
		tensors[input] = tensors["m.weight_scale_2"]
		if name == ctNVFP4 {
			tensors[input] = tensors["m.weight_global_scale"]
		}
		set, err := unpackModule(t, tensors, ``)
		require.NoError(t, err)
		require.Equal(t, []string{"m.weight"}, set.Names())
		blocks, err := weights.BlocksOf(set.Get("m.weight"))
		require.NoError(t, err)
		require.Equal(t, blocks.Scales, blocks.Inputs)
		tensors[input] = poked(tensors[input], 2, 0xc0, 0x7f)
		set, err = unpackModule(t, tensors, ``)
		require.NoError(t, err)
		require.NoError(t, readAll(set, nil), "numbers do not depend on it")
		_, err = weights.BlocksOf(set.Get("m.weight"))
		require.ErrorIs(t, err, gguf.ErrCorrupt)
		require.ErrorContains(t, err, input)
	}
	// A power of two divides as its reciprocal multiplies.
	tensors := module(t, "nvfp4.safetensors", ctNVFP4)
	tensors["m.weight_global_scale"] = poked(tensors["m.weight_global_scale"], 0, 0, 0, 0, 0x44)
	set, err := unpackModule(t, tensors, ``)
	require.NoError(t, err)
	blocks, err := weights.BlocksOf(set.Get("m.weight"))
	require.NoError(t, err)
	require.False(t, blocks.Rounded)
	// Rows that are not whole blocks have none.
	for k, want := range map[int64]bool{16: false, 48: false, 64: true} {
		set, err := unpackModule(t, fp4Module([]int64{1, 1, k}, make([]byte, k/2), make([]byte, k/16), 1), ``)
		require.NoError(t, err)
		require.NoError(t, readAll(set, nil))
		blocks, err := weights.BlocksOf(set.Get("m.weight"))
		require.NoError(t, err)
		require.Equal(t, want, blocks != nil, k)
	}
}

func blocksHash(t *testing.T, b *weights.Blocks, first, n, length int64) string {
	data := make([]byte, n*b.Type.RowBytes(length))
	require.NoError(t, b.Read(data, first, n))
	return sum(data)
}

func TestNVFP4Refused(t *testing.T) {
	for name, tt := range map[string]struct {
		module, config string
		change         func(m map[string]raw)
		want           string
		err            error
	}{
		"no scale of the matrix":   {ctNVFP4, ``, func(m map[string]raw) { delete(m, "m.weight_global_scale") }, `"m.weight_global_scale" is missing`, gguf.ErrCorrupt},
		"nor of ModelOpt's matrix": {modeloptNVFP4, ``, func(m map[string]raw) { delete(m, "m.weight_scale_2") }, `"m.weight_scale_2" is missing`, gguf.ErrCorrupt},
		"no scales":                {ctNVFP4, ``, func(m map[string]raw) { delete(m, "m.weight_scale") }, `"m.weight_scale" is missing`, gguf.ErrCorrupt},
		"nor ModelOpt's":           {modeloptNVFP4, ``, func(m map[string]raw) { delete(m, "m.weight_scale") }, `"m.weight_scale" is missing`, gguf.ErrCorrupt},
		"other groups":             {ctNVFP4, `"config_groups": {"a": {"weights": {"num_bits": 4, "type": "float", "group_size": 32}}}`, nil, "groups of 16 elements", gguf.ErrCorrupt},
		"another method":           {modeloptNVFP4, `"quant_method": "awq"`, nil, `says "awq"`, gguf.ErrCorrupt},
		"scaled activations":       {modeloptNVFP4, ``, func(m map[string]raw) { m["m.pre_quant_scale"] = m["m.input_scale"] }, "pre_quant_scale", gguf.ErrUnsupported},
		"no number":                {ctNVFP4, ``, func(m map[string]raw) { m["m.weight_scale"] = poked(m["m.weight_scale"], 17, 0xff) }, `"m.weight_packed": element 16 of row 1 is NaN`, gguf.ErrCorrupt},
		"infinite": {modeloptNVFP4, ``, func(m map[string]raw) { m["m.weight_scale_2"] = poked(m["m.weight_scale_2"], 0, 0, 0, 0x80, 0x7f) },
			`"m.weight_scale_2": scale 0 is +Inf`, gguf.ErrCorrupt},
		"over nothing": {ctNVFP4, ``, func(m map[string]raw) { m["m.weight_global_scale"] = poked(m["m.weight_global_scale"], 0, 0, 0, 0, 0) },
			`"m.weight_global_scale": scale 0 is 0`, gguf.ErrCorrupt},
		"too large": {modeloptNVFP4, ``, func(m map[string]raw) {
			m["m.weight_scale_2"] = poked(m["m.weight_scale_2"], 0, 0xff, 0xff, 0x7f, 0x7f)
		},
			`"m.weight": element`, gguf.ErrCorrupt},
		"scales of others": {ctNVFP4, ``, func(m map[string]raw) {
			r := m["m.weight_global_scale"]
			m["m.weight_global_scale"] = raw{Dtype: r.Dtype, Shape: []int64{2}, Data: make([]byte, 8)}
		}, "1 matrices", gguf.ErrCorrupt},
		"whole scale": {ctNVFP4, ``, func(m map[string]raw) {
			r := m["m.weight_global_scale"]
			r.Dtype = weights.I32
			m["m.weight_global_scale"] = r
		}, "I32", gguf.ErrCorrupt},
		"other rows": {ctNVFP4, ``, func(m map[string]raw) { m["m.weight_scale"] = reshaped(m["m.weight_scale"], 32, 32) }, "do not fit", gguf.ErrCorrupt},
		"more groups than elements": {ctNVFP4, ``, func(m map[string]raw) {
			m["m.weight_packed"] = raw{Dtype: weights.U8, Shape: []int64{64, 1}, Data: make([]byte, 64)}
		}, "do not fit", gguf.ErrCorrupt},
		"a vector": {ctNVFP4, ``, func(m map[string]raw) {
			m["m.weight_packed"], m["m.weight_scale"] = reshaped(m["m.weight_packed"], 8192), reshaped(m["m.weight_scale"], 1024)
		}, "do not fit", gguf.ErrCorrupt},
		"nothing": {ctNVFP4, ``, func(m map[string]raw) {
			m["m.weight_packed"], m["m.weight_scale"] = raw{Dtype: weights.U8, Shape: []int64{1 << 40, 0}}, raw{Dtype: weights.F8E4M3, Shape: []int64{1 << 40, 0}}
		}, "do not fit", gguf.ErrCorrupt},
	} {
		tensors := module(t, "nvfp4.safetensors", tt.module)
		if tt.change != nil {
			tt.change(tensors)
		}
		err := readAll(unpackModule(t, tensors, tt.config))
		require.ErrorIs(t, err, tt.err, name)
		require.ErrorContains(t, err, tt.want, name)
	}
}

func FuzzNVFP4(f *testing.F) {
	fuzzModule(f, "nvfp4.safetensors", append(ctNVFP4Golden, modeloptNVFP4Golden...))
}
