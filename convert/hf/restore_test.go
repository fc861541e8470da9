package hf_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// writeGGUF converts a directory, to its own type.
func writeGGUF(t *testing.T, dir, out string, opts hf.Options) []byte {
	c, err := hf.Open(dir, opts)
	require.NoError(t, err)
	defer c.Close()
	_, err = gguf.Write(t.Context(), out, c, gguf.WriteOptions{Overwrite: true})
	require.NoError(t, err)
	data, err := os.ReadFile(out)
	require.NoError(t, err)
	return data
}

// export writes a model as a checkpoint, and returns what is to be known of it.
func export(t *testing.T, model, dir string) []string {
	place, err := convert.ExportPlace(dir, false)
	require.NoError(t, err)
	e, err := convert.OpenExport(t.Context(), model, convert.ExportOptions{})
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, e.Write(t.Context(), place, hf.WriteOptions{}))
	return e.Notes
}

// A checkpoint that is made of a GGUF file converts to the same file.
func TestRestore(t *testing.T) {
	dirs := map[string]string{"moe": reference.MoE(t), "base": "../../testdata/beyonder-mini/base", "gemma2": "../../testdata/gemma2"}
	for name := range cases {
		dirs[name] = writeCase(t, t.ArtifactDir(), name)
	}
	for name := range byteLevelCases {
		dirs[name] = writeByteLevel(t, t.ArtifactDir(), name)
	}
	for name, dir := range dirs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for typ, opts := range map[string]hf.Options{"auto": {Auto: true}, "F32": {Type: new(gguf.F32)}} {
				model, back := filepath.Join(t.TempDir(), "model.gguf"), filepath.Join(t.TempDir(), "restored")
				want := writeGGUF(t, dir, model, opts)
				notes := export(t, model, back)
				if got := writeGGUF(t, back, model, opts); string(want) != string(got) {
					c1, err := hf.Open(dir, opts)
					require.NoError(t, err)
					defer c1.Close()
					c2, err := hf.Open(back, opts)
					require.NoError(t, err)
					defer c2.Close()
					kv1, tensors1 := describe(t, c1)
					kv2, tensors2 := describe(t, c2)
					require.Equal(t, kv1, kv2, typ)
					require.Equal(t, tensors1, tensors2, typ)
					require.Fail(t, "other bytes", typ)
				}
				require.Empty(t, notes, typ)
			}
		})
	}
}

// FuzzRestore: whatever a GGUF file says, a checkpoint that can be read is made of it, or none.
func FuzzRestore(f *testing.F) {
	for _, name := range []string{"Tiny-Llama-1.1B-Chat-v1.0", "odd name with spaces", "Qwen1.5-MoE-A2.7B", "deepseek-moe-16b-chat"} {
		c, err := hf.Open(writeCase(f, f.TempDir(), name), hf.Options{Type: new(gguf.Q8_0)})
		require.NoError(f, err)
		path := filepath.Join(f.TempDir(), "model.gguf")
		_, err = gguf.Write(f.Context(), path, c, gguf.WriteOptions{})
		require.NoError(f, err)
		require.NoError(f, c.Close())
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(_ *testing.T, data []byte) {
		file, err := gguf.New(bytes.NewReader(data), int64(len(data)), "fuzz.gguf")
		if err != nil {
			return
		}
		r, err := hf.Restore(file)
		if err != nil {
			return
		}
		for _, name := range r.Names() {
			row := r.Get(name)
			_, length := weights.Count(row.Shape())
			_ = row.ReadRows(make([]float32, length), 0, 1) // blocks may hold what is no number
		}
	})
}
