package packed_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/packed"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// named are tensors by name.
type named map[string]weights.Rows

// newSet returns a set of two packed tensors and one that is not, with some changed.
func newSet(t *testing.T, changes ...named) weights.Set {
	tensors := named{
		"a":           codes(weights.F8E4M3, []int64{3, 5}, 0x38, 0x30, 0xb8, 0x08, 0x7e, 0x38, 0x38, 0x38, 0x38, 0x38, 0, 0x80, 0x38, 0x38, 0x40),
		"a_scale_inv": weights.Values(weights.F32, []float32{1, 10, 100, 2, 20, 200}, 2, 3),
		"b":           codes(weights.F8E5M2, []int64{2, 1, 3}, 0x3c, 0x40, 0x3c, 0x3c, 0x3c, 0xbc),
		"b_scale_inv": codes(weights.F8E8M0, []int64{2, 1, 2}, 127, 128, 129, 126),
		"norm":        weights.Values(weights.BF16, []float32{1, 2}, 2),
	}
	var list weights.List
	for _, name := range []string{"a", "a_scale_inv", "b_scale_inv", "b", "norm"} {
		r := tensors[name]
		for _, c := range changes {
			if other, ok := c[name]; ok {
				r = other
			}
		}
		if r != nil {
			require.NoError(t, list.Add(name, r))
		}
	}
	return &list
}

// codes is a tensor of numbers of a byte each.
func codes(dtype weights.Dtype, shape []int64, raw ...byte) weights.Rows {
	_, length := weights.Count(shape)
	return &stored{weights.Compute(shape, weights.F32, 1, func(dst []float32, first, n int64) error {
		dtype.Float32(dst, raw[first*length:][:n*length])
		return nil
	}), dtype, raw}
}

type stored struct {
	weights.Rows
	dtype weights.Dtype
	raw   []byte
}

func (s *stored) Dtype() weights.Dtype { return s.dtype }

func (s *stored) ReadRaw(dst []byte, first, n int64) error {
	copy(dst, s.raw[first*int64(len(dst))/n:])
	return nil
}

func unpack(t *testing.T, config string, set weights.Set) (weights.Set, error) {
	c, err := packed.ReadConfig(files.Directory(""), []byte(`{"quantization_config": {"quant_method": "fp8"`+config+`}}`))
	require.NoError(t, err)
	return packed.Unpack(set, c)
}

const blocks = `, "weight_block_size": [2, 2]`

func TestFP8(t *testing.T) {
	set, err := unpack(t, blocks, newSet(t))
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "norm"}, set.Names())
	a, b := set.Get("a"), set.Get("b")
	require.Equal(t, weights.F32, a.Dtype())
	require.Equal(t, []float32{1, 0.5, -10, 0.15625, 44800, 1, 1, 10, 10, 100, 0, 0, 20, 20, 400}, testmodel.Values(t, a))
	require.Equal(t, []float32{1, 2, 2, 4, 4, -0.5}, testmodel.Values(t, b), "a matrix of each expert")
	require.Equal(t, weights.BF16, set.Get("norm").Dtype())
	part := make([]float32, 10)
	require.NoError(t, a.ReadRows(part, 1, 2))
	require.Equal(t, []float32{1, 1, 10, 10, 100, 0, 0, 20, 20, 400}, part)
}

func TestFP8Refused(t *testing.T) {
	for name, tt := range map[string]struct {
		config  string
		changes named
		want    string
		err     error
	}{
		"one size":            {`, "weight_block_size": [128]`, nil, "[128]", gguf.ErrCorrupt},
		"no size":             {`, "weight_block_size": [0, 128]`, nil, "[0 128]", gguf.ErrCorrupt},
		"no scales":           {blocks, named{"a_scale_inv": nil}, `"a_scale_inv" is missing`, gguf.ErrCorrupt},
		"no codes":            {blocks, named{"b": nil}, `"b_scale_inv" has the scales of a matrix that is not there, or is not packed`, gguf.ErrCorrupt},
		"not packed":          {blocks, named{"b": weights.Values(weights.BF16, make([]float32, 6), 2, 1, 3)}, `"b_scale_inv" has the scales of a matrix that is not there, or is not packed`, gguf.ErrCorrupt},
		"a vector":            {blocks, named{"a": codes(weights.F8E4M3, []int64{3}, 0, 0, 0)}, "no matrix", gguf.ErrCorrupt},
		"other grid":          {blocks, named{"a_scale_inv": weights.Values(weights.F32, make([]float32, 4), 2, 2)}, "[2 x 2]", gguf.ErrCorrupt},
		"uneven blocks":       {"", named{"a_scale_inv": weights.Values(weights.F32, make([]float32, 6), 3, 2)}, "no blocks", gguf.ErrCorrupt},
		"a vector of columns": {"", named{"a_scale_inv": weights.Values(weights.F32, make([]float32, 5), 5)}, "no blocks", gguf.ErrCorrupt},
		"one expert":          {blocks, named{"b_scale_inv": weights.Values(weights.F32, make([]float32, 2), 1, 1, 2)}, "it has others", gguf.ErrCorrupt},
		"too many dimensions": {"", named{"a_scale_inv": weights.Values(weights.F32, make([]float32, 2), 1, 1, 2)}, "it has others", gguf.ErrCorrupt},
		"no scale":            {"", named{"a_scale_inv": weights.Values(weights.F32, nil, 0, 1)}, "there is nothing", gguf.ErrCorrupt},
		"whole scales":        {blocks, named{"a_scale_inv": codes(weights.I8, []int64{2, 3}, 1, 2, 3, 4, 5, 6)}, "I8", gguf.ErrCorrupt},
	} {
		_, err := unpack(t, tt.config, newSet(t, tt.changes))
		require.ErrorIs(t, err, tt.err, name)
		require.ErrorContains(t, err, tt.want, name)
	}
	// Codes and scales that are no numbers are found when they are read.
	for want, changes := range map[string]named{
		`"a": element 1 of row 2 is NaN`:  {"a": codes(weights.F8E4M3, []int64{3, 5}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0)},
		`"a": element 4 of row 1 is NaN`:  {"a": codes(weights.F8E4M3, []int64{3, 5}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0)},
		`"b": element 0 of row 1 is -Inf`: {"b": codes(weights.F8E5M2, []int64{2, 1, 3}, 0, 0, 0, 0xfc, 0x7b, 0xfb)},
		`"b": scale 1 of row 1 is NaN`:    {"b_scale_inv": codes(weights.F8E8M0, []int64{2, 1, 2}, 127, 127, 127, 255)},
		`"b": scale 0 of row 0 is 1.7014`: {"b_scale_inv": codes(weights.F8E8M0, []int64{2, 1, 2}, 254, 127, 127, 127)},
		`"a": scale 2 of row 1 is +Inf`:   {"a_scale_inv": weights.Values(weights.F16, []float32{1, 1, 1, 1, 1, 1e6}, 2, 3)},
	} {
		require.ErrorContains(t, readAll(unpack(t, blocks, newSet(t, changes))), want)
		require.ErrorIs(t, readAll(unpack(t, blocks, newSet(t, changes))), gguf.ErrCorrupt)
	}
	zero := named{"a_scale_inv": weights.Values(weights.F32, []float32{1, 1, 1, 1, 0, 1}, 2, 3)}
	require.NoError(t, readAll(unpack(t, blocks, newSet(t, zero))))
	require.ErrorContains(t, readAll(unpack(t, blocks+`, "weight_scale_semantics": "inverse"`, newSet(t, zero))), `"a": scale 1 of row 1 is 0`)
}

// TestFP8Scales: of all shapes and names.
func TestFP8Scales(t *testing.T) {
	matrix := codes(weights.F8E4M3, []int64{4, 3}, 0x38, 0x40, 0x44, 0x38, 0x40, 0x44, 0x38, 0x40, 0x44, 0xb8, 0xc0, 0xc4) // 1, 2 and 3
	experts := codes(weights.F8E4M3, []int64{2, 2, 3}, 0x38, 0x40, 0x44, 0x38, 0x40, 0x44, 0x38, 0x40, 0x44, 0xb8, 0xc0, 0xc4)
	floats := func(shape []int64, values ...float32) weights.Rows {
		return weights.Values(weights.F32, values, shape...)
	}
	rows := []float32{1, 2, 3, 10, 20, 30, 100, 200, 300, -1000, -2000, -3000}
	all := []float32{3, 6, 9, 3, 6, 9, 3, 6, 9, -3, -6, -9}
	for name, tt := range map[string]struct {
		config       string
		codes        weights.Rows
		scales       string
		values       weights.Rows
		want         []float32
		useless      string
		uselessShape []int64
	}{
		"static":             {`, "activation_scheme": "static"`, matrix, "weight_scale", floats(nil, 3), all, "input_scale", nil},
		"of one element":     {``, matrix, "weight_scale", floats([]int64{1}, 3), all, "k_scale", []int64{1}},
		"of a matrix":        {`, "weight_block_size": null`, matrix, "weight_scale_inv", floats([]int64{1, 1}, 3), all, "activation_scale", []int64{1}},
		"Mistral":            {``, matrix, "qscale_weight", floats(nil, 3), all, "qscale_act", nil},
		"one for experts":    {``, experts, "weight_scale_inv", floats([]int64{1, 1, 1}, 3), all, "weight_activation_scale", []int64{2}},
		"for each row":       {blocks, matrix, "weight_scale", floats([]int64{4, 1}, 1, 10, 100, 1000), rows, "output_scale", []int64{1}},
		"vector":             {``, matrix, "weight_scale", floats([]int64{4}, 1, 10, 100, 1000), rows, "input_scale_ub", []int64{1}},
		"rows of experts":    {``, experts, "weight_scale", floats([]int64{2, 2, 1}, 1, 10, 100, 1000), rows, "input_scale", []int64{2}},
		"for each expert":    {``, experts, "weight_scale", floats([]int64{2}, 1, 10), []float32{1, 2, 3, 1, 2, 3, 10, 20, 30, -10, -20, -30}, "input_scale", []int64{2}},
		"for each column":    {``, experts, "weight_scale", floats([]int64{2, 1, 3}, 1, 2, 3, 4, 5, 6), []float32{1, 4, 9, 1, 4, 9, 4, 10, 18, -4, -10, -18}, "v_scale", nil},
		"exponents, bytes":   {`, "weight_block_size": [1, 2]`, matrix, "scale", codes(weights.U8, []int64{4, 2}, 127, 128, 127, 128, 127, 128, 126, 130), []float32{1, 2, 6, 1, 2, 6, 1, 2, 6, -0.5, -1, -24}, "kv_scale", nil},
		"sizes from shapes":  {``, matrix, "scale", codes(weights.F8E8M0, []int64{2, 3}, 127, 128, 127, 128, 127, 128), []float32{1, 4, 3, 1, 4, 3, 2, 2, 6, -2, -2, -6}, "prob_scale", nil},
		"configured groups":  {`, "config_groups": {"x": {"weights": {"group_size": 2}}}`, matrix, "weight_scale", floats([]int64{4, 2}, 1, 2, 1, 2, 1, 2, 1, 2), []float32{1, 2, 6, 1, 2, 6, 1, 2, 6, -1, -2, -6}, "input_scale", nil},
		"divided by":         {`, "weight_scale_semantics": "inverse"`, matrix, "weight_scale_inv", floats([]int64{4}, 1, 2, 4, 3), []float32{1, 2, 3, 0.5, 1, 1.5, 0.25, 0.5, 0.75, -1. / 3, -2. / 3, -1}, "input_scale", nil},
		"divided by, a pair": {`, "weight_scale_semantics": "inverse"`, matrix, "weight_scale_inv", floats([]int64{2, 1}, 1, 2), []float32{1, 2, 3, 1, 2, 3, 0.5, 1, 1.5, -0.5, -1, -1.5}, "input_scale", nil},
	} {
		var list weights.List
		require.NoError(t, list.Add("m."+tt.scales, tt.values))
		require.NoError(t, list.Add("m.weight", tt.codes))
		require.NoError(t, list.Add("m."+tt.useless, floats(tt.uselessShape, 1, 1)))
		set, err := unpack(t, tt.config, &list)
		require.NoError(t, err, name)
		require.Equal(t, []string{"m.weight"}, set.Names(), name)
		r := set.Get("m.weight")
		require.Equal(t, tt.want, testmodel.Values(t, r), name)
		part := make([]float32, 6)
		require.NoError(t, r.ReadRows(part, 1, 2), name)
		require.Equal(t, tt.want[3:9], part, name)
	}
}

var fp8 = []golden{
	{"float32.v_proj", `"weight_block_size": [128, 128]`, "91b911ba95d8670223a51dc89935e51da4ac07ae92c8243dfbfb8f014f92fc55"},
	{"e8m0.v_proj", `"weight_block_size": [128, 128]`, "45f00a3daa37e75d5c0e305534e7eb416292002c6aab30941f5df6c2c8b92b06"},
	{"float32.o_proj", `"weight_block_size": [128, 128]`, "80ba69237ea3423f141a7a268e01846466875e2beb848a5610a79edb8cd0e9ba"},
}

// TestFP8Values compares with what others read.
func TestFP8Values(t *testing.T) { testGolden(t, "fp8.safetensors", "fp8", fp8) }

func FuzzFP8(f *testing.F) {
	bytesOf := func(dtype weights.Dtype, shape []int64, data ...byte) raw {
		return raw{Dtype: dtype, Shape: shape, Data: data}
	}
	f.Add([]byte(`{"weight_block_size": [1, 2]}`), encode(f, map[string]raw{
		"m.weight": bytesOf(weights.F8E4M3, []int64{2, 3}, 1, 2, 3, 4, 5, 6), "m.weight_scale_inv": bytesOf(weights.U8, []int64{2, 2}, 127, 128, 129, 126),
	}))
	f.Add([]byte(`{"weight_scale_semantics": "inverse"}`), encode(f, map[string]raw{
		"m.weight": bytesOf(weights.F8E5M2, []int64{2, 3}, 1, 2, 3, 4, 5, 6), "m.weight_scale_inv": bytesOf(weights.BF16, []int64{2}, 0, 0x40, 0, 0x41),
		"m.input_scale": bytesOf(weights.BF16, nil, 0, 0x40),
	}))
	f.Add([]byte(`{}`), encode(f, map[string]raw{
		"m": bytesOf(weights.F8E4M3, []int64{2, 1, 3}, 1, 2, 3, 4, 5, 6), "m_scale": bytesOf(weights.F16, []int64{2, 1, 1}, 0, 0x40, 0, 0x41),
	}))
	fuzzModule(f, "fp8.safetensors", fp8[:2])
}
