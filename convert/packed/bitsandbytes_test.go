package packed_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

var bitsAndBytes = []golden{
	{"bnb-fp4/k_proj", `"load_in_4bit": true, "bnb_4bit_quant_type": "fp4"`, "f81bbf1f7a080bd9fc373e5efb70e1ea84c2839ba9ddf535fc16c8a3263582fe"},
	{"bnb-nf4-b128/k_proj", `"load_in_4bit": true`, "a96c557306b625265a6ca1f7be297846e15d51f07ba357c76316d68f928319e0"},
	{"bnb-moe-nf4/gate", `"load_in_4bit": true`, "5f231ad6c810fc4f831802bee43c1fbb24a553e89c48cf4b60042708e8a6c7dd"},
	{"bnb-moe1-nf4-double/gate", `"load_in_4bit": true`, "ae3c77efc68d5abd4a0ea3b28a216b79bc932cab0e26364b316ac066f284d869"},
	{"bnb-nf4-double-bf16storage/k_proj", `"load_in_4bit": true`, "5166941fa39ce2a915a513a478fad86bda9a06ebaed268ebb9970c7885d90c54"},
	{"bnb-int8/k_proj", `"load_in_8bit": true`, "fdf8b2cde8e23afd68368ab2b905990c1b3b6d1463ffef844edc0380bc4bf757"},
}

// TestBitsAndBytes compares with the values that bitsandbytes has.
func TestBitsAndBytes(t *testing.T) {
	testGolden(t, "bitsandbytes.safetensors", "bitsandbytes", bitsAndBytes)
}

// TestBitsAndBytesNames: GPTQModel writes the same tensors under names without dots.
func TestBitsAndBytesNames(t *testing.T) {
	for _, g := range bitsAndBytes {
		tensors := make(map[string]raw)
		for name, r := range module(t, "bitsandbytes.safetensors", g.name) {
			name = strings.NewReplacer(".weight.quant_state.bitsandbytes__nf4", ".weight_quant_state", ".weight.quant_state.bitsandbytes__fp4", ".weight_quant_state",
				".weight.", ".weight_", ".SCB", ".weight_scb").Replace(name)
			if name != "m.weight_format" {
				tensors[name] = r
			}
		}
		set, err := unpackModule(t, tensors, `"quant_method": "bitsandbytes"`)
		require.NoError(t, err, g.name)
		require.Equal(t, []string{"m.weight"}, set.Names())
		require.Equal(t, g.sha256, hash(t, testmodel.Values(t, set.Get("m.weight"))), g.name)
	}
}

// TestBitsAndBytesBlocks: blocks do not end where rows do, the last may be a part of one,
// and rows may begin in the middle of a byte.
func TestBitsAndBytesBlocks(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	floats := func(n int64) raw {
		r := raw{Dtype: weights.F32, Shape: []int64{n}}
		for range n {
			r.Data = binary.LittleEndian.AppendUint32(r.Data, math.Float32bits(random.Float32()-0.5))
		}
		return r
	}
	at := func(r raw, i int64) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(r.Data[4*i:])) }
	for _, tt := range []struct {
		shape             []int64
		blockSize, nested int64
		storage           weights.Dtype
	}{
		{[]int64{3, 5}, 4, 0, weights.U8}, {[]int64{7, 9}, 5, 3, weights.U8}, {[]int64{2, 3, 7}, 64, 0, weights.U8},
		{[]int64{5, 16}, 6, 2, weights.BF16}, {[]int64{4, 3, 10}, 7, 4, weights.F32}, {[]int64{3, 70000}, 64, 256, weights.U8},
		{[]int64{2, 100001}, 32768, 2, weights.I8}, {[]int64{1, 40000}, 100000, 0, weights.F16},
	} {
		rows, length := weights.Count(tt.shape)
		n := rows * length
		blocks := (n-1)/tt.blockSize + 1
		size := int64(tt.storage.Size())
		codes := raw{Dtype: tt.storage, Shape: []int64{(n + 1) / 2 / size, 1}, Data: make([]byte, (n+1)/2)}
		for i := range codes.Data {
			codes.Data[i] = byte(random.Uint32())
		}
		state := fmt.Sprintf(`{"quant_type": "nf4", "blocksize": %d, "dtype": "float32", "shape": %s`, tt.blockSize, strings.ReplaceAll(fmt.Sprint(tt.shape), " ", ", "))
		absmax := floats(blocks)
		scale := func(block int64) float32 { return at(absmax, block) }
		table := floats(16)
		tensors := map[string]raw{"e.experts.w": codes, "e.experts.w.absmax": absmax, "e.experts.w.quant_map": table}
		if tt.nested > 0 {
			state += fmt.Sprintf(`, "nested_blocksize": %d, "nested_dtype": "float32", "nested_offset": 0.25`, tt.nested)
			nestedMap, nestedAbsmax := floats(256), floats((blocks-1)/tt.nested+1)
			absmax = raw{Dtype: weights.U8, Shape: []int64{blocks}, Data: make([]byte, blocks)}
			for i := range absmax.Data {
				absmax.Data[i] = byte(random.Uint32())
			}
			scale = func(block int64) float32 {
				product := at(nestedMap, int64(absmax.Data[block])) * at(nestedAbsmax, block/tt.nested)
				return float32(product) + 0.25
			}
			tensors["e.experts.w.absmax"], tensors["e.experts.w.nested_quant_map"], tensors["e.experts.w.nested_absmax"] = absmax, nestedMap, nestedAbsmax
		}
		state += "}"
		tensors["e.experts.w.quant_state.bitsandbytes__nf4"] = raw{Dtype: weights.U8, Shape: []int64{int64(len(state))}, Data: []byte(state)}
		want := make([]float32, n)
		for i := range n {
			want[i] = at(table, int64(codes.Data[i/2]>>(4-i%2*4)&15)) * scale(i/tt.blockSize)
		}
		set, err := unpackModule(t, tensors, ``)
		require.NoError(t, err)
		matrix := set.Get("e.experts.w")
		require.Equal(t, tt.shape, matrix.Shape())
		require.Equal(t, want, testmodel.Values(t, matrix))
		for first := range rows {
			part := make([]float32, min(2, rows-first)*length)
			require.NoError(t, matrix.ReadRows(part, first, min(2, rows-first)))
			require.Equal(t, want[first*length:][:len(part)], part)
		}
	}
}

func TestBitsAndBytesRefused(t *testing.T) {
	const (
		double, fp4 = "bnb-nf4-double-bf16storage/k_proj", "bnb-fp4/k_proj"
		rows        = "bnb-int8/k_proj"
		state       = "m.weight.quant_state.bitsandbytes__fp4"
	)
	says := func(text string) func(m map[string]raw) {
		return func(m map[string]raw) {
			m[state] = raw{Dtype: weights.U8, Shape: []int64{int64(len(text))}, Data: []byte(text)}
		}
	}
	without := func(name string) func(m map[string]raw) { return func(m map[string]raw) { delete(m, name) } }
	shaped := func(name string, shape ...int64) func(m map[string]raw) {
		return func(m map[string]raw) { m[name] = reshaped(m[name], shape...) }
	}
	inf := []byte{0, 0, 0x80, 0x7f}
	for name, tt := range map[string]struct {
		module string
		change func(m map[string]raw)
		want   string
		err    error
	}{
		"no state":          {fp4, without(state), `"m.weight.quant_state.bitsandbytes__nf4" is missing`, gguf.ErrCorrupt},
		"no codes":          {fp4, without("m.weight"), `"m.weight" is missing`, gguf.ErrCorrupt},
		"no absmax":         {fp4, without("m.weight.absmax"), `"m.weight.absmax" is missing`, gguf.ErrCorrupt},
		"no map":            {fp4, without("m.weight.quant_map"), `"m.weight.quant_map" is missing`, gguf.ErrCorrupt},
		"no nested absmax":  {double, without("m.weight.nested_absmax"), `"m.weight.nested_absmax" is missing`, gguf.ErrCorrupt},
		"no nested map":     {double, without("m.weight.nested_quant_map"), `"m.weight.nested_quant_map" is missing`, gguf.ErrCorrupt},
		"both states":       {fp4, func(m map[string]raw) { m["m.weight.quant_state.bitsandbytes__nf4"] = m[state] }, "twice", gguf.ErrCorrupt},
		"no JSON":           {fp4, says("{"), state, gguf.ErrCorrupt},
		"no shape":          {fp4, says(`{"quant_type": "fp4", "blocksize": 64}`), state, gguf.ErrCorrupt},
		"no blocks":         {fp4, says(`{"quant_type": "fp4", "blocksize": 0, "shape": [64, 256]}`), state, gguf.ErrCorrupt},
		"another type":      {fp4, says(`{"quant_type": "af4", "blocksize": 64, "shape": [64, 256]}`), "af4", gguf.ErrUnsupported},
		"a larger shape":    {fp4, says(`{"quant_type": "fp4", "blocksize": 64, "shape": [64, 257]}`), "[64 257]", gguf.ErrCorrupt},
		"a huge shape":      {fp4, says(`{"quant_type": "fp4", "blocksize": 64, "shape": [4611686018427387904, 4]}`), "m.weight", gguf.ErrCorrupt},
		"an empty shape":    {fp4, says(`{"quant_type": "fp4", "blocksize": 64, "shape": [0, 256]}`), "[0 256]", gguf.ErrCorrupt},
		"a smaller shape":   {fp4, says(`{"quant_type": "fp4", "blocksize": 64, "shape": [64, 255]}`), "[64 255]", gguf.ErrCorrupt},
		"other blocks":      {fp4, says(`{"quant_type": "fp4", "blocksize": 128, "shape": [64, 256]}`), "128 blocks", gguf.ErrCorrupt},
		"an endless offset": {fp4, says(`{"quant_type": "fp4", "blocksize": 64, "shape": [64, 256], "nested_offset": NaN}`), "NaN", gguf.ErrCorrupt},
		"long state":        {fp4, says(strings.Repeat(" ", 5000)), "no text", gguf.ErrCorrupt},
		"a map of 32": {fp4, func(m map[string]raw) {
			m["m.weight.quant_map"] = raw{Dtype: weights.F32, Shape: []int64{32}, Data: make([]byte, 128)}
		}, "quant_map", gguf.ErrCorrupt},
		"a map of Inf": {fp4, func(m map[string]raw) { m["m.weight.quant_map"] = poked(m["m.weight.quant_map"], 0, inf...) }, "element 0 is +Inf", gguf.ErrCorrupt},
		"no number":    {fp4, func(m map[string]raw) { m["m.weight.absmax"] = poked(m["m.weight.absmax"], 8, inf...) }, "absmax of block 2 is +Inf", gguf.ErrCorrupt},
		"whole absmax": {fp4, func(m map[string]raw) { r := m["m.weight.absmax"]; r.Dtype = weights.I32; m["m.weight.absmax"] = r }, "I32", gguf.ErrCorrupt},

		"int8, no scales":         {rows, without("m.SCB"), `"m.SCB" is missing`, gguf.ErrCorrupt},
		"int8, no codes":          {rows, without("m.weight"), `"m.SCB" has the scales`, gguf.ErrCorrupt},
		"int8, other scales":      {rows, shaped("m.weight", 32, 512), "[32 512]", gguf.ErrCorrupt},
		"int8, tiles":             {rows, func(m map[string]raw) { m["m.weight_format"] = poked(m["m.weight_format"], 0, 1) }, "m.weight_format", gguf.ErrUnsupported},
		"int8, formats":           {rows, func(m map[string]raw) { m["m.weight_format"] = m["m.SCB"] }, "m.weight_format", gguf.ErrCorrupt},
		"int8, an infinite scale": {rows, func(m map[string]raw) { m["m.SCB"] = poked(m["m.SCB"], 4, inf...) }, "row 1 is +Inf", gguf.ErrCorrupt},
	} {
		tensors := module(t, "bitsandbytes.safetensors", tt.module)
		tt.change(tensors)
		err := readAll(unpackModule(t, tensors, ``))
		require.ErrorIs(t, err, tt.err, name)
		require.ErrorContains(t, err, tt.want, name)
	}
}

func FuzzBitsAndBytes(f *testing.F) { fuzzModule(f, "bitsandbytes.safetensors", bitsAndBytes) }
