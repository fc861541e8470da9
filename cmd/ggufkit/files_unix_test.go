//go:build unix

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// ggufkit runs a command, and returns its exit code and what it prints.
func ggufkit(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(append([]string{"ggufkit"}, args...), &out, &err)
	return code, out.String(), err.String()
}

// linkAll makes a directory with links to all files of another.
func linkAll(t *testing.T, from string) string {
	dir := t.TempDir()
	entries, err := os.ReadDir(from)
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, os.Symlink(filepath.Join(from, e.Name()), filepath.Join(dir, e.Name())))
	}
	return dir
}

// A FIFO that nobody writes to is never waited for, nor is a directory read: whatever
// file it stands for.
func TestSpecialFilesAreRefused(t *testing.T) {
	t.Parallel()
	moe := reference.MoE(t)
	sideFiles := []string{
		"README.md", "added_tokens.json", "chat_template.jinja", "chat_template.json", "generation_config.json", "merges.txt",
		"model.safetensors.index.json", "special_tokens_map.json", "vocab.json", "additional_chat_templates/rag.jinja",
	}
	needed, err := os.ReadDir(moe)
	require.NoError(t, err)
	kinds := map[string]func(path string) error{
		"FIFO":      func(path string) error { return syscall.Mkfifo(path, 0o666) },
		"directory": func(path string) error { return os.Mkdir(path, 0o777) },
	}
	for kind, create := range kinds {
		for _, e := range needed {
			dir := linkAll(t, moe)
			path := filepath.Join(dir, e.Name())
			require.NoError(t, os.Remove(path))
			require.NoError(t, create(path))
			code, _, stderr := ggufkit("inspect", dir)
			if !slices.Contains(sideFiles, e.Name()) {
				require.Equal(t, exitFailed, code, "%s as %s", kind, e.Name())
				require.Contains(t, stderr, path)
				require.Contains(t, stderr, kind)
			}
		}
		for _, name := range sideFiles {
			dir := linkAll(t, moe)
			path := filepath.Join(dir, name)
			_ = os.Remove(path)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
			require.NoError(t, create(path))
			ggufkit("convert", dir, filepath.Join(dir, "out.gguf"), "--dry-run") // which does not need all of them
		}

		special := filepath.Join(t.TempDir(), "special.yaml")
		require.NoError(t, create(special))
		model := filepath.Join(t.TempDir(), "model-00001-of-00002.gguf")
		code, _, stderr := ggufkit("convert", moe, filepath.Join(filepath.Dir(model), "model.gguf"), "--split-max-size", "2M", "--quiet")
		require.Equal(t, exitDone, code, stderr)
		files, err := filepath.Glob(filepath.Join(filepath.Dir(model), "*.gguf"))
		require.NoError(t, err)
		require.NoError(t, os.Remove(files[1]))
		require.NoError(t, create(files[1]))
		text := filepath.Join("..", "..", "testdata", "texts", "story.txt")
		for _, args := range [][]string{
			{"inspect", special},
			{"hash", files[1]},
			{"perplexity", files[0], "-f", text},
			{"merge", special, filepath.Join(t.TempDir(), "merged")},
			{"quantize", moe, filepath.Join(t.TempDir(), "out.gguf"), "Q8_0", "--imatrix", special},
			{"quantize", moe, filepath.Join(t.TempDir(), "out.gguf"), "Q8_0", "--tensor-type-file", special},
			{"imatrix", moe, "-f", text, "-o", filepath.Join(t.TempDir(), "out.gguf"), "--in-file", special},
			{"drift", moe, "-f", text, "--candidate", special},
			{"moe", "doctor", moe, "-f", text, "--donor", special},
		} {
			code, _, stderr := ggufkit(args...)
			require.Contains(t, []int{exitFailed, exitUsage}, code, "%v with a %s", args, kind)
			require.Contains(t, stderr, kind, "%v", args)
		}
	}
}

// Devices, FIFOs, sockets and directories are never replaced, not by --force, and the
// message does not ask for it.
func TestSpecialFilesAreNotReplaced(t *testing.T) {
	t.Parallel()
	moe := reference.MoE(t)
	dir := t.TempDir()
	text := filepath.Join("..", "..", "testdata", "texts", "story.txt")
	fifo, directory := filepath.Join(dir, "fifo.gguf"), filepath.Join(dir, "directory.gguf")
	socket, loose := filepath.Join(dir, "socket.gguf"), filepath.Join(dir, "loose.gguf")
	require.NoError(t, syscall.Mkfifo(fifo, 0o666))
	require.NoError(t, os.Mkdir(directory, 0o777))
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer syscall.Close(fd)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: socket}))
	require.NoError(t, os.Symlink("nowhere", loose))
	linked := filepath.Join(dir, "linked.gguf")
	require.NoError(t, os.Symlink("fifo.gguf", linked))

	for path, what := range map[string]string{fifo: "a FIFO", linked: "a FIFO", directory: "a directory", socket: "a socket", loose: "leads nowhere"} {
		before, err := os.Lstat(path)
		require.NoError(t, err)
		for _, args := range [][]string{
			{"convert", moe, path},
			{"quantize", moe, path, "Q8_0"},
			{"imatrix", moe, "-f", text, "-o", path},
			{"drift", moe, "-f", text, "--html", path},
			{"drift", moe, "-f", text, "--markdown", path},
			{"choose", moe, "-f", text, "--max-kld", "1", "--recipe", path},
			{"moe", "doctor", moe, "--html", path},
		} {
			for _, args := range [][]string{args, append(args, "--force")} {
				code, stdout, stderr := ggufkit(args...)
				require.Equal(t, exitFailed, code, "%v", args)
				require.Empty(t, stdout)
				require.Contains(t, stderr, what)
				require.NotContains(t, stderr, "--force")
			}
		}
		after, err := os.Lstat(path)
		require.NoError(t, err)
		require.True(t, os.SameFile(before, after))
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 5, "nothing is left")
}

// What a command reads it does not write, by whatever name, not with --force.
func TestInputsAreNotReplaced(t *testing.T) {
	t.Parallel()
	moe := reference.MoE(t)
	work := t.TempDir()
	model := filepath.Join(work, "model.gguf")
	code, _, stderr := ggufkit("convert", moe, model, "--quiet")
	require.Equal(t, exitDone, code, stderr)
	code, _, stderr = ggufkit("convert", moe, filepath.Join(work, "set.gguf"), "--split-max-size", "2M", "--quiet")
	require.Equal(t, exitDone, code, stderr)
	set, err := filepath.Glob(filepath.Join(work, "set-*.gguf"))
	require.NoError(t, err)
	require.Greater(t, len(set), 2)
	story, err := os.ReadFile(filepath.Join("..", "..", "testdata", "texts", "story.txt"))
	require.NoError(t, err)
	text := filepath.Join(work, "text.gguf") // a name that an output could have
	require.NoError(t, os.WriteFile(text, story, 0o666))
	importance := filepath.Join(work, "imatrix.gguf")
	code, _, stderr = ggufkit("imatrix", model, "-f", text, "--ctx", "64", "--chunks", "1", "-o", importance, "--quiet")
	require.Equal(t, exitDone, code, stderr)
	readme := filepath.Join(moe, "config.json")

	spellings := func(path string) map[string]string {
		hard, soft := path+".hard.gguf", path+".soft.gguf"
		require.NoError(t, os.Link(path, hard))
		require.NoError(t, os.Symlink(path, soft))
		return map[string]string{"itself": path, "spelled otherwise": filepath.Dir(path) + "/../" + filepath.Base(filepath.Dir(path)) + "//" +
			filepath.Base(path), "hard link": hard, "symbolic link": soft}
	}
	for _, c := range []struct {
		input string
		args  func(out string) []string
	}{
		{model, func(out string) []string { return []string{"quantize", model, out, "Q8_0"} }},
		{set[0], func(out string) []string { return []string{"quantize", set[0], out, "Q8_0"} }},
		{set[1], func(out string) []string { return []string{"quantize", set[0], out, "Q8_0"} }},
		{importance, func(out string) []string { return []string{"quantize", model, out, "Q8_0", "--imatrix", importance} }},
		{importance, func(out string) []string {
			return []string{"convert", moe, out, "--type", "Q8_0", "--imatrix", importance}
		}},
		{text, func(out string) []string { return []string{"imatrix", model, "-f", text, "-o", out} }},
		{importance, func(out string) []string {
			return []string{"imatrix", model, "-f", text, "--in-file", importance, "-o", out}
		}},
		{model, func(out string) []string { return []string{"imatrix", model, "-f", text, "-o", out} }},
		{text, func(out string) []string { return []string{"drift", model, "-f", text, "--html", out} }},
		{model, func(out string) []string { return []string{"drift", model, "-f", text, "--markdown", out} }},
		{set[1], func(out string) []string {
			return []string{"drift", model, "-f", text, "--candidate", set[0], "--html", out}
		}},
		{readme, func(out string) []string { return []string{"drift", moe, "-f", text, "--markdown", out} }},
		{text, func(out string) []string {
			return []string{"choose", model, "-f", text, "--max-kld", "1", "--recipe", out}
		}},
		{model, func(out string) []string { return []string{"moe", "doctor", model, "--html", out} }},
	} {
		before, err := os.ReadFile(c.input)
		require.NoError(t, err)
		for how, out := range spellings(c.input) {
			for _, args := range [][]string{c.args(out), append(c.args(out), "--force")} {
				code, stdout, stderr := ggufkit(args...)
				require.Equal(t, exitFailed, code, "%s: %v", how, args)
				require.Empty(t, stdout, "%s: %v", how, args)
				require.Contains(t, stderr, "it is read, so it cannot be written", "%s: %v", how, args)
			}
		}
		after, err := os.ReadFile(c.input)
		require.NoError(t, err)
		require.True(t, bytes.Equal(before, after))
		for _, suffix := range []string{".hard.gguf", ".soft.gguf"} {
			require.NoError(t, os.Remove(c.input+suffix))
		}
	}
	// Shards that would be written are checked one by one.
	prefix := filepath.Join(work, "set.gguf")
	code, _, stderr = ggufkit("quantize", set[0], prefix, "Q8_0", "--keep-split", "--force")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "it is read, so it cannot be written")
}

// A link as an output stays one: what it leads to is written, and only with --force
// replaced. A file that is replaced keeps its mode.
func TestOutputsThroughLinks(t *testing.T) {
	t.Parallel()
	moe := reference.MoE(t)
	dir := t.TempDir()
	target, link := filepath.Join(dir, "there", "target.gguf"), filepath.Join(dir, "link.gguf")
	require.NoError(t, os.Mkdir(filepath.Dir(target), 0o777))
	require.NoError(t, os.WriteFile(target, []byte("old"), 0o640))
	require.NoError(t, os.Chmod(target, 0o640))
	require.NoError(t, os.Symlink(filepath.Join("there", "target.gguf"), link))
	code, _, stderr := ggufkit("quantize", moe, link, "Q8_0", "--quiet")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "use --force")
	for _, command := range [][]string{{"quantize", moe, link, "Q8_0"}, {"convert", moe, link}} {
		code, _, stderr = ggufkit(append(command, "--force", "--quiet")...)
		require.Equal(t, exitDone, code, stderr)
		info, err := os.Lstat(link)
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&os.ModeSymlink)
		info, err = os.Lstat(target)
		require.NoError(t, err)
		require.Greater(t, info.Size(), int64(1000))
		require.Equal(t, os.FileMode(0o640), info.Mode())
	}
	entries, err := os.ReadDir(filepath.Dir(target))
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// What --resume continues depends on what the input is, not on how it is spelled.
func TestJobIsTheSameByEveryPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "model.gguf")
	code, _, stderr := ggufkit("convert", reference.MoE(t), path, "--quiet")
	require.Equal(t, exitDone, code, stderr)
	require.NoError(t, os.Symlink("model.gguf", filepath.Join(dir, "link.gguf")))
	job := func(path string) []gguf.Fact {
		f, err := gguf.Open(path)
		require.NoError(t, err)
		defer f.Close()
		view, err := quant.NewView(f, recipe.Q8_0, quant.ViewOptions{})
		require.NoError(t, err)
		facts, err := quantizeFlags{}.job(view, path)
		require.NoError(t, err)
		return facts
	}
	before := job(path)
	for _, other := range []string{filepath.Join(dir, "link.gguf"), dir + "/../" + filepath.Base(dir) + "//model.gguf"} {
		require.Equal(t, before, job(other))
	}
	require.NoError(t, os.Chtimes(path, time.Time{}, time.Unix(1e9, 0)))
	after := job(path)
	require.NotEqual(t, before, after)
	require.Equal(t, before[:len(before)-1], after[:len(after)-1])
}
