//go:build linux || darwin || freebsd || netbsd || openbsd

package files_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// What runs that were killed have left is removed by the next one with the same
// output; what others are writing and what only looks like it stays.
func TestLeftoversAreRemoved(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.gguf")
	live, err := files.Create(path, false)
	require.NoError(t, err)
	liveDir, err := files.CreateDir(dir, "out.gguf")
	require.NoError(t, err)
	stay := []string{filepath.Base(live.Name()), filepath.Base(liveDir.Path)}
	for _, name := range []string{".out.gguf.tmp-0123456789abcde", ".out.gguf.tmp-0123456789ABCDEF", ".out.gguf.tmp-notes",
		".other.gguf.tmp-0123456789abcdef", "out.gguf.tmp-0123456789abcdef"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o666))
		stay = append(stay, name)
	}
	link := ".out.gguf.tmp-1111111111111111"
	require.NoError(t, os.Symlink("other", filepath.Join(dir, link)))
	fifo := ".out.gguf.tmp-2222222222222222"
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, fifo), 0o666))
	stay = append(stay, link, fifo)

	require.NoError(t, os.WriteFile(filepath.Join(dir, ".out.gguf.tmp-0123456789abcdef"), nil, 0o666))
	left := filepath.Join(dir, ".out.gguf.tmp-fedcba9876543210")
	require.NoError(t, os.Mkdir(left, 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(left, "part"), nil, 0o666))
	require.NoError(t, files.Check(path, false))
	require.ElementsMatch(t, stay, names(t, dir))

	require.NoError(t, live.Publish())
	require.NoError(t, live.Discard())
	require.NoError(t, liveDir.Remove())
	require.ElementsMatch(t, append(stay[2:], "out.gguf"), names(t, dir))
}

func TestModeOfReplacedFile(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o640, 0o666, 0o755, 0o444} {
		path := filepath.Join(t.TempDir(), "out")
		require.NoError(t, os.WriteFile(path, nil, 0o666))
		require.NoError(t, os.Chmod(path, mode))
		o, err := files.Create(path, true)
		require.NoError(t, err)
		half, err := os.Stat(o.Name())
		require.NoError(t, err)
		require.Zero(t, half.Mode()&^mode, "nobody can read it meanwhile who could not before")
		require.NoError(t, o.Publish())
		require.NoError(t, o.Discard())
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode())
	}
}

func TestLinks(t *testing.T) {
	dir := t.TempDir()
	target, link, loose := filepath.Join(dir, "target"), filepath.Join(dir, "link"), filepath.Join(dir, "loose")
	require.NoError(t, os.Symlink("target", link))
	require.NoError(t, os.Symlink("nowhere", loose))
	require.ErrorContains(t, files.Check(link, false), "leads nowhere")
	require.NoError(t, os.WriteFile(target, []byte("old"), 0o666))
	require.ErrorIs(t, files.Write(link, []byte("new"), false), os.ErrExist)
	require.NoError(t, files.Write(link, []byte("new"), true))
	require.Equal(t, "new", content(t, target))
	to, err := os.Readlink(link)
	require.NoError(t, err)
	require.Equal(t, "target", to)
	require.ErrorContains(t, files.Check(loose, true), "leads nowhere")

	_, err = files.OpenNamed(link, true, 0o666)
	require.Error(t, err, "a link is not followed")
	f, err := files.OpenNamed(target, true, 0o666)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, "new", content(t, target), "nothing is truncated")
}

func TestFIFOsAreNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(path, 0o666))
	_, err := files.Open(path)
	require.ErrorIs(t, err, files.ErrNotRegular)
	require.ErrorContains(t, err, "a FIFO")
	_, err = files.OpenNamed(path, false, 0)
	require.ErrorIs(t, err, files.ErrNotRegular)
	for _, overwrite := range []bool{false, true} {
		require.ErrorIs(t, files.Check(path, overwrite), files.ErrNotRegular)
	}
	_, err = files.Open("/dev/null")
	require.ErrorContains(t, err, "a device")
}

// A part of a file is there from any offset on, and outlives the file's being closed.
func TestMap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "in")
	data := make([]byte, 3*os.Getpagesize()+100)
	for i := range data {
		data[i] = byte(i * 7 / 5)
	}
	require.NoError(t, os.WriteFile(path, data, 0o666))
	f, err := files.Open(path)
	require.NoError(t, err)
	var parts []*files.Mapping
	offsets := []int{0, 1, os.Getpagesize() - 1, os.Getpagesize(), len(data) - 1}
	for _, offset := range offsets {
		m, err := f.Map(int64(offset), int64(len(data)-offset))
		require.NoError(t, err)
		parts = append(parts, m)
	}
	require.NoError(t, f.Close())
	for i, m := range parts {
		require.Equal(t, data[offsets[i]:], m.Data())
		require.NoError(t, m.Close())
	}
	_, err = f.Map(0, 1)
	require.ErrorContains(t, err, path)
}

// What is gone of a mapped file is an error, not the end of the process; other faults are what they
// are without Guard.
func TestFileIsCutShortWhileItIsMapped(t *testing.T) {
	path, page := filepath.Join(t.TempDir(), "in"), os.Getpagesize()
	require.NoError(t, os.WriteFile(path, make([]byte, 4*page), 0o666))
	f, err := files.Open(path)
	require.NoError(t, err)
	defer f.Close()
	other, err := f.Map(0, int64(page))
	require.NoError(t, err)
	m, err := f.Map(int64(page)+10, int64(3*page)-10)
	require.NoError(t, err)
	defer func() { require.NoError(t, errors.Join(m.Close(), other.Close())) }()
	var sum byte
	touch := func(i int) func() error {
		return func() error {
			sum += m.Data()[i]
			return nil
		}
	}
	require.NoError(t, files.Guard(touch(2*page), other, m))
	require.NoError(t, os.Truncate(path, int64(page)+20))
	require.NoError(t, files.Guard(touch(5), other, m))
	err = files.Guard(touch(2*page), other, m)
	require.ErrorIs(t, err, files.ErrGone)
	require.ErrorContains(t, err, fmt.Sprintf("%s: offset %d", path, 3*page+10))

	require.Panics(t, func() { _ = files.Guard(touch(2*page), other) }, "a fault at memory that is not of these mappings")
	require.PanicsWithValue(t, "mine", func() { _ = files.Guard(func() error { panic("mine") }, m) })
	require.ErrorIs(t, files.Guard(func() error { return os.ErrInvalid }, m), os.ErrInvalid)
	require.Zero(t, sum)
}
