package packed_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

var mxfp4 = []golden{{"ct-mxfp4/v_proj", `"format": "mxfp4-pack-quantized", "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "float", "group_size": 32}}}`,
	"27f60ff38eb5225d73d87e0aca4dc25971c0ac548e69bd9b221132a32601b72a"}}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// TestMXFP4 compares with the values that compressed-tensors has.
func TestMXFP4(t *testing.T) {
	testGolden(t, "mxfp4.safetensors", "compressed-tensors", mxfp4)
	set, err := unpackModule(t, module(t, "mxfp4.safetensors", mxfp4[0].name), ``)
	require.NoError(t, err)
	checkBlocks(t, "blocks", set.Get("m.weight"), gguf.MXFP4)

	// As ModelOpt and DeepSeek have it.
	tensors := module(t, "mxfp4.safetensors", mxfp4[0].name)
	codes, scales := tensors["m.weight_packed"], tensors["m.weight_scale"]
	signed, exponents := codes, scales
	signed.Dtype, exponents.Dtype = weights.I8, weights.F8E8M0
	for method, tensors := range map[string]map[string]raw{
		"modelopt": {"m.weight": codes, "m.weight_scale": scales},
		"fp8":      {"m.weight": signed, "m.scale": exponents},
	} {
		set, err = unpackModule(t, tensors, `"quant_method": "`+method+`"`)
		require.NoError(t, err)
		require.Equal(t, []string{"m.weight"}, set.Names())
		require.Equal(t, mxfp4[0].sha256, hash(t, testmodel.Values(t, set.Get("m.weight"))))
	}
}

// TestGPTOSS compares with the values that transformers has, and with the blocks that
// convert_hf_to_gguf.py writes: of a matrix each for gates and for the others, whose rows
// take turns.
func TestGPTOSS(t *testing.T) {
	tensors := module(t, "mxfp4.safetensors", "gptoss-mxfp4/experts")
	set, err := unpackModule(t, tensors, `"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]`)
	require.NoError(t, err)
	require.Equal(t, []string{"m.down_proj", "m.gate_up_proj"}, set.Names())
	gateUp, down := set.Get("m.gate_up_proj"), set.Get("m.down_proj")
	require.Equal(t, []int64{4, 64, 192}, gateUp.Shape())
	require.Equal(t, "01ff59be1c7fd619d8af1ae420300ae4e7f116cda8d77c3abdd156d92c27fdcc", hash(t, testmodel.Values(t, gateUp)))
	require.Equal(t, []int64{4, 96, 64}, down.Shape())
	require.Equal(t, "5a6fc2e0ab7a5e29ca075cd4f8a3c1f5094290b57fa3014e42bcb4e7115a2703", hash(t, testmodel.Values(t, down)))

	checkBlocks(t, "down", weights.Transpose(down), gguf.MXFP4)
	blocks, err := weights.BlocksOf(weights.Transpose(down))
	require.NoError(t, err)
	require.Equal(t, "f4b243010820d4f5f242978092678f99df73a3437e6165bb15bd87c0ad6879b6", blocksHash(t, blocks, 0, 4*64, 96))
	blocks, err = weights.BlocksOf(weights.Transpose(gateUp))
	require.NoError(t, err)
	parts := make([][]byte, 2)
	for row := range int64(4 * 192) {
		line := make([]byte, gguf.MXFP4.RowBytes(64))
		require.NoError(t, blocks.Read(line, row, 1))
		parts[row%2] = append(parts[row%2], line...)
	}
	require.Equal(t, "665214179ce016609676a773338074752084c9a12b3914ef89582ce99ec14c24", sum(parts[0]), "gate")
	require.Equal(t, "f9202f3877e4bf7bd3ccc8ca4e491427c0c4460419621a1ba3c74a58a2b42492", sum(parts[1]), "up")
}

func TestMXFP4Refused(t *testing.T) {
	const experts = "gptoss-mxfp4/experts"
	for name, tt := range map[string]struct {
		module, config string
		change         func(m map[string]raw)
		want           string
		err            error
	}{
		"no scales": {experts, ``, func(m map[string]raw) { delete(m, "m.down_proj_scales") }, `"m.down_proj_scales" is missing`, gguf.ErrCorrupt},
		"other scales": {experts, ``, func(m map[string]raw) {
			r := m["m.down_proj_scales"]
			r.Dtype = weights.F8E4M3
			m["m.down_proj_scales"] = r
		}, "F8_E4M3", gguf.ErrCorrupt},
		"scales of others":   {experts, ``, func(m map[string]raw) { m["m.down_proj_scales"] = m["m.gate_up_proj_scales"] }, `"m.down_proj_blocks"`, gguf.ErrCorrupt},
		"another method":     {experts, `"quant_method": "gptq"`, nil, `says "gptq"`, gguf.ErrCorrupt},
		"no number":          {experts, ``, func(m map[string]raw) { m["m.down_proj_scales"] = poked(m["m.down_proj_scales"], 4, 255) }, `"m.down_proj_blocks": element 32 of row 1 is NaN`, gguf.ErrCorrupt},
		"beyond float32":     {mxfp4[0].name, ``, func(m map[string]raw) { m["m.weight_scale"] = poked(m["m.weight_scale"], 3, 254) }, `"m.weight_packed": element`, gguf.ErrCorrupt},
		"other groups":       {mxfp4[0].name, `"config_groups": {"a": {"weights": {"num_bits": 4, "type": "float", "group_size": 16}}}`, nil, "groups of 32 elements", gguf.ErrCorrupt},
		"groups of no size":  {mxfp4[0].name, ``, func(m map[string]raw) { m["m.weight_scale"] = reshaped(m["m.weight_scale"], 512, 1) }, "do not fit", gguf.ErrCorrupt},
		"no groups":          {mxfp4[0].name, ``, func(m map[string]raw) { m["m.weight_scale"] = raw{Dtype: weights.U8, Shape: []int64{64, 0}} }, "do not fit", gguf.ErrCorrupt},
		"settings of others": {mxfp4[0].name, `"config_groups": 1`, nil, "config_groups", gguf.ErrCorrupt},
	} {
		tensors := module(t, "mxfp4.safetensors", tt.module)
		if tt.change != nil {
			tt.change(tensors)
		}
		err := readAll(unpackModule(t, tensors, tt.config))
		require.ErrorIs(t, err, tt.err, name)
		require.ErrorContains(t, err, tt.want, name)
	}
}

func FuzzMXFP4(f *testing.F) {
	fuzzModule(f, "mxfp4.safetensors", append(mxfp4, golden{"gptoss-mxfp4/experts", `"quant_method": "mxfp4"`, ""}))
}
