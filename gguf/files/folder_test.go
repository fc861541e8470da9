package files_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf/files"
)

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "below"), 0o755))
	for _, name := range []string{"b", "a", "below/c"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(name), 0o644))
	}
	folder := files.Directory(dir)
	names, err := folder.List(".")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, names, "no folders, and in order")
	names, err = folder.List("below")
	require.NoError(t, err)
	require.Equal(t, []string{"c"}, names)
	_, err = folder.List("absent")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, dir, folder.Path("."))
	require.Equal(t, filepath.Join(dir, "below", "c"), folder.Path("below/c"))

	f, err := folder.Open("below/c")
	require.NoError(t, err)
	defer f.Close()
	data, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "below/c", string(data))
	require.Equal(t, folder.Path("below/c"), f.Name())
	_, err = folder.Open("absent")
	require.ErrorIs(t, err, fs.ErrNotExist)
	for _, outside := range []string{"../x", "/etc/passwd", "below/../../x", ""} {
		_, err := folder.Open(outside)
		require.ErrorIs(t, err, fs.ErrInvalid, outside)
	}
}

// TestLocate: a path is opened as it is spelled, since a symbolic link may be in it.
func TestLocate(t *testing.T) {
	for _, path := range []string{"model.gguf", "./model.gguf", "a/../model.gguf", "/models//model.gguf"} {
		folder, name := files.Locate(path)
		require.Equal(t, "model.gguf", name)
		require.Equal(t, filepath.FromSlash(path), filepath.FromSlash(folder.Path(name)))
	}
}

// object is an Object in memory.
type object struct {
	*bytes.Reader
	closed bool
}

// summed is one whose hash is known.
type summed struct{ *object }

func (summed) SHA256() string { return "as its owner says" }

func (o *object) Close() error          { o.closed = true; return nil }
func (o *object) Version() string       { return "1" }
func (o *object) Unchanged() error      { return files.ErrChanged }
func (o *object) Prefetch(int64, int64) {}

// TestElsewhere: what is no regular file is read like one, but not mapped, and no output can
// replace it.
func TestElsewhere(t *testing.T) {
	o := &object{Reader: bytes.NewReader([]byte("content"))}
	f := files.NewFile("hf://a/b", o)
	require.False(t, f.IsLocal())
	require.Empty(t, f.Input())
	require.EqualValues(t, 7, f.Size())
	data, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "content", string(data))
	sum, err := files.SHA256(t.Context(), f)
	require.NoError(t, err)
	require.Equal(t, "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73", sum)
	sum, err = files.Sum(t.Context(), f)
	require.NoError(t, err)
	require.Equal(t, "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73", sum)
	sum, err = files.Sum(t.Context(), files.NewFile("hf://a/b", summed{o}))
	require.NoError(t, err)
	require.Equal(t, "as its owner says", sum)
	_, err = f.Map(0, 7)
	require.ErrorIs(t, err, errors.ErrUnsupported)
	require.ErrorIs(t, files.Unchanged([]*files.File{f}), files.ErrChanged)
	require.NoError(t, f.Close())
	require.True(t, o.closed)
}
