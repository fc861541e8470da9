package packed_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

const exl2Config = `"version": "0.2.7", "bits": 3.5, "head_bits": 6`

var exl2 = []golden{
	{"head", exl2Config, "fa21c011012d9c5d2515c6289860d683eb83f8f7e978d2a590ed89899aaa1312"},
	{"v_proj", exl2Config, "2ac4f0902fea7b8e0089386aa7e190b5c99c83e1d698257d64bafdaff4d81f5d"},
	{"w1", exl2Config, "1a3015bd7cc162ab61b9853c803be83a52461cee7d8c4d5d95010021215c2dc7"},
	{"w1-6bit", exl2Config, "3a7e1ef4c7aaf592cc29f8a95f1048f202c9dcfe5664c15a5a8ce02c306dbf36"},
	{"w2", exl2Config, "f194f4d7d3e955e8c3f783f460705f99ee015a79458543c19c76815516bcbc3c"},
	{"w2-2bit", exl2Config, "ec90ac896ca385558e967f912eec65167724571bc221b2a5326b09ca90832a07"},
}

// TestEXL2 compares with the values that exllamav2 has.
func TestEXL2(t *testing.T) { testGolden(t, "exl2.safetensors", "exl2", exl2) }

// TestEXL2LastGroup: the last group may have any number of elements, and an order that can
// be computed is of no use.
func TestEXL2LastGroup(t *testing.T) {
	whole, err := unpackModule(t, module(t, "exl2.safetensors", "v_proj"), ``)
	require.NoError(t, err)
	const k, short = 256, 250 // not whole words of 3 bits
	values := testmodel.Values(t, whole.Get("m.weight"))

	tensors := module(t, "exl2.safetensors", "v_proj")
	var places []byte
	var kept []int
	for i := range k {
		place := tensors["m.q_invperm"].Data[4*i:][:4]
		if binary.LittleEndian.Uint32(place) < short {
			places, kept = append(places, place...), append(kept, i)
		}
	}
	tensors["m.q_invperm"] = raw{Dtype: weights.I32, Shape: []int64{short}, Data: places}
	tensors["m.q_perm"] = tensors["m.q_invperm"]
	set, err := unpackModule(t, tensors, ``)
	require.NoError(t, err)
	require.Equal(t, []string{"m.weight"}, set.Names())
	var want []float32
	for row := 0; row < len(values); row += k {
		for _, i := range kept {
			want = append(want, values[row+i])
		}
	}
	require.Equal(t, want, testmodel.Values(t, set.Get("m.weight")))
}

func TestEXL2Refused(t *testing.T) {
	replace := func(part string, r raw) func(m map[string]raw) { return func(m map[string]raw) { m["m."+part] = r } }
	poke := func(part string, at int, data ...byte) func(m map[string]raw) {
		return func(m map[string]raw) { m["m."+part] = poked(m["m."+part], at, data...) }
	}
	remove := func(part string) func(m map[string]raw) { return func(m map[string]raw) { delete(m, "m."+part) } }
	for name, tt := range map[string]struct {
		change func(m map[string]raw)
		want   string
	}{
		"no groups":          {remove("q_groups"), `"m.q_groups" is missing`},
		"no scales":          {remove("q_scale"), `"m.q_scale" is missing`},
		"no largest scales":  {remove("q_scale_max"), `"m.q_scale_max" is missing`},
		"no order":           {remove("q_invperm"), `"m.q_invperm" is missing`},
		"a vector":           {replace("q_weight", raw{Dtype: weights.I32, Shape: []int64{64}, Data: make([]byte, 256)}), "no matrix of EXL2"},
		"nothing":            {replace("q_weight", raw{Dtype: weights.I32, Shape: []int64{1 << 40, 0}}), "does not fit"},
		"other rows":         {replace("q_weight", raw{Dtype: weights.I32, Shape: []int64{26, 32}, Data: make([]byte, 4*26*32)}), "does not fit"},
		"other words":        {replace("q_groups", raw{Dtype: weights.I32, Shape: []int64{8}, Data: make([]byte, 32)}), "no matrix of EXL2"},
		"half a group":       {replace("q_groups", raw{Dtype: weights.I16, Shape: []int64{9}, Data: make([]byte, 18)}), "does not fit"},
		"other scales":       {replace("q_scale_max", raw{Dtype: weights.F16, Shape: []int64{3}, Data: make([]byte, 6)}), `"m.q_scale_max"`},
		"no number":          {poke("q_scale_max", 2, 0, 0x7e), `"m.q_scale_max": scale of group 1 is NaN`},
		"too large":          {poke("q_scale_max", 0, 0xff, 0x7b), `"m.q_scale_max": scale of group 0`},
		"7 bits":             {poke("q_groups", 0, 7), `"m.q_groups": group 0 has codes of 7 bits`},
		"a late first group": {poke("q_groups", 2, 1), `"m.q_groups": group 0 has words 1`},
		"no words":           {poke("q_groups", 10, 8), `"m.q_groups": group 1 has words 8 to 8`},
		"words beyond":       {poke("q_groups", 10, 0, 0x80), `"m.q_groups": group 1`},
		"half a code":        {poke("q_groups", 6, 9), `"m.q_groups": group 1 of 4 has 5 words`},
		"too few elements":   {replace("q_invperm", raw{Dtype: weights.I32, Shape: []int64{100}, Data: make([]byte, 400)}), `"m.q_groups": group 1`},
		"too many elements":  {replace("q_invperm", raw{Dtype: weights.I32, Shape: []int64{300}, Data: make([]byte, 1200)}), `"m.q_groups": group 3`},
		"a place too far":    {poke("q_invperm", 4, 0, 1), `"m.q_invperm": place 256 of element 1`},
		"a negative place":   {poke("q_invperm", 4, 0xff, 0xff, 0xff, 0xff), `"m.q_invperm": place -1 of element 1`},
		"a place twice":      {poke("q_invperm", 0, 1, 0, 0, 0, 1, 0, 0, 0), `"m.q_invperm": elements 0 and 1 have the same place 1`},
	} {
		tensors := module(t, "exl2.safetensors", "v_proj")
		tt.change(tensors)
		err := readAll(unpackModule(t, tensors, ``))
		require.ErrorIs(t, err, gguf.ErrCorrupt, name)
		require.ErrorContains(t, err, tt.want, name)
	}
	_, err := unpackModule(t, module(t, "exl2.safetensors", "v_proj"), `"quant_method": "exl3"`)
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.ErrorContains(t, err, `says "exl3"`)
}

func FuzzEXL2(f *testing.F) { fuzzModule(f, "exl2.safetensors", exl2[1:3]) }
