package packed_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

const hqqConfig = `"skip_modules": ["lm_head"]`

var hqq = []golden{
	{"hqq-3bit-64g/k_proj", hqqConfig, "0d4f992d56d221f7a500c262ed0861915d4f9e4516cded906677bd50fa7a4e09"},
	{"hqq-4bit-64g/k_proj", hqqConfig, "dbc4f8747bc7c258355e95b3aa0c936a77985a9ae6a82af5a5bb47a80192e339"},
	{"hqq-8bit-64g/k_proj", hqqConfig, "bb8cfe616064ee499e55cf1d06daff75ff368c21117cee3fbddb70086f291f1e"},
	{"4bit-axis0", hqqConfig, "2141acc7f8e6b504925706bb26499ebf194c6044cb6e4ecf7d909067dc980d81"},
	{"3bit-axis0", hqqConfig, "9cd46e87605e130decf5f16acbff014c8c39eb0057d81c816b100a59011189b5"},
	{"2bit-axis0", hqqConfig, "350abf13d81970be497615292ab578fe30bff34beb8e2d5b8e20b878635a658d"},
	{"1bit-axis0", hqqConfig, "e5a7703fcf79332de2fc4febc8ee592cefd7240f870769a6e522ceb98eb5debb"},
	{"2bit-axis1", hqqConfig, "549865171108a47ab42d9a6942a666f288bc5f493007c1fe35d8c393b5474026"},
	{"1bit-axis1", hqqConfig, "57ca13cee9dd042ee531365d52f08bafc2c9738bd61f5afe6dac80c86015c6a1"},
	{"4bit-axis1-view", hqqConfig, "e32ecd0bce6a915fc80378a6de88ed15231fcdcc1c138064d7b6e21a8fb1060e"},
}

// TestHQQ compares with the formula on codes that hqq packed.
func TestHQQ(t *testing.T) { testGolden(t, "hqq.safetensors", "hqq", hqq) }

// packHQQ packs rows of so many columns as hqq's BitPack does.
func packHQQ(codes []byte, columns, bits int64) raw {
	rows := int64(len(codes)) / columns
	if bits != 3 {
		step := rows * bits / 8
		r := raw{Dtype: weights.U8, Shape: []int64{step, columns}, Data: make([]byte, step*columns)}
		for i, c := range codes {
			row, place := int64(i)/columns%step, int64(i)/columns/step
			r.Data[row*columns+int64(i)%columns] |= c << (8 - bits*(place+1))
		}
		return r
	}
	step := (rows + 9) / 10
	words := make([]uint32, step*columns)
	for i, c := range codes {
		row, place := int64(i)/columns%step, int64(i)/columns/step
		words[row*columns+int64(i)%columns] |= uint32(c) << (27 - 3*place)
	}
	r := raw{Dtype: weights.I32, Shape: []int64{step, columns}}
	for _, w := range words {
		r.Data = binary.LittleEndian.AppendUint32(r.Data, w)
	}
	return r
}

// TestHQQLayouts: all widths, groups that are rows or columns or all of the matrix, and
// words that are typed as floats.
func TestHQQLayouts(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, bits := range []int64{8, 4, 3, 2, 1} {
		for _, tt := range []struct{ n, k, groupSize, axis int64 }{
			{16, 24, 8, 1}, {16, 24, 48, 1}, {16, 24, 24, 1}, {16, 24, 384, 1}, {16, 24, 16, 0}, {16, 24, 32, 0}, {16, 24, 384, 0}, {32, 2048, 64, 1}, {32, 2048, 64, 0},
		} {
			for _, view := range []weights.Dtype{"", weights.BF16} {
				elements := tt.n * tt.k
				groups := elements / tt.groupSize
				codes, scales, zeros := make([]byte, elements), make([]float32, groups), make([]float32, groups)
				for i := range codes {
					codes[i] = byte(random.IntN(1 << bits))
				}
				for i := range scales {
					scales[i], zeros[i] = random.Float32(), 3*random.Float32()
				}
				weights.F16.Round(scales)
				weights.F16.Round(zeros)
				want := make([]float32, elements)
				groupsShape, columns := []int64{groups, 1}, tt.groupSize
				if tt.axis == 0 {
					groupsShape, columns = []int64{1, groups}, groups
				}
				if groups == 1 { // channel_wise false
					groupsShape, columns = []int64{}, tt.k
				}
				for i, c := range codes {
					group := int64(i) / tt.groupSize
					if tt.axis == 0 {
						group = int64(i) % groups
					}
					want[i] = (float32(c) - zeros[group]) * scales[group]
				}
				packed := packHQQ(codes, columns, bits)
				if view != "" {
					packed.Dtype = view
					packed.Shape = []int64{int64(len(packed.Data)) / 2, 1}
				}
				tensors := map[string]raw{
					"m.W_q":        packed,
					"m.scale":      {Dtype: weights.F16, Shape: groupsShape, Data: testmodel.Encode(t, weights.F16, scales)},
					"m.zero":       {Dtype: weights.F16, Shape: groupsShape, Data: testmodel.Encode(t, weights.F16, zeros)},
					"m.shape":      {Dtype: weights.I64, Shape: []int64{2}, Data: binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(tt.n)), uint64(tt.k))},
					"m.nbits":      number(bits),
					"m.axis":       number(tt.axis),
					"m.group_size": number(tt.groupSize),
				}
				if view == "" { // what the sizes tell
					delete(tensors, "m.nbits")
					delete(tensors, "m.axis")
				}
				set, err := unpackModule(t, tensors, `"quant_method": "hqq"`)
				name := fmt.Sprint(bits, tt, view)
				require.NoError(t, err, name)
				require.Equal(t, []string{"m.weight"}, set.Names())
				require.Equal(t, want, testmodel.Values(t, set.Get("m.weight")), name)
				part := make([]float32, 2*tt.k)
				require.NoError(t, set.Get("m.weight").ReadRows(part, 7, 2))
				require.Equal(t, want[7*tt.k:][:2*tt.k], part, name)
			}
		}
	}
}

// number is a tensor of one.
func number(v int64) raw {
	return raw{Dtype: weights.I32, Shape: []int64{}, Data: binary.LittleEndian.AppendUint32(nil, uint32(v))}
}

func TestHQQRefused(t *testing.T) {
	without := func(name string) func(m map[string]raw) { return func(m map[string]raw) { delete(m, name) } }
	poke := func(name string, at int, data ...byte) func(m map[string]raw) {
		return func(m map[string]raw) { m[name] = poked(m[name], at, data...) }
	}
	for name, tt := range map[string]struct {
		change func(m map[string]raw)
		want   string
		err    error
	}{
		"no scales":        {without("m.scale"), `"m.scale" is missing`, gguf.ErrCorrupt},
		"no zero points":   {without("m.zero"), `"m.zero" is missing`, gguf.ErrCorrupt},
		"no shape":         {without("m.shape"), `"m.shape" is missing`, gguf.ErrCorrupt},
		"a huge shape":     {poke("m.shape", 6, 1), "m.W_q", gguf.ErrCorrupt},
		"a negative shape": {poke("m.shape", 7, 0x80), "m.W_q", gguf.ErrCorrupt},
		"a larger shape":   {poke("m.shape", 0, 128), "256 groups of 128 elements", gguf.ErrCorrupt},
		"an odd shape":     {func(m map[string]raw) { m["m.shape"] = reshaped(m["m.shape"], 1, 2) }, "[1 2]", gguf.ErrCorrupt},
		"other bits":       {poke("m.nbits", 0, 8), "codes of 8 bits", gguf.ErrCorrupt},
		"no bits":          {poke("m.nbits", 0, 7), "codes of 7 bits", gguf.ErrCorrupt},
		"another axis":     {poke("m.axis", 0, 0), "axis 0", gguf.ErrCorrupt},
		"another size":     {poke("m.group_size", 0, 32), "group_size is 32", gguf.ErrCorrupt},
		"two axes":         {func(m map[string]raw) { m["m.axis"] = m["m.shape"] }, `"m.axis" of shape [2]`, gguf.ErrCorrupt},
		"other groups":     {func(m map[string]raw) { m["m.scale"] = reshaped(m["m.scale"], 128, 2) }, "[128 2]", gguf.ErrCorrupt},
		"whole scales":     {func(m map[string]raw) { r := m["m.scale"]; r.Dtype = weights.I16; m["m.scale"] = r }, "I16", gguf.ErrCorrupt},
		"no number":        {poke("m.scale", 2, 0, 0x7e), "group 1 has a scale of NaN", gguf.ErrCorrupt},
		"no zero":          {poke("m.zero", 2, 0, 0x7c), "group 1 has", gguf.ErrCorrupt},
	} {
		tensors := module(t, "hqq.safetensors", "hqq-4bit-64g/k_proj")
		tt.change(tensors)
		err := readAll(unpackModule(t, tensors, ``))
		require.ErrorIs(t, err, tt.err, name)
		require.ErrorContains(t, err, tt.want, name)
	}
}

func FuzzHQQ(f *testing.F) { fuzzModule(f, "hqq.safetensors", hqq) }
