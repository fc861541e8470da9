package packed_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

var awq = []golden{
	{"awq-gemm-64g/k_proj", `"bits": 4, "group_size": 64, "zero_point": true, "version": "gemm"`, "18946d4bc9829575ed7048e84110724a76a51aaacf2b069ef64a94c6ee189b07"},
	{"awq-gemv-32g/k_proj", `"bits": 4, "group_size": 32, "version": "gemv"`, "552523b418615ac053dbe42082f091220c4ae61876ad130d2490fba1ada5f550"},
	{"awq-gemv-128g/k_proj", `"w_bit": 4, "q_group_size": 128, "version": "GEMV"`, "2ef3438463855210d4cc56bb658b15bed7415c9fe92238aba303ba5a537d9f04"},
	{"awq-gemv_fast-128g/k_proj", `"bits": 4, "group_size": 128, "version": "gemv_fast"`, "bc625ae808a75c4ada13e81ac07bb8a519eef7575cc03ef7306bcc8c6993a187"},
}

// TestAWQ compares with the values that AutoAWQ has.
func TestAWQ(t *testing.T) { testGolden(t, "awq.safetensors", "awq", awq) }

// TestAWQBlocks: zero points cost a bit, and what is added to a group is in Q4_1.
func TestAWQBlocks(t *testing.T) {
	types := map[string]gguf.Type{
		"awq-gemm-64g/k_proj": gguf.Q5_0, "awq-gemv-32g/k_proj": gguf.Q5_0, "awq-gemv-128g/k_proj": gguf.Q5_0, "awq-gemv_fast-128g/k_proj": gguf.Q4_1,
	}
	for _, g := range awq {
		set, err := unpackModule(t, module(t, "awq.safetensors", g.name), g.config)
		require.NoError(t, err)
		checkBlocks(t, g.name, set.Get("m.weight"), types[g.name])
	}
	symmetric := module(t, "awq.safetensors", "awq-gemm-64g/k_proj") // as AutoRound makes them
	zeros := symmetric["m.qzeros"]
	zeros.Data = bytes.Repeat([]byte{0x88}, len(zeros.Data))
	symmetric["m.qzeros"] = zeros
	set, err := unpackModule(t, symmetric, "")
	require.NoError(t, err)
	checkBlocks(t, "symmetric", set.Get("m.weight"), gguf.Q4_0)
}

func TestAWQRefused(t *testing.T) {
	const gemm, gemv, fast = "awq-gemm-64g/k_proj", "awq-gemv-128g/k_proj", "awq-gemv_fast-128g/k_proj"
	for name, tt := range map[string]struct {
		module, config string
		change         func(m map[string]raw)
		want           string
		err            error
	}{
		"Marlin":         {gemm, `"version": "marlin"`, nil, "Marlin", gguf.ErrUnsupported},
		"no zero points": {gemm, `"zero_point": false`, nil, "zero points", gguf.ErrUnsupported},
		"other bits":     {gemm, `"w_bit": 8`, nil, "8 bits", gguf.ErrUnsupported},
		"another method": {gemm, `"quant_method": "gptq"`, nil, `says "gptq"`, gguf.ErrCorrupt},
		"no qzeros":      {gemm, ``, func(m map[string]raw) { delete(m, "m.qzeros") }, `"m.qzeros" is missing`, gguf.ErrCorrupt},
		"no scales":      {gemv, ``, func(m map[string]raw) { delete(m, "m.scales") }, `"m.scales" is missing`, gguf.ErrCorrupt},
		"activations":    {gemm, ``, func(m map[string]raw) { m["m.act.scales"] = m["m.scales"] }, "activations", gguf.ErrUnsupported},
		"no number":      {gemm, ``, func(m map[string]raw) { m["m.scales"] = poked(m["m.scales"], 2, 0, 0x7c) }, "scale 0 of row 1 is +Inf", gguf.ErrCorrupt},
		"no number in GEMV": {gemv, `"group_size": 128`, func(m map[string]raw) { m["m.scales"] = poked(m["m.scales"], 2, 0, 0x7c) },
			"scale 1 of row 0 is +Inf", gguf.ErrCorrupt},
		"no number in GEMV_FAST": {fast, `"group_size": 128`, func(m map[string]raw) { m["m.qzeros"] = poked(m["m.qzeros"], 0, 0, 0x7e) }, "NaN", gguf.ErrCorrupt},
		"other zero points":      {gemm, ``, func(m map[string]raw) { m["m.qzeros"] = reshaped(m["m.qzeros"], 8, 4) }, "GEMM", gguf.ErrCorrupt},
		"groups of no size":      {gemv, `"group_size": 64`, nil, "1 words of zero points", gguf.ErrCorrupt},
		"groups of any size":     {gemv, ``, nil, "several sizes", gguf.ErrCorrupt},
		"other rows":             {fast, ``, func(m map[string]raw) { m["m.qweight"] = reshaped(m["m.qweight"], 8, 512) }, "GEMV_FAST", gguf.ErrCorrupt},
		"whole zero points": {fast, ``, func(m map[string]raw) {
			r := m["m.qzeros"]
			r.Dtype = weights.I16
			m["m.qzeros"] = r
		}, "GEMV_FAST", gguf.ErrCorrupt},
	} {
		tensors := module(t, "awq.safetensors", tt.module)
		if tt.change != nil {
			tt.change(tensors)
		}
		err := readAll(unpackModule(t, tensors, tt.config))
		require.ErrorIs(t, err, tt.err, name)
		require.ErrorContains(t, err, tt.want, name)
	}
}

func FuzzAWQ(f *testing.F) { fuzzModule(f, "awq.safetensors", awq) }
