package gguf_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// interrupt writes src to path until its context ends, after so many reads, and returns
// the journal and the half of a file that stay.
func interrupt(t testing.TB, path string, src *memory, job []gguf.Fact, reads int32) (journal, partial []byte) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &interrupted{memory: src, cancel: cancel}
	s.left.Store(reads)
	_, err := gguf.Write(ctx, path, s, gguf.WriteOptions{Job: job, Threads: 1})
	require.ErrorIs(t, err, context.Canceled)
	journal, err = os.ReadFile(path + ".partial.journal")
	require.NoError(t, err)
	partial, err = os.ReadFile(path + ".partial")
	require.NoError(t, err)
	return journal, partial
}

// Files that have the names of unfinished work but are none of ours stay as they are, and
// the output is not written.
func TestForeignPartials(t *testing.T) {
	src := sample()
	dir := t.TempDir()
	path := filepath.Join(dir, "model.gguf")
	journal, partial := interrupt(t, path, src, job("a"), 3)
	for name, c := range map[string]struct {
		journal, partial string // "" is none
	}{
		"a download":                          {"", "half of a download"},
		"a download of a GGUF file":           {"", string(partial)},
		"a foreign journal":                   {"dear diary", ""},
		"a foreign journal of our file":       {"dear diary", string(partial)},
		"another file beside our journal":     {string(journal), "half of a download"},
		"another GGUF beside our journal":     {string(journal), "GGUF" + string(partial[4:100]) + "others"},
		"a long line":                         {strings.Repeat("x", 5<<20), ""},
		"a journal of a future version":       {"ggufkit journal 3 whatever\n", "half"},
		"a journal whose title was cut short": {string(journal[:30]), string(partial)},
	} {
		for _, resume := range []bool{false, true} {
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.Mkdir(dir, 0o777))
			want := make(map[string]string)
			for suffix, text := range map[string]string{".partial.journal": c.journal, ".partial": c.partial} {
				if text != "" {
					require.NoError(t, os.WriteFile(path+suffix, []byte(text), 0o666))
					want[filepath.Base(path)+suffix] = text
				}
			}
			_, err := gguf.Write(t.Context(), path, src, gguf.WriteOptions{Job: job("a"), Resume: resume})
			require.ErrorContains(t, err, path+".partial", name)
			got := make(map[string]string)
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			for _, e := range entries {
				data, err := os.ReadFile(filepath.Join(dir, e.Name()))
				require.NoError(t, err)
				got[e.Name()] = string(data)
			}
			require.Equal(t, want, got, "%s, resume %v", name, resume)
		}
	}
}

// A link or a directory of such a name is neither followed nor taken.
func TestLinkedPartials(t *testing.T) {
	src := sample()
	for _, suffix := range []string{".partial", ".partial.journal"} {
		for name, create := range map[string]func(path string) error{
			"link":       func(path string) error { return os.Symlink("victim", path) },
			"loose link": func(path string) error { return os.Symlink("nowhere", path) },
			"directory":  func(path string) error { return os.Mkdir(path, 0o777) },
		} {
			dir := t.TempDir()
			path := filepath.Join(dir, "model.gguf")
			if suffix == ".partial" { // beside a journal of ours
				interrupt(t, path, src, job("a"), 3)
				require.NoError(t, os.Remove(path+suffix))
			}
			require.NoError(t, os.WriteFile(filepath.Join(dir, "victim"), nil, 0o666)) // which would be taken for one that was just begun
			require.NoError(t, create(path+suffix))
			_, err := gguf.Write(t.Context(), path, src, gguf.WriteOptions{Job: job("a")})
			require.Error(t, err, name)
			data, err := os.ReadFile(filepath.Join(dir, "victim"))
			require.NoError(t, err)
			require.Empty(t, data)
			require.NoFileExists(t, path)
			require.NoFileExists(t, filepath.Join(dir, "nowhere"))
			_, err = os.Lstat(path + suffix)
			require.NoError(t, err)
		}
	}
}

func TestResumeSaysWhyItStartsFromNothing(t *testing.T) {
	facts := func(pairs ...string) []gguf.Fact {
		var list []gguf.Fact
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, gguf.Fact{What: pairs[i], Is: pairs[i+1]})
		}
		return list
	}
	before := facts("program", "ggufkit 1.0", "/in.gguf", "10 bytes")
	for reason, c := range map[string]struct {
		before, now []gguf.Fact
		change      func(src *memory)
	}{
		"":                {before, before, nil},
		"no run has left": {nil, before, nil},
		"program: it was ggufkit 1.0, now it is ggufkit 1.1": {before, facts("program", "ggufkit 1.1", "/in.gguf", "10 bytes"), nil},
		"/in.gguf: it was 10 bytes, now it is 11 bytes":      {before, facts("program", "ggufkit 1.0", "/in.gguf", "11 bytes"), nil},
		"it was made without: /other.gguf 10 bytes":          {before, facts("program", "ggufkit 1.0", "/other.gguf", "10 bytes"), nil},
		"it was made with: /in.gguf 10 bytes":                {before, facts("program", "ggufkit 1.0"), nil},
		"its metadata or the types of its tensors are others": {before, before, func(src *memory) {
			src.meta.Set("general.name", "other")
		}},
	} {
		path := filepath.Join(t.TempDir(), "model.gguf")
		src := sample()
		if c.before != nil {
			interrupt(t, path, src, c.before, 3)
		}
		if c.change != nil {
			c.change(src)
		}
		said := ""
		_, err := gguf.Write(t.Context(), path, src, gguf.WriteOptions{Job: c.now, Resume: true, Restart: func(reason string) { said = reason }})
		require.NoError(t, err)
		if reason == "" {
			require.Empty(t, said)
		} else {
			require.Contains(t, said, reason)
		}
		f, err := gguf.Open(path)
		require.NoError(t, err)
		requireSame(t, src, f)
		require.NoError(t, f.Close())
		require.NoFileExists(t, path+".partial")
		require.NoFileExists(t, path+".partial.journal")
	}
}

// changing changes the file that it reads from while it is read.
type changing struct {
	gguf.FileSource
	path string
}

func (s changing) ReadRows(dst []byte, tensor int, first, n int64) error {
	if tensor == 0 && first == 0 {
		if err := os.Chtimes(s.path, time.Time{}, time.Unix(1e9, 0)); err != nil {
			return err
		}
	}
	return s.FileSource.ReadRows(dst, tensor, first, n)
}

// What was made of files that changed meanwhile is not published, and nothing is written
// over what is read.
func TestInputsOfWrite(t *testing.T) {
	paths := write(t, sample(), gguf.WriteOptions{Shards: []int{2, len(sample().tensors) - 2}})
	dir := filepath.Dir(paths[0])
	src, err := gguf.Open(paths[0])
	require.NoError(t, err)
	defer src.Close()
	prefix := filepath.Join(dir, "model.gguf")
	for _, opts := range []gguf.WriteOptions{{Overwrite: true}, {Overwrite: true, Job: job("a")}} {
		_, err := gguf.Write(t.Context(), paths[1], src, opts)
		require.ErrorIs(t, err, files.ErrInput)
		opts.Shards = []int{2, len(src.Tensors()) - 2}
		_, err = gguf.Write(t.Context(), prefix, src, opts)
		require.ErrorIs(t, err, files.ErrInput)
	}
	out := filepath.Join(dir, "out.gguf")
	_, err = gguf.Write(t.Context(), out, src, gguf.WriteOptions{})
	require.NoError(t, err)
	require.NoError(t, os.Remove(out))
	for _, opts := range []gguf.WriteOptions{{}, {Job: job("a")}} {
		_, err = gguf.Write(t.Context(), out, changing{src, paths[1]}, opts)
		require.ErrorIs(t, err, files.ErrChanged)
		require.ErrorContains(t, err, paths[1])
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "nothing is left")
}

// Whatever journal and half of a file lie there, what is written is right, or they stay as
// they are.
func FuzzResume(f *testing.F) {
	src := &memory{meta: gguf.NewMetadata(gguf.KV{Key: "k", Value: "v"})}
	src.add("a", gguf.F32, 8, 3)
	src.add("b", gguf.Q8_0, 32, 2)
	seeds := f.TempDir()
	path := filepath.Join(seeds, "model.gguf")
	for reads := range int32(2) {
		journal, partial := interrupt(f, path, src, job("a"), reads+1)
		f.Add(journal, partial)
		f.Add(bytes.ReplaceAll(journal, []byte("0 0 3"), []byte("9 -1 99999999999")), partial)
		f.Add(journal[:len(journal)-5], partial)
		f.Add(append(journal, "0 0 3 00000000\n0 0 3 ffffffffffff\n"...), partial)
		f.Add([]byte("ggufkit journal 2 {}\n"), partial)
		f.Add([]byte(`ggufkit journal 2 {"header_bytes":-1,"header_sha256":"e3b0"}`+"\n"), []byte{})
	}
	f.Add([]byte{}, []byte("GGUF"))
	f.Add([]byte("ggufkit journal 1: header\n"), []byte{})
	whole := filepath.Join(seeds, "whole.gguf")
	_, err := gguf.Write(context.Background(), whole, src, gguf.WriteOptions{})
	require.NoError(f, err)
	want, err := os.ReadFile(whole)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, journal, partial []byte) {
		path := filepath.Join(t.TempDir(), "model.gguf")
		require.NoError(t, os.WriteFile(path+".partial.journal", journal, 0o666))
		require.NoError(t, os.WriteFile(path+".partial", partial, 0o666))
		_, err := gguf.Write(t.Context(), path, src, gguf.WriteOptions{Job: job("a"), Resume: true, Threads: 1})
		if err != nil {
			require.NoFileExists(t, path)
			for suffix, text := range map[string][]byte{".partial.journal": journal, ".partial": partial} {
				if len(text) == 0 {
					continue
				}
				now, err := os.ReadFile(path + suffix)
				require.NoError(t, err)
				require.True(t, bytes.Equal(text, now))
			}
			return
		}
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	})
}

// Sets of files that contradict each other are errors; what opens can be read.
func FuzzOpenSet(f *testing.F) {
	src := &memory{meta: gguf.NewMetadata(gguf.KV{Key: "k", Value: "v"})}
	for i := range 3 {
		src.add(fmt.Sprint("t", i), gguf.F32, 8, 2)
	}
	dir := f.TempDir()
	paths, err := gguf.Write(context.Background(), filepath.Join(dir, "set.gguf"), src, gguf.WriteOptions{Shards: []int{1, 1, 1}})
	require.NoError(f, err)
	var set [3][]byte
	for i, path := range paths {
		set[i], err = os.ReadFile(path)
		require.NoError(f, err)
	}
	count := []byte("split.count")
	at := bytes.Index(set[0], count) + len(count) + 4
	f.Add(set[0], set[1], set[2])
	f.Add(set[0], set[1], set[1])
	f.Add(set[1], set[0], set[2])
	f.Add(set[0], set[1], []byte{})
	f.Add(set[0][:len(set[0])-1], set[1], set[2])
	for _, n := range []byte{0, 1, 2, 4, 255} {
		other := bytes.Clone(set[0])
		other[at] = n
		f.Add(other, set[1], set[2])
	}
	f.Fuzz(func(t *testing.T, first, second, third []byte) {
		dir := t.TempDir()
		for i, data := range [][]byte{first, second, third} {
			require.NoError(t, os.WriteFile(gguf.SplitPath(filepath.Join(dir, "set"), i, 3), data, 0o666))
		}
		file, err := gguf.Open(gguf.SplitPath(filepath.Join(dir, "set"), 0, 3))
		if err != nil {
			require.ErrorContains(t, err, dir, "it names the file")
			return
		}
		defer file.Close()
		for i, info := range file.Tensors() {
			require.NoError(t, info.Check())
			require.NoError(t, file.ReadRows(make([]byte, info.Bytes()), i, 0, info.Rows()))
		}
	})
}
