package moe_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// tree returns the files below dir by their paths, with what they hold.
func tree(t *testing.T, dir string) map[string]string {
	files := make(map[string]string)
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		require.NoError(t, err)
		data, err := os.ReadFile(path)
		files[name] = string(data)
		return err
	}))
	return files
}

// What is replaced is what a merge wrote; everything else in the directory stays.
func TestWriteReplacesOnlyMerges(t *testing.T) {
	dir := workshop(t)
	m, err := merge(t, dir, recipe, moe.Options{})
	require.NoError(t, err)
	fresh := filepath.Join(dir, "fresh")
	require.NoError(t, m.Write(t.Context(), fresh, moe.WriteOptions{}))
	whole := tree(t, fresh)

	foreign := map[string]string{"thesis.txt": "thesis", "sub/key": "key", "pytorch_model.bin": "weights", "model.gguf": "GGUF",
		"model-final.safetensors": "mine", ".hidden": "x"}
	for name, c := range map[string]struct {
		before map[string]string
		stays  bool // and the merge is refused
	}{
		"an empty directory":               {map[string]string{}, false},
		"foreign files":                    {foreign, false},
		"an older merge":                   {map[string]string{"config.json": "old", "mergekit_moe_config.yml": "old", "README.md": "old", "merges.txt": "old", "model-00001-of-00002.safetensors": "old", "model-00002-of-00002.safetensors": "old", "model.safetensors.index.json": "old"}, false},
		"another model":                    {map[string]string{"config.json": "mine", "model.safetensors": "mine"}, true},
		"a README of something else":       {map[string]string{"README.md": "mine"}, true},
		"a tokenizer that somebody trains": {map[string]string{"tokenizer.json": "mine", "corpus.txt": "mine"}, true},
		"a directory called as a file":     {map[string]string{"config.json/x": "mine", "mergekit_moe_config.yml": "old"}, true},
	} {
		out := filepath.Join(t.TempDir(), "out")
		require.NoError(t, os.Mkdir(out, 0o750))
		for _, files := range []map[string]string{c.before, foreign} {
			for name, text := range files {
				path := filepath.Join(out, name)
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
				require.NoError(t, os.WriteFile(path, []byte(text), 0o666))
			}
		}
		before := tree(t, out)
		require.ErrorIs(t, m.Write(t.Context(), out, moe.WriteOptions{}), fs.ErrExist, name)
		require.Equal(t, before, tree(t, out))

		err := m.Write(t.Context(), out, moe.WriteOptions{Overwrite: true})
		if c.stays {
			require.Error(t, err, name)
			require.Equal(t, before, tree(t, out), name)
			continue
		}
		require.NoError(t, err, name)
		want := make(map[string]string)
		for _, files := range []map[string]string{foreign, whole} {
			for name, text := range files {
				want[name] = text
			}
		}
		require.Equal(t, want, tree(t, out), name)
		info, err := os.Stat(out)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o750), info.Mode().Perm())
	}
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("mine"), 0o666))
	for _, overwrite := range []bool{false, true} {
		require.ErrorContains(t, m.Write(t.Context(), file, moe.WriteOptions{Overwrite: overwrite}), "no directory")
		require.ErrorIs(t, m.Write(t.Context(), filepath.Join(dir, "missing", "out"), moe.WriteOptions{Overwrite: overwrite}), fs.ErrNotExist)
	}
	require.Equal(t, map[string]string{"file": "mine"}, tree(t, filepath.Dir(file)))
}

// A merge that fails or is interrupted leaves the older one as it was, and nothing else.
func TestWriteKeepsTheOlderMerge(t *testing.T) {
	dir := workshop(t)
	m, err := merge(t, dir, recipe, moe.Options{})
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, m.Write(t.Context(), out, moe.WriteOptions{}))
	before := tree(t, filepath.Dir(out))

	ctx, cancel := context.WithCancel(t.Context())
	err = m.Write(ctx, out, moe.WriteOptions{Overwrite: true, Progress: func(done, total int64) {
		if done > total/2 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, before, tree(t, filepath.Dir(out)))

	donor := filepath.Join(dir, "one", "model.safetensors")
	err = m.Write(t.Context(), out, moe.WriteOptions{Overwrite: true, Progress: func(done, total int64) {
		if done == total {
			data, err := os.ReadFile(donor)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(donor+".new", data, 0o666))
			require.NoError(t, os.Rename(donor+".new", donor))
		}
	}})
	require.ErrorIs(t, err, files.ErrChanged)
	require.Equal(t, before, tree(t, filepath.Dir(out)))

	// What a killed merge has left is removed: its new files, and old ones that it had moved aside.
	m, err = merge(t, dir, recipe, moe.Options{})
	require.NoError(t, err)
	for _, left := range []string{".merge-new.tmp-0123456789abcdef", ".merge-old.tmp-0123456789abcdef"} {
		require.NoError(t, os.Mkdir(filepath.Join(out, left), 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(out, left, "config.json"), nil, 0o666))
	}
	require.NoError(t, os.Remove(filepath.Join(out, "config.json")))
	require.NoError(t, os.Chmod(filepath.Join(out, "model.safetensors"), 0o600))
	require.NoError(t, m.Write(t.Context(), out, moe.WriteOptions{Overwrite: true}))
	info, err := os.Stat(filepath.Join(out, "model.safetensors"))
	require.NoError(t, err)
	if runtime.GOOS != "windows" { // which has no such modes
		require.Equal(t, fs.FileMode(0o600), info.Mode())
	}
	after := tree(t, filepath.Dir(out))
	for name := range after {
		require.False(t, strings.Contains(name, ".tmp-"), "%s", name)
	}
	require.Equal(t, before, after)
}
