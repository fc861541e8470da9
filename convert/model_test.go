package convert_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
)

// open opens a model until the test ends.
func open(t *testing.T, path string, opts convert.Options) convert.Model {
	t.Helper()
	m, err := convert.OpenModel(t.Context(), path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// write writes a model as a file and returns its path and content.
func write(t *testing.T, m gguf.Source) (path string, content []byte) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "m.gguf")
	_, err := gguf.Write(t.Context(), path, m, gguf.WriteOptions{})
	require.NoError(t, err)
	content, err = os.ReadFile(path)
	require.NoError(t, err)
	return path, content
}

// TestOpenModel: a directory and the file that it becomes are the same model.
func TestOpenModel(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mistral-a")
	writeDense(t, dir, "mistral")
	path, content := write(t, open(t, dir, convert.Options{}))
	_, again := write(t, open(t, path, convert.Options{}))
	require.True(t, string(content) == string(again))
}

func TestWhatIsNoModel(t *testing.T) {
	empty := t.TempDir()
	other := filepath.Join(empty, "config.json")
	_, err := convert.OpenModel(t.Context(), empty, convert.Options{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "a model is a .gguf file")
	require.NoError(t, os.WriteFile(other, []byte(`{"architectures": []}`), 0o644))
	_, err = convert.OpenModel(t.Context(), other, convert.Options{})
	require.ErrorIs(t, err, gguf.ErrNotGGUF)
	require.ErrorContains(t, err, "a model is a .gguf file")
	for _, absent := range []string{"absent", "absent.yaml"} {
		_, err = convert.OpenModel(t.Context(), filepath.Join(empty, absent), convert.Options{})
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	_, err = convert.OpenModel(t.Context(), "mlabonne/Beyonder-4x7B-v2", convert.Options{})
	require.ErrorContains(t, err, "hf download mlabonne/Beyonder-4x7B-v2")
}
