package files_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf/files"
)

func names(t *testing.T, dir string) (list []string) {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func content(t *testing.T, path string) string {
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func TestOutputAppearsWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	for _, publish := range []bool{false, true} {
		o, err := files.Create(path, false)
		require.NoError(t, err)
		_, err = o.WriteString("half")
		require.NoError(t, err)
		require.NoFileExists(t, path)
		if publish {
			require.NoError(t, o.Publish())
			require.Equal(t, "half", content(t, path))
		}
		require.NoError(t, o.Discard())
	}
	require.Equal(t, []string{"out"}, names(t, dir))

	require.ErrorIs(t, files.Write(path, []byte("new"), false), fs.ErrExist)
	require.ErrorIs(t, files.Check(path, false), fs.ErrExist)
	require.NoError(t, files.Check(path, true))
	require.Equal(t, "half", content(t, path))
	require.NoError(t, files.Write(path, []byte("new"), true))
	require.Equal(t, "new", content(t, path))
	require.Equal(t, []string{"out"}, names(t, dir))

	for _, bad := range []string{filepath.Join(dir, "missing", "out"), filepath.Join(path, "out")} {
		require.Error(t, files.Check(bad, true))
	}
	require.ErrorIs(t, files.Check(filepath.Join(dir, "missing", "out"), false), fs.ErrNotExist)
	require.Error(t, files.Check(filepath.Join(dir, strings.Repeat("n", 256)), true), "what could not be named at the end")
	long := filepath.Join(dir, strings.Repeat("n", 250)) // leaves no room for a suffix
	require.NoError(t, files.Write(long, nil, false))
}

// Of many who write the same file and may not overwrite one, one does.
func TestOneOfManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	var written atomic.Int32
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			o, err := files.Create(path, false)
			if errors.Is(err, fs.ErrExist) {
				return
			}
			if err == nil {
				_, err = o.WriteString(string(rune('a' + i)))
			}
			if err == nil {
				if err = o.Publish(); err == nil {
					written.Add(1)
				} else if errors.Is(err, fs.ErrExist) {
					err = nil
				}
			}
			if err := errors.Join(err, o.Discard()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, 1, written.Load())
	require.Len(t, content(t, path), 1)
	require.Equal(t, []string{"out"}, names(t, filepath.Dir(path)))
}

func TestInputsAreNotOutputs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "in")
	require.NoError(t, os.WriteFile(path, []byte("input"), 0o666))
	in, err := files.Open(path)
	require.NoError(t, err)
	defer in.Close()
	require.EqualValues(t, 5, in.Size())
	require.NoError(t, os.Link(path, filepath.Join(dir, "hard")))
	for _, out := range []string{path, filepath.Join(dir, ".", "..", filepath.Base(dir), "in"), filepath.Join(dir, "hard")} {
		for _, overwrite := range []bool{false, true} {
			require.ErrorIs(t, files.Check(out, overwrite, in.Input()...), files.ErrInput, "%s", out)
		}
	}
	require.NoError(t, files.Check(filepath.Join(dir, "other"), false, in.Input()...))
	require.Equal(t, "input", content(t, path))
}

func TestChangesOfInputsAreNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(path string) error
		changed bool
	}{
		"not at all": {func(string) error { return nil }, false},
		"longer": {func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		}, true},
		"shorter": {func(path string) error { return os.Truncate(path, 1) }, true},
		"in place": {func(path string) error {
			return errors.Join(os.WriteFile(path, []byte("INPUT"), 0), os.Chtimes(path, time.Time{}, time.Now().Add(time.Second)))
		}, true},
		"replaced": {func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte("input"), 0o666), os.Rename(path+".new", path))
		}, true},
		"moved":   {func(path string) error { return os.Rename(path, path+".old") }, false},
		"removed": {os.Remove, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "in")
			require.NoError(t, os.WriteFile(path, []byte("input"), 0o666))
			in, err := files.Open(path)
			require.NoError(t, err)
			defer in.Close()
			require.NoError(t, c.change(path))
			if c.changed {
				require.ErrorIs(t, in.Unchanged(), files.ErrChanged)
				require.ErrorContains(t, in.Unchanged(), path)
			} else {
				require.NoError(t, in.Unchanged())
			}
		})
	}
}

func TestDirectories(t *testing.T) {
	parent := t.TempDir()
	_, err := files.Open(parent)
	require.ErrorIs(t, err, files.ErrNotRegular)
	require.ErrorContains(t, err, "a directory")
	require.ErrorIs(t, files.Check(parent, true), files.ErrNotRegular)

	dir, err := files.CreateDir(parent, "merged")
	require.NoError(t, err)
	require.NoError(t, files.Write(filepath.Join(dir.Path, "part"), nil, false))
	require.NoError(t, os.Rename(dir.Path, filepath.Join(parent, "merged")))
	require.NoError(t, dir.Remove())
	require.Equal(t, []string{"merged"}, names(t, parent))
	require.Equal(t, []string{"part"}, names(t, filepath.Join(parent, "merged")))
	dir, err = files.CreateDir(parent, "merged")
	require.NoError(t, err)
	require.NoError(t, files.Write(filepath.Join(dir.Path, "part"), nil, false))
	require.NoError(t, dir.Remove())
	require.Equal(t, []string{"merged"}, names(t, parent))
}
