package convert_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// export writes a model as a checkpoint.
func export(t *testing.T, path, dir string, dtype weights.Dtype) error {
	t.Helper()
	e, err := convert.OpenExport(t.Context(), path, convert.ExportOptions{Dtype: dtype})
	if err != nil {
		return err
	}
	place, err := convert.ExportPlace(dir, false)
	require.NoError(t, err)
	return errors.Join(e.Write(t.Context(), place, hf.WriteOptions{}), e.Close())
}

// TestExportPacked: what is packed becomes what it stands for, and nothing says any more that
// it is.
func TestExportPacked(t *testing.T) {
	const plain = "../testdata/beyonder-mini/base"
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	require.NoError(t, reference.PackGPTQ(plain, dir, nil, nil))
	var config map[string]any
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &config))
	config["quantization_config"] = map[string]any{"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": false, "sym": true}
	testmodel.WriteJSON(t, filepath.Join(dir, "config.json"), config)

	require.NoError(t, export(t, dir, out, ""))
	text, err = os.ReadFile(filepath.Join(out, "config.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &config))
	require.NotContains(t, string(text), "quantization_config")
	packed, back := open(t, dir, convert.Options{Checkpoint: hf.Options{Auto: true}}), open(t, out, convert.Options{Checkpoint: hf.Options{Auto: true}})
	require.Equal(t, packed.Tensors(), back.Tensors())
	for i, info := range packed.Tensors() {
		want, got := make([]byte, info.Bytes()), make([]byte, info.Bytes())
		require.NoError(t, packed.ReadRows(want, i, 0, info.Rows()))
		require.NoError(t, back.ReadRows(got, i, 0, info.Rows()))
		require.True(t, string(want) == string(got), info.Name)
	}
}

// TestExportToF16: numbers that F16 has not are an error, and no output.
func TestExportToF16(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "model")
	writeDense(t, dir, "mistral")
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, export(t, dir, out, weights.F16))
	tensors := testmodel.Tensors(weights.BF16, 288, 96, 0)
	tensors[1].Values = make([]float32, 64)
	tensors[1].Values[5] = -65536
	testmodel.WriteFile(t, filepath.Join(dir, "model.safetensors"), tensors)
	out = filepath.Join(t.TempDir(), "again")
	err := export(t, dir, out, weights.F16)
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	require.ErrorContains(t, err, "-65536")
	require.ErrorContains(t, err, tensors[1].Name)
	_, err = os.Stat(out)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, export(t, dir, out, weights.F32))
	require.ErrorIs(t, export(t, dir, filepath.Join(t.TempDir(), "out"), weights.I32), gguf.ErrUnsupported)
}

// TestExportOfQuantized: an F32 tensor beside quantized ones says which type the model was of.
func TestExportOfQuantized(t *testing.T) {
	for dtype, bits := range map[weights.Dtype]float32{weights.BF16: 1 + 1./128, weights.F16: 1 + 1./1024} {
		dir := filepath.Join(t.TempDir(), "model")
		writeDense(t, dir, "mistral")
		tensors := testmodel.Tensors(weights.F32, 288, 96, 0)
		for i := range tensors {
			if len(tensors[i].Shape) == 1 {
				tensors[i].Values = []float32{63: bits}
			}
		}
		testmodel.WriteFile(t, filepath.Join(dir, "model.safetensors"), tensors)
		path, _ := write(t, open(t, dir, convert.Options{Checkpoint: hf.Options{Type: new(gguf.Q8_0)}}))
		e, err := convert.OpenExport(t.Context(), path, convert.ExportOptions{})
		require.NoError(t, err)
		require.Equal(t, dtype, e.Dtype)
		require.NoError(t, e.Close())
	}
}
