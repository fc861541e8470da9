package packed_test

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"math/bits"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/packed"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// exl3 has the hashes of what codes stand for, k rows of n in float16.
const exl3Config = `"version": "0.0.11", "bits": 1.5, "head_bits": 6`

var exl3 = []golden{
	{"1bit", exl3Config, "b6c9a774ab78ffed744e43d3e00109745a2c7de3034ad7904968766b6b4f923f"},
	{"2bit", exl3Config, "4de5d97e6f8cb1ca1b83dbf2660e01f8b16eee0eec13722e7821092ff67830c5"},
	{"3bit", exl3Config, "419297fc3e4443a94a801f2758f42847a4a393d10f816368c14ac28025860db0"}, // su and sv
	{"4bit", exl3Config, "5e309a805ee4c0e8d802ab78431e4fdabd5fcc5ed8acf1e8a9bf5a0c6c6b2869"},
	{"5bit", exl3Config, "19e0cb52c73ed142a738914231987e282db94dacba59bde308854878c948f024"},
	{"6bit", exl3Config, "32e6c3704509ec155d7ab3b0500965c67fd20f543df79f3eacd82dd44905aa77"},
	{"7bit", exl3Config, "a4571aac650ecd6b582c4a2c2548cb5f0b876ad2d4ba4aa3fb05b0847208952f"},
	{"8bit", exl3Config, "5b2fccb9ec284fed9f463bf9928fa3366e897f7400b1851099ee18e2ad564e1e"},
	{"2bit-mcg", exl3Config, "288f13a206129c18bcc84121a41481e983ae1c743339c4d308fa32a86d9365c7"},
	{"5bit-mcg", exl3Config, "7355e7854dfa4a4335e01ad57086b5f467ccfb259f01071408a1d805f088242a"},
	{"1bit-mul1", exl3Config, "963898bb161566313b916648ded02a9f5fa074e16c626563aac41a02d526618e"},
	{"3bit-mul1", exl3Config, "4fc2b50ebc23593a91af620aed1fe598a0bd2eb981a9446e9a3770d9fd01a2de"},
}

// TestEXL3 compares with the values that exllamav3's decoder has, to the bit, and with
// what becomes of these in float64.
func TestEXL3(t *testing.T) {
	for _, g := range exl3 {
		t.Run(g.name, func(t *testing.T) {
			tensors := module(t, "exl3.safetensors", g.name)
			decoded, err := packed.DecodedEXL3(open(t, encode(t, tensors)), "m")
			require.NoError(t, err)
			sum := sha256.Sum256(testmodel.Encode(t, weights.F16, decoded))
			require.Equal(t, g.sha256, hex.EncodeToString(sum[:]))

			set, err := unpackModule(t, tensors, `"quant_method": "exl3", `+g.config)
			require.NoError(t, err)
			require.Equal(t, []string{"m.weight"}, set.Names())
			matrix := set.Get("m.weight")
			n, k := weights.Count(matrix.Shape())
			values := testmodel.Values(t, matrix)
			want := transformed(decoded, int(k), int(n))
			for i, v := range want {
				want[i] = v * scale(tensors, "su", i%int(k)) * scale(tensors, "sv", i/int(k))
			}
			worst := 0.0
			for i, v := range values {
				worst = max(worst, math.Abs(float64(v)-want[i]))
			}
			require.Less(t, worst, 1e-6*max(slices.Max(want), -slices.Min(want)))
			for first := int64(1); first < n; first += 13 { // any rows are those of the whole
				some := min(first%7, n-first)
				part := make([]float32, some*k)
				require.NoError(t, matrix.ReadRows(part, first, some))
				require.Equal(t, values[first*k:][:some*k], part)
			}
		})
	}
}

// transformed returns n rows of k: those columns with each block of 128 by 128 multiplied
// by Hadamard matrices from both sides.
func transformed(decoded []float32, k, n int) []float64 {
	sign := func(i, j int) float64 { return float64(1 - 2*(bits.OnesCount(uint(i%128&j))&1)) }
	half, all := make([]float64, k*n), make([]float64, k*n)
	for i := range k {
		for row := range n {
			for j := range 128 {
				half[row*k+i] += sign(row, j) * float64(decoded[i*n+row&^127+j])
			}
		}
	}
	for row := range n {
		for i := range k {
			for j := range 128 {
				all[row*k+i] += sign(i, j) * half[row*k+i&^127+j] / 128
			}
		}
	}
	return all
}

// scale returns number i of the scales, or of the signs, of a matrix.
func scale(tensors map[string]raw, name string, i int) float64 {
	if r, ok := tensors["m."+name]; ok {
		return float64(1 - 2*int(r.Data[i/8]>>(i%8)&1))
	}
	var f [1]float32
	weights.F16.Float32(f[:], tensors["m."+name+"h"].Data[2*i:][:2])
	return float64(f[0])
}

// TestEXL3Padded: a model takes what it knows of a matrix and its bias.
func TestEXL3Padded(t *testing.T) {
	tensors := module(t, "exl3.safetensors", "4bit")
	tensors["m.bias"] = raw{Dtype: weights.F16, Shape: []int64{128}, Data: make([]byte, 256)}
	set, err := unpackModule(t, tensors, ``)
	require.NoError(t, err)
	require.Equal(t, []int64{100, 200}, weights.Unpad(set.Get("m.weight"), []int64{100, 200}).Shape())
	require.Equal(t, []int64{100}, weights.Unpad(set.Get("m.bias"), []int64{100}).Shape())
	require.Equal(t, []int64{128, 256}, weights.Unpad(set.Get("m.weight"), []int64{100, 128}).Shape(), "that would be 128 too many")
}

func TestEXL3Refused(t *testing.T) {
	for name, tt := range map[string]struct {
		module string
		change func(m map[string]raw)
		want   string
		err    error
	}{
		"no scales":    {"2bit", func(m map[string]raw) { delete(m, "m.suh") }, `"m.su" is missing`, gguf.ErrCorrupt},
		"no signs":     {"3bit", func(m map[string]raw) { delete(m, "m.sv") }, `"m.sv" is missing`, gguf.ErrCorrupt},
		"few scales":   {"2bit", func(m map[string]raw) { m["m.svh"] = reshaped(m["m.svh"], 2, 64) }, `"m.svh" has type F16 and shape [2 64]`, gguf.ErrCorrupt},
		"other signs":  {"3bit", func(m map[string]raw) { r := m["m.su"]; r.Dtype = weights.F16; m["m.su"] = r }, `"m.su" has type F16`, gguf.ErrCorrupt},
		"no number":    {"2bit", func(m map[string]raw) { m["m.suh"] = poked(m["m.suh"], 6, 0, 0x7c) }, `"m.suh": scale 3 is +Inf`, gguf.ErrCorrupt},
		"a matrix":     {"2bit", func(m map[string]raw) { m["m.trellis"] = reshaped(m["m.trellis"], 64, 32) }, "no matrix of EXL3", gguf.ErrCorrupt},
		"half a block": {"2bit", func(m map[string]raw) { m["m.trellis"] = reshaped(m["m.trellis"], 16, 4, 32) }, "no matrix of EXL3", gguf.ErrCorrupt},
		"9 bits": {"8bit", func(m map[string]raw) {
			m["m.trellis"] = raw{Dtype: weights.I16, Shape: []int64{8, 8, 144}, Data: make([]byte, 18432)}
		}, "[8 8 144]", gguf.ErrCorrupt},
		"half a bit":     {"2bit", func(m map[string]raw) { m["m.trellis"] = reshaped(m["m.trellis"], 32, 8, 8) }, "[32 8 8]", gguf.ErrCorrupt},
		"nothing":        {"2bit", func(m map[string]raw) { m["m.trellis"] = raw{Dtype: weights.I16, Shape: []int64{0, 8, 32}} }, "[0 8 32]", gguf.ErrCorrupt},
		"other words":    {"2bit", func(m map[string]raw) { r := m["m.trellis"]; r.Dtype = weights.F16; m["m.trellis"] = r }, "F16", gguf.ErrCorrupt},
		"two codebooks":  {"2bit-mcg", func(m map[string]raw) { m["m.mul1"] = poked(m["m.mcg"], 0, 0x2d, 0xd1, 0xdc, 0x83) }, "two codebooks", gguf.ErrCorrupt},
		"a new codebook": {"2bit-mcg", func(m map[string]raw) { m["m.mcg"] = poked(m["m.mcg"], 0, 1) }, `"m.mcg" is 0xcbac1f01`, gguf.ErrUnsupported},
		"no multiplier":  {"2bit-mcg", func(m map[string]raw) { m["m.mcg"] = reshaped(m["m.suh"], 128) }, `"m.mcg"`, gguf.ErrCorrupt},
	} {
		tensors := module(t, "exl3.safetensors", tt.module)
		tt.change(tensors)
		err := readAll(unpackModule(t, tensors, ``))
		require.ErrorIs(t, err, tt.err, name)
		require.ErrorContains(t, err, tt.want, name)
	}
}

func FuzzEXL3(f *testing.F) { fuzzModule(f, "exl3.safetensors", exl3[:3]) }
