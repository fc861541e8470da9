package gguf_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// patched returns a file with room in its header, what it is with another name of the model, and the
// patch that makes it that. Names of other lengths move all that follows.
func patched(t testing.TB, was, is string) (path string, before, after []byte, patch *gguf.Patch) {
	dir := t.TempDir()
	src := sample()
	src.meta.Set("general.name", was)
	src.meta.Set("general.description", strings.Repeat("what follows moves. ", 100))
	src.meta.Set("general.alignment", uint32(4096))
	file := func(name string) (string, []byte) {
		path := filepath.Join(dir, name)
		_, err := gguf.Write(t.Context(), path, src, gguf.WriteOptions{})
		require.NoError(t, err)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		return path, content
	}
	path, before = file("file.gguf")
	meta := &gguf.Metadata{}
	for _, kv := range src.meta.All() {
		if kv.Key == "general.name" {
			kv.Value = is
		}
		meta.Set(kv.Key, kv.Value)
	}
	src.meta = meta
	_, after = file("after.gguf")
	f, err := gguf.OpenAlone(path)
	require.NoError(t, err)
	defer f.Close()
	patch, err = f.Patch(meta)
	require.NoError(t, err)
	return path, before, after, patch
}

// dying is a file that is written until the process is killed: after so many bytes, or before Sync.
type dying struct {
	*os.File
	bytes int
	syncs int
}

var errKilled = errors.New("killed")

func (d *dying) WriteAt(p []byte, at int64) (int, error) {
	n, err := d.File.WriteAt(p[:min(len(p), d.bytes)], at)
	if err == nil && n < len(p) {
		err = errKilled
	}
	return n, err
}

func (d *dying) Sync() error {
	if d.syncs == 0 {
		return errKilled
	}
	return d.File.Sync()
}

// Wherever the process is killed, the file is whole, or it is not read until Finish has made it so.
func TestPatchSurvivesAKill(t *testing.T) {
	_, _, _, patch := patched(t, "short", "much longer")
	total := int(patch.Bytes())
	require.Greater(t, total, 1000)
	for _, c := range []dying{
		{bytes: 0}, {bytes: 1}, {bytes: 511}, {bytes: 512}, {bytes: total / 2}, {bytes: total - 1}, {bytes: total, syncs: 0},
	} {
		path, before, after, patch := patched(t, "short", "much longer")
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		require.NoError(t, err)
		c.File = file
		require.ErrorIs(t, patch.ApplyTo(&c), errKilled)
		require.NoError(t, file.Close())
		for _, open := range []func(string) (*gguf.File, error){gguf.Open, gguf.OpenAlone} {
			_, err = open(path)
			require.ErrorIs(t, err, gguf.ErrInterrupted)
		}
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, c.bytes == 0, string(content) == string(before))
		done, err := gguf.Finish(path)
		require.NoError(t, err)
		require.True(t, done)
		content, err = os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, after, content)
		require.NoFileExists(t, path+".edit")
		f, err := gguf.Open(path)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
}

// What lies in one sector is written at once, and leaves nothing beside the file.
func TestPatchOfASector(t *testing.T) {
	path, before, after, patch := patched(t, "short", "shirt")
	require.Equal(t, int64(1), patch.Bytes())
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	require.ErrorIs(t, patch.ApplyTo(&dying{File: file}), errKilled)
	require.NoError(t, file.Close())
	require.NoFileExists(t, path+".edit")
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, before, content)
	inode, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, patch.Apply())
	content, err = os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, after, content)
	now, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(inode, now))
}

// A file that changed since is not patched, nor one that another process patches, nor by what is no
// record of it.
func TestPatchRefuses(t *testing.T) {
	path, before, _, patch := patched(t, "short", "longer")
	require.NoError(t, os.WriteFile(path, append(before, 0), 0o666))
	require.ErrorIs(t, patch.Apply(), files.ErrChanged)

	path, before, _, patch = patched(t, "short", "longer")
	require.NoError(t, os.WriteFile(path+".edit", []byte("a letter"), 0o666))
	require.ErrorIs(t, patch.Apply(), fs.ErrExist)
	done, err := gguf.Finish(path)
	require.NoError(t, err)
	require.False(t, done)
	f, err := gguf.Open(path)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	for _, record := range []string{
		"ggufkit edit 1\n", "ggufkit edit 1\n{}", "ggufkit edit 1\n{\n", "ggufkit edit 1\n{}\nx", "ggufkit edit 1\n{}\n",
		`ggufkit edit 1` + "\n" + `{"size":1e3,"header_bytes":-1,"offset":-5,"bytes":1}` + "\nx",
		`ggufkit edit 1` + "\n" + `{"size":24576,"header_bytes":8192,"offset":9223372036854775807,"bytes":1}` + "\nx",
		`ggufkit edit 1` + "\n" + `{"size":24576,"header_bytes":8192,"offset":5,"bytes":1}` + "\nx",
	} {
		require.NoError(t, os.WriteFile(path+".edit", []byte(record), 0o666))
		_, err := gguf.Finish(path)
		require.ErrorIs(t, err, gguf.ErrCorrupt, record)
		_, err = gguf.Open(path)
		require.ErrorIs(t, err, gguf.ErrInterrupted)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, before, content)
	}
	require.NoError(t, os.Remove(path+".edit"))
	held, err := files.OpenNamed(path, false, 0)
	require.NoError(t, err)
	defer held.Close()
	if files.Lock(held) == nil { // else there are no locks here
		_, _, _, other := patched(t, "short", "longer")
		require.NoError(t, other.Apply())
		require.ErrorIs(t, patch.Apply(), files.ErrLocked)
	}
	done, err = gguf.Finish(filepath.Join(t.TempDir(), "absent.gguf"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.False(t, done)
}

// A file that has another name is not patched, since that is to keep what it has; through a
// symbolic link the file is.
func TestPatchAndLinks(t *testing.T) {
	path, _, _, _ := patched(t, "short", "shirt")
	other := path + ".other"
	if os.Link(path, other) != nil {
		t.Skip("no links here")
	}
	f, err := gguf.OpenAlone(path)
	require.NoError(t, err)
	meta := f.Metadata().Clone()
	meta.Set("u8", uint8(1))
	patch, err := f.Patch(meta)
	require.NoError(t, err)
	if files.Links(f.Inputs()[0].Input()[0].Info) > 1 { // as far as that can be told
		require.Nil(t, patch)
	}
	require.NoError(t, f.Close())
	require.NoError(t, os.Remove(other))

	link := filepath.Join(t.TempDir(), "link.gguf")
	if os.Symlink(path, link) != nil {
		t.Skip("no symbolic links here")
	}
	_, err = gguf.Finish(link)
	require.NoError(t, err)
	f, err = gguf.OpenAlone(link)
	require.NoError(t, err)
	patch, err = f.Patch(meta)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.NotNil(t, patch)
	require.NoError(t, patch.Apply())
	f, err = gguf.OpenAlone(path)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, meta.All(), f.Metadata().All())
}

// What does not fit is not patched: a header that outgrows its padding, another alignment.
func TestPatchDoesNotFit(t *testing.T) {
	path, _, _, _ := patched(t, "short", "shirt")
	f, err := gguf.OpenAlone(path)
	require.NoError(t, err)
	defer f.Close()
	for key, value := range map[string]any{"x": strings.Repeat("x", 5000), "general.alignment": uint32(32)} {
		meta := f.Metadata().Clone()
		meta.Set(key, value)
		patch, err := f.Patch(meta)
		require.NoError(t, err)
		require.Nil(t, patch, key)
	}
	patch, err := f.Patch(f.Metadata())
	require.NoError(t, err)
	require.Zero(t, patch.Bytes())
	require.NoError(t, patch.Apply())
}

// FuzzFinish: whatever PATH.edit says, the file becomes what it was to become, or stays as it is.
func FuzzFinish(f *testing.F) {
	path, before, after, patch := patched(f, "short", "much longer")
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(f, err)
	require.ErrorIs(f, patch.ApplyTo(&dying{File: file}), errKilled)
	require.NoError(f, file.Close())
	record, err := os.ReadFile(path + ".edit")
	require.NoError(f, err)
	f.Add(record)
	f.Add(record[:len(record)-1])
	f.Add(bytes.Replace(record, []byte(`"offset":`), []byte(`"offset":-`), 1))
	f.Add([]byte("ggufkit edit 1 {}\n"))
	f.Fuzz(func(t *testing.T, record []byte) {
		require.NoError(t, os.WriteFile(path, before, 0o666))
		require.NoError(t, os.WriteFile(path+".edit", record, 0o666))
		done, err := gguf.Finish(path)
		content, errRead := os.ReadFile(path)
		require.NoError(t, errRead)
		if done && err == nil {
			require.True(t, bytes.Equal(after, content))
			require.NoFileExists(t, path+".edit")
			return
		}
		require.True(t, bytes.Equal(before, content))
		stays, err := os.ReadFile(path + ".edit")
		require.NoError(t, err)
		require.True(t, bytes.Equal(record, stays))
	})
}
