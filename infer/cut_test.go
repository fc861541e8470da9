//go:build linux || darwin || freebsd || netbsd || openbsd

package infer_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/quant/isa/isatest"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// A mapped model file that is cut short is an error that names it, not the end of the
// process, whatever kernels touch what is gone.
func TestFileIsCutShortUnderASession(t *testing.T) {
	s := small
	s.width, s.hidden, s.keyLen, s.valueLen = 256, 256, 32, 32
	for _, compute := range []infer.Compute{infer.Int8, infer.Exact} {
		for _, fileType := range []recipe.FileType{recipe.F32, recipe.BF16, recipe.Q8_0, recipe.Q4_K_M} {
			t.Run(compute.String()+"/"+fileType.String(), func(t *testing.T) {
				isatest.ForEach(t, func(t *testing.T) {
					path := filepath.Join(t.TempDir(), "model.gguf")
					_, err := gguf.Write(t.Context(), path, quantized(t, s.build(1), fileType), gguf.WriteOptions{})
					require.NoError(t, err)
					file, err := gguf.Open(path)
					require.NoError(t, err)
					defer file.Close()
					var src gguf.Source = file
					if fileType == recipe.Q8_0 { // what a view leaves as it is, is mapped as well
						src = quantized(t, file, recipe.Copy)
					}
					m, err := infer.New(src, infer.Options{Compute: compute, Threads: 2})
					require.NoError(t, err)
					session, err := m.NewSession(8, gguf.F16)
					require.NoError(t, err)
					_, err = session.Start(t.Context(), []int32{1, 2})
					require.NoError(t, err)
					require.NoError(t, os.Truncate(path, 100))
					_, err = session.Add(t.Context(), 3)
					require.ErrorIs(t, err, gguf.ErrCorrupt)
					require.ErrorContains(t, err, path)
					_, err = session.Start(t.Context(), []int32{1, 2})
					require.ErrorIs(t, err, gguf.ErrCorrupt)
					require.ErrorContains(t, err, path)
				})
			})
		}
	}
}
