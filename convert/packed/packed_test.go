package packed_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/packed"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

func TestReadConfig(t *testing.T) {
	dir := t.TempDir()
	for config, want := range map[string]string{
		`{}`:                            "",
		`{"quantization_config": null}`: "",
		`{"quantization_config": {"quant_method": "fp8"}}`:                                                "fp8",
		`{"text_config": {"quantization_config": {"quant_method": "fp8"}}, "quantization_config": {}}`:    "fp8",
		`{"text_config": {"quantization_config": null}, "quantization_config": {"quant_method": "aqlm"}}`: "",
		`{"text_config": "none"}`: "",
	} {
		c, err := packed.ReadConfig(files.Directory(dir), []byte(config))
		require.NoError(t, err, config)
		if want == "" {
			require.Nil(t, c, config)
		} else {
			require.Equal(t, []string{"config.json", want}, []string{c.File, c.Method}, config)
		}
	}
	for _, config := range []string{`{"quantization_config": "fp8"}`, `[]`, `{`, `{"quantization_config": {"quant_method": 1}}`} {
		_, err := packed.ReadConfig(files.Directory(dir), []byte(config))
		require.ErrorIs(t, err, gguf.ErrCorrupt, config)
	}

	side := filepath.Join(dir, "quantize_config.json")
	require.NoError(t, os.WriteFile(side, []byte(`{"bits": 4}`), 0o644))
	c, err := packed.ReadConfig(files.Directory(dir), []byte(`{}`))
	require.NoError(t, err)
	require.Equal(t, []string{"quantize_config.json", ""}, []string{c.File, c.Method})
	c, err = packed.ReadConfig(files.Directory(dir), []byte(`{"quantization_config": {"quant_method": "fp8"}}`))
	require.NoError(t, err)
	require.Equal(t, "config.json", c.File, "it comes first")
	require.NoError(t, os.WriteFile(side, []byte(`{`), 0o644))
	_, err = packed.ReadConfig(files.Directory(dir), []byte(`{}`))
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.ErrorContains(t, err, "quantize_config.json")
}

// TestNotRead: formats that are not read are refused by name, and what is not packed is
// left alone.
func TestNotRead(t *testing.T) {
	set := func(names ...string) weights.Set {
		var list weights.List
		for _, name := range names {
			require.NoError(t, list.Add(name, weights.Values(weights.F32, []float32{1}, 1)))
		}
		return &list
	}
	aqlm, err := packed.ReadConfig(files.Directory(""), []byte(`{"quantization_config": {"quant_method": "aqlm"}}`))
	require.NoError(t, err)
	_, err = packed.Unpack(set("a.weight"), aqlm)
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	require.ErrorContains(t, err, `"aqlm"`)
	for name, want := range map[string]string{"a.codebooks": "AQLM", "a.Qidxs": "QuIP#", "a.B": "Marlin"} {
		_, err := packed.Unpack(set("a.weight", name), nil)
		require.ErrorIs(t, err, gguf.ErrUnsupported, name)
		require.ErrorContains(t, err, want, name)
	}
	plain := set("a.weight", "a.bias")
	fp8, err := packed.ReadConfig(files.Directory(""), []byte(`{"quantization_config": {"quant_method": "fp8"}}`))
	require.NoError(t, err)
	for _, config := range []*packed.Config{nil, fp8} {
		got, err := packed.Unpack(plain, config)
		require.NoError(t, err)
		require.Same(t, plain, got)
	}
}

// FuzzConfig: whatever config.json says, there is a set or an error.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}`))
	f.Add([]byte(`{"text_config": {"quantization_config": {"quant_method": null}}, "quantization_config": 1}`))
	f.Fuzz(func(t *testing.T, config []byte) {
		c, err := packed.ReadConfig(files.Directory(t.TempDir()), config)
		if err != nil || c == nil {
			return
		}
		if _, err := packed.Unpack(newSet(t), c); err != nil {
			require.NotEmpty(t, err.Error())
		}
	})
}
