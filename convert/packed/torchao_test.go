package packed_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/packed"
	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

var torchao = []golden{
	{"torchao-fp8-wo/k_proj", `"modules_to_not_convert": ["lm_head"]`, "584e6389e23e6aa55ef430136a1463cf8d4299c93414403d2cfd872bd54ca1d0"},
	{"torchao-int8-wo/k_proj", `"modules_to_not_convert": ["lm_head"]`, "9bc697b1e15bedc22920830e591da738b2e2b5db7a0c8c29e62c121a3e607688"},
	{"torchao-intx4-g32/k_proj", `"modules_to_not_convert": ["lm_head"]`, "847c36d9f615fac8e676d36346e649f029edf012a0d8e7d659926f8cad7595d5"},
}

// TestTorchAO compares with the values that torchao has, with the files' metadata and
// without.
func TestTorchAO(t *testing.T) {
	testGolden(t, "torchao.safetensors", "torchao", torchao)
	f, err := safetensors.Open("testdata/torchao.safetensors")
	require.NoError(t, err)
	defer f.Close()
	set, err := packed.Unpack(f, nil)
	require.NoError(t, err)
	for i, layout := range []string{"float8 per row", "int8 per row", "int4 g32"} {
		name := torchao[i].name + ".weight"
		require.Equal(t, torchao[i].sha256, hash(t, testmodel.Values(t, set.Get(name))))
		packing, ok := set.(*packed.Set).Packing(name)
		require.True(t, ok)
		require.Equal(t, "torchao "+layout, packing.String())
	}
}

// TestTorchAONames: version 0.14 had other names.
func TestTorchAONames(t *testing.T) {
	tensors := map[string]raw{"norm.weight:_data": {Dtype: weights.BF16, Shape: []int64{1}, Data: []byte{0x80, 0x3f}}}
	for name, r := range module(t, "torchao.safetensors", torchao[0].name) {
		tensors[strings.Replace(name, "._weight_", ".weight:", 1)] = r
	}
	set, err := unpackModule(t, tensors, `"quant_method": "torchao"`)
	require.NoError(t, err)
	require.Equal(t, []string{"m.weight", "norm.weight"}, set.Names())
	require.Equal(t, torchao[0].sha256, hash(t, testmodel.Values(t, set.Get("m.weight"))))
	require.Equal(t, []float32{1}, testmodel.Values(t, set.Get("norm.weight")))
}

// annotate returns a safetensors file with metadata.
func annotate(t testing.TB, file []byte, metadata map[string]string) []byte {
	n := binary.LittleEndian.Uint64(file)
	text, err := json.Marshal(metadata)
	require.NoError(t, err)
	header := `{"__metadata__":` + string(text) + "," + string(file[8+1:8+n])
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), file[8+n:]...)
}

// TestTorchAOBlocks: scales are for rows, groups, blocks, matrices or all.
func TestTorchAOBlocks(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for _, tt := range []struct{ shape, blocks, scales []int64 }{
		{[]int64{4, 6}, []int64{1, 6}, []int64{4, 1}},
		{[]int64{4, 6}, []int64{1, 3}, []int64{4, 2}},
		{[]int64{4, 6}, []int64{2, 3}, []int64{2, 2}},
		{[]int64{4, 6}, []int64{4, 6}, []int64{1, 1}},
		{[]int64{4, 6}, []int64{}, []int64{}},
		{[]int64{3, 4, 6}, []int64{1, 1, 6}, []int64{3, 4, 1}},
		{[]int64{3, 4, 6}, []int64{1, 4, 6}, []int64{3, 1, 1}},
	} {
		for _, zero := range []weights.Dtype{"", weights.I8, weights.BF16} {
			n, count := testmodel.Elements(tt.shape), testmodel.Elements(tt.scales)
			codes, scales, zeros := make([]byte, n), make([]float32, count), make([]float32, count)
			for i := range codes {
				codes[i] = byte(random.Uint32())
			}
			for i := range scales {
				scales[i] = random.Float32()
				if zero != "" {
					zeros[i] = float32(random.IntN(20) - 10)
				}
			}
			grid := make([]int64, len(tt.shape)) // of scales, in all dimensions
			for d := range grid {
				grid[d] = 1
				if len(tt.blocks) > 0 {
					grid[d] = tt.shape[d] / tt.blocks[d]
				}
			}
			want := make([]float32, n)
			for i := range want {
				at, rest, unit := int64(0), int64(i), int64(1)
				for d := len(grid) - 1; d >= 0; d-- {
					at, unit = at+rest%tt.shape[d]*grid[d]/tt.shape[d]*unit, unit*grid[d]
					rest /= tt.shape[d]
				}
				want[i] = (float32(int8(codes[i])) - zeros[at]) * scales[at]
			}
			tensors := map[string]raw{
				"experts._gate_up_proj_qdata": {Dtype: weights.I8, Shape: tt.shape, Data: codes},
				"experts._gate_up_proj_scale": {Dtype: weights.F32, Shape: tt.scales, Data: testmodel.Encode(t, weights.F32, scales)},
			}
			switch zero {
			case weights.I8:
				z := raw{Dtype: weights.I8, Shape: tt.scales}
				for _, v := range zeros {
					z.Data = append(z.Data, byte(int8(v)))
				}
				tensors["experts._gate_up_proj_zero_point"] = z
			case weights.BF16:
				tensors["experts._gate_up_proj_zero_point"] = raw{Dtype: zero, Shape: tt.scales, Data: testmodel.Encode(t, zero, zeros)}
			}
			name := fmt.Sprint(tt, zero)
			blocks, err := json.Marshal(tt.blocks)
			require.NoError(t, err)
			file := annotate(t, encode(t, tensors), map[string]string{
				"experts.gate_up_proj": `{"_type": "IntxUnpackedToInt8Tensor", "_data": {"block_size": ` + string(blocks) + `}}`,
			})
			set, err := packed.Unpack(open(t, file), nil)
			require.NoError(t, err, name)
			require.Equal(t, []string{"experts.gate_up_proj"}, set.Names())
			require.Equal(t, want, testmodel.Values(t, set.Get("experts.gate_up_proj")), name)
		}
	}
}

func TestTorchAORefused(t *testing.T) {
	without := func(name string) func(m map[string]raw) { return func(m map[string]raw) { delete(m, name) } }
	const qdata, scale = "m._weight_qdata", "m._weight_scale"
	for name, tt := range map[string]struct {
		note   string
		change func(m map[string]raw)
		want   string
		err    error
	}{
		"no scales":      {``, without(scale), `"m._weight_scale" is missing`, gguf.ErrCorrupt},
		"another class":  {`{"_type": "Int4TilePackedTo4dTensor"}`, nil, "Int4TilePackedTo4dTensor", gguf.ErrUnsupported},
		"a float's":      {`{"_type": "Float8Tensor"}`, nil, "Float8Tensor", gguf.ErrUnsupported},
		"other codes":    {``, func(m map[string]raw) { r := m[qdata]; r.Dtype = weights.U8; m[qdata] = r }, "U8", gguf.ErrUnsupported},
		"no JSON":        {`{`, nil, `metadata of tensor "m.weight"`, gguf.ErrCorrupt},
		"another block":  {`{"_type": "Int8Tensor", "_data": {"block_size": [1, 128]}}`, nil, "[1 128]", gguf.ErrCorrupt},
		"other scales":   {``, func(m map[string]raw) { m[scale] = reshaped(m[scale], 1, 8, 8) }, "[1 8 8]", gguf.ErrCorrupt},
		"whole scales":   {``, func(m map[string]raw) { r := m[scale]; r.Dtype = weights.I32; m[scale] = r }, "I32", gguf.ErrCorrupt},
		"activations":    {``, func(m map[string]raw) { m["m._weight_act_pre_scale"] = m[scale] }, "activations", gguf.ErrUnsupported},
		"no number":      {``, func(m map[string]raw) { m[scale] = poked(m[scale], 0, 0, 0, 0xc0, 0x7f) }, "scale 0 of row 0 is NaN", gguf.ErrCorrupt},
		"another method": {``, func(map[string]raw) {}, `says "fp8"`, gguf.ErrCorrupt},
	} {
		tensors := module(t, "torchao.safetensors", "torchao-int8-wo/k_proj")
		if tt.change != nil {
			tt.change(tensors)
		}
		method := "torchao"
		if name == "another method" {
			method = "fp8"
		}
		config, err := packed.ReadConfig(files.Directory(""), []byte(`{"quantization_config": {"quant_method": "`+method+`"}}`))
		require.NoError(t, err)
		err = readAll(packed.Unpack(open(t, annotate(t, encode(t, tensors), map[string]string{"m.weight": tt.note})), config))
		require.ErrorIs(t, err, tt.err, name)
		require.ErrorContains(t, err, tt.want, name)
	}
}

func FuzzTorchAO(f *testing.F) {
	file := encode(f, module(f, "torchao.safetensors", "torchao-int8-wo/k_proj"))
	f.Add([]byte(`{}`), annotate(f, file, map[string]string{"m.weight": `{"_type": "Int8Tensor", "_data": {"block_size": [1, 256]}}`}))
	fuzzModule(f, "torchao.safetensors", torchao)
}
