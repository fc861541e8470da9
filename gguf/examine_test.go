package gguf_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
)

// putOffset replaces the data offset that is stored for a tensor.
func putOffset(t *testing.T, content []byte, tensor string, offset uint64) {
	t.Helper()
	at := bytes.Index(content, []byte(tensor))
	require.Positive(t, at)
	at += len(tensor)
	dims := int(binary.LittleEndian.Uint32(content[at:]))
	binary.LittleEndian.PutUint64(content[at+4+8*dims+4:], offset)
}

func TestExamine(t *testing.T) {
	src := &memory{meta: gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: "llama"}, gguf.KV{Key: "general.alignment", Value: uint32(64)})}
	src.add("one", gguf.F32, 8, 2)  // 64 bytes
	src.add("two", gguf.F16, 10, 3) // 60, and 4 of padding
	src.add("three", gguf.F32, 32)
	path := write(t, src, gguf.WriteOptions{})[0]
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	f, err := gguf.Open(path)
	require.NoError(t, err)
	data := f.Offset(0)
	require.NoError(t, f.Close())

	for name, c := range map[string]struct {
		change func(content []byte) []byte
		says   []string // the faults, each with its tensor
		left   int      // tensors that can be read
	}{
		"whole":                 {func(c []byte) []byte { return c }, nil, 3},
		"cut in the last":       {func(c []byte) []byte { return c[:data+128+127] }, []string{"three: its 128 bytes are not there: the file ends at"}, 2},
		"cut in the first":      {func(c []byte) []byte { return c[:data+1] }, []string{"one: its 64 bytes", "two: its 60 bytes", "three: its 128 bytes"}, 0},
		"cut in the header":     {func(c []byte) []byte { return c[:40] }, []string{": corrupt file"}, -1},
		"nothing":               {func([]byte) []byte { return nil }, []string{": corrupt file"}, -1},
		"another file":          {func([]byte) []byte { return []byte("PK and so on, not a model at all") }, []string{": not a GGUF file"}, -1},
		"padding of tensors":    {func(c []byte) []byte { c[data+64+60] = 1; return c }, []string{"two: the padding after it is not zero"}, 3},
		"padding of the header": {func(c []byte) []byte { c[data-1] = 1; return c }, []string{": the padding after it is not zero"}, 3},
		"something behind":      {func(c []byte) []byte { return append(c, "hidden"...) }, []string{": 6 bytes after the last tensor belong to nothing"}, 3},
		"two in one place": {func(c []byte) []byte { putOffset(t, c, "two", 0); return c },
			[]string{"two: its data offset is 0, and 64", "three: its data offset is 128, and 64", `two: it overlaps tensor "one"`, ": the padding after it is not zero"}, 3},
		"a place that is not aligned": {func(c []byte) []byte { putOffset(t, c, "three", 130); return append(c, 0, 0) },
			[]string{"three: its data offset is 130, and 128", "three: its data offset 130 is no multiple", "two: the padding after it is not zero"}, 3},
		"a place beyond all": {func(c []byte) []byte { putOffset(t, c, "two", 1<<62); return c },
			[]string{"two: its data offset is", "two: its 60 bytes are not there", "one: the padding after it is not zero"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.gguf")
			require.NoError(t, os.WriteFile(path, c.change(bytes.Clone(whole)), 0o666))
			file, faults, err := gguf.Examine(path)
			require.NoError(t, err)
			var says []string
			for _, fault := range faults {
				require.Equal(t, path, fault.Path)
				says = append(says, fault.Tensor+": "+fault.What)
			}
			for _, want := range c.says {
				require.Contains(t, strings.Join(says, "\n"), want)
			}
			if c.says == nil {
				require.Empty(t, says)
			}
			if c.left < 0 {
				require.Nil(t, file)
				return
			}
			defer file.Close()
			require.Len(t, file.Tensors(), c.left)
			for i, info := range file.Tensors() {
				require.NoError(t, file.ReadRows(make([]byte, info.Bytes()), i, 0, info.Rows()))
			}
			_, err = gguf.Open(path)
			if len(c.says) == 0 {
				require.NoError(t, err)
			}
		})
	}
	_, _, err = gguf.Examine(filepath.Join(t.TempDir(), "absent.gguf"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// Files of a set are looked at together, whichever is named, and those that are missing are said.
func TestExamineSet(t *testing.T) {
	paths := write(t, sample(), gguf.WriteOptions{Shards: []int{2, 2, 1}})
	file, faults, err := gguf.Examine(paths[1])
	require.NoError(t, err)
	require.Empty(t, faults)
	require.Len(t, file.Tensors(), 5)
	_, split := file.Metadata().Get("split.count")
	require.False(t, split)
	require.NoError(t, file.Close())

	third, err := os.ReadFile(paths[2])
	require.NoError(t, err)
	require.NoError(t, os.Remove(paths[2]))
	file, faults, err = gguf.Examine(paths[1])
	require.NoError(t, err)
	require.Len(t, faults, 1)
	require.Equal(t, paths[2], faults[0].Path)
	require.Contains(t, faults[0].What, "cannot be opened")
	require.Len(t, file.Tensors(), 4)
	require.NoError(t, file.Close())

	first, err := os.ReadFile(paths[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(paths[2], first, 0o666)) // in the place of the third
	file, faults, err = gguf.Examine(paths[0])
	require.NoError(t, err)
	var says []string
	for _, f := range faults {
		says = append(says, f.What)
	}
	require.Contains(t, strings.Join(says, "\n"), "split.no is 0, which is not what its name says")
	require.Contains(t, strings.Join(says, "\n"), "it is in "+paths[0]+", too")
	require.NoError(t, file.Close())

	require.NoError(t, os.WriteFile(paths[2], third, 0o666))
	alone := filepath.Join(t.TempDir(), "alone.gguf")
	require.NoError(t, os.WriteFile(alone, third, 0o666))
	file, faults, err = gguf.Examine(alone)
	require.NoError(t, err)
	require.NotEmpty(t, faults)
	require.Contains(t, faults[0].What, "split.count is 3, and its name says 1")
	require.NoError(t, file.Close())
}

func FuzzExamine(f *testing.F) {
	path := filepath.Join(f.TempDir(), "model.gguf")
	src := &memory{meta: gguf.NewMetadata(gguf.KV{Key: "general.alignment", Value: uint32(8)})}
	src.add("a", gguf.I8, 3)
	src.add("b", gguf.F32, 2, 2)
	_, err := gguf.Write(f.Context(), path, src, gguf.WriteOptions{})
	require.NoError(f, err)
	content, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(content)
	f.Add(content[:len(content)/2])
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "model.gguf")
		require.NoError(t, os.WriteFile(path, content, 0o666))
		file, faults, err := gguf.Examine(path)
		if err != nil {
			return // a pointer of Git LFS
		}
		opened, errOpen := gguf.Open(path)
		if errOpen == nil {
			require.NoError(t, opened.Close())
		} else {
			require.NotEmpty(t, faults, "%v", errOpen)
		}
		if file == nil {
			return
		}
		for i, info := range file.Tensors() {
			require.NoError(t, file.ReadRows(make([]byte, info.RowBytes()), i, 0, 1))
		}
		require.NoError(t, file.Close())
	})
}
