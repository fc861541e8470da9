package packed_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/packed"
	"github.com/ggufkit/ggufkit/gguf"
)

func TestFind(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                            "",
		`{"quantization_config": null}`: "",
		`{"quantization_config": {"quant_method": "fp8"}}`:                                                "fp8",
		`{"text_config": {"quantization_config": {"quant_method": "fp8"}}, "quantization_config": {}}`:    "fp8",
		`{"text_config": {"quantization_config": null}, "quantization_config": {"quant_method": "aqlm"}}`: "",
		`{"text_config": "none"}`: "",
	} {
		packing, err := packed.Find([]byte(config))
		require.NoError(t, err, config)
		if want == "" {
			require.Nil(t, packing, config)
		} else {
			require.Equal(t, want, packing.Method, config)
		}
	}
	for config, want := range map[string]error{
		`{"quantization_config": {"quant_method": "aqlm"}}`: gguf.ErrUnsupported,
		`{"quantization_config": {}}`:                       gguf.ErrUnsupported,
		`{"quantization_config": "fp8"}`:                    gguf.ErrCorrupt,
		`[]`:                                                gguf.ErrCorrupt,
		`{`:                                                 gguf.ErrCorrupt,
	} {
		_, err := packed.Find([]byte(config))
		require.ErrorIs(t, err, want, config)
	}
	_, err := packed.Find([]byte(`{"quantization_config": {"quant_method": "aqlm"}}`))
	require.ErrorContains(t, err, `"aqlm"`)
}

// FuzzFind: whatever config.json says, there is a format or an error.
func FuzzFind(f *testing.F) {
	f.Add([]byte(`{"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}`))
	f.Add([]byte(`{"text_config": {"quantization_config": {"quant_method": null}}, "quantization_config": 1}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		packing, err := packed.Find(config)
		if err != nil || packing == nil {
			return
		}
		if _, err := packing.Unpack(newSet(t)); err != nil {
			require.NotEmpty(t, err.Error())
		}
	})
}
