package packed_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/packed"
	"github.com/ggufkit/ggufkit/convert/weights"
)

// TestPackings: a matrix says how it is packed, and what it takes.
func TestPackings(t *testing.T) {
	for _, tt := range []struct{ file, name, config, want string }{
		{"gptq.safetensors", "gptq-4bit-128g/k_proj", `"bits": 4, "group_size": 128`, "GPTQ 4-bit g128"},
		{"gptq.safetensors", "gptq-4bit-channel/k_proj", `"bits": 4, "group_size": -1`, "GPTQ 4-bit per row"},
		{"gptq.safetensors", "gptq-3bit-32g-asym/k_proj", `"bits": 3, "group_size": 32`, "GPTQ 3-bit g32"},
		{"awq.safetensors", "awq-gemm-64g/k_proj", `"bits": 4, "group_size": 64`, "AWQ 4-bit g64"},
		{"awq.safetensors", "awq-gemv-128g/k_proj", `"w_bit": 4, "q_group_size": 128`, "AWQ 4-bit g128"},
		{"exl2.safetensors", "w1", exl2Config, "EXL2 2.2-bit"},
		{"exl3.safetensors", "2bit-mcg", exl3Config, "EXL3 2-bit"},
		{"nvfp4.safetensors", "ct-nvfp4/v_proj", ``, "NVFP4"},
		{"mxfp4.safetensors", "ct-mxfp4/v_proj", ``, "MXFP4"},
		{"fp8.safetensors", "float32.o_proj", `"quant_method": "fp8", "weight_block_size": [128, 128]`, "FP8 128x128"},
		{"bitsandbytes.safetensors", "bnb-nf4-b128/k_proj", `"load_in_4bit": true`, "bitsandbytes NF4 g128"},
		{"bitsandbytes.safetensors", "bnb-moe1-nf4-double/gate", `"load_in_4bit": true`, "bitsandbytes NF4 g64 double"},
		{"bitsandbytes.safetensors", "bnb-int8/k_proj", `"load_in_8bit": true`, "LLM.int8 per row"},
		{"hqq.safetensors", "hqq-3bit-64g/k_proj", hqqConfig, "HQQ 3-bit g64"},
		{"torchao.safetensors", "torchao-int8-wo/k_proj", `"quant_method": "torchao"`, "torchao int8 per row"},
	} {
		tensors := module(t, tt.file, tt.name)
		set, err := unpackModule(t, tensors, tt.config)
		require.NoError(t, err, tt.name)
		p, ok := set.(*packed.Set).Packing("m.weight")
		require.True(t, ok, tt.name)
		require.Equal(t, tt.want, p.String())
		rows, length := weights.Count(set.Get("m.weight").Shape())
		require.Equal(t, rows*length, p.Elements, tt.name)
		var bytes int64
		for name, r := range tensors {
			if name != "m.bias" {
				bytes += int64(len(r.Data))
			}
		}
		require.Equal(t, bytes, p.Bytes, tt.name)
		_, ok = set.(*packed.Set).Packing("m.bias")
		require.False(t, ok, tt.name)
	}
}
