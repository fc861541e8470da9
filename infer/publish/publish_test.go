package publish_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer/publish"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// source is a small model that counts how often each row is read.
type source struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	mu      sync.Mutex
	reads   int
	rows    map[string]int
	before  func(read int)
}

func newSource() *source {
	s := &source{rows: make(map[string]int), before: func(int) {}, meta: gguf.NewMetadata(
		gguf.KV{Key: "general.architecture", Value: "llama"},
		gguf.KV{Key: "llama.block_count", Value: uint32(1)},
	)}
	add := func(name string, of gguf.Type, shape ...int64) {
		s.tensors = append(s.tensors, gguf.TensorInfo{Name: name, Type: of, Shape: shape})
	}
	add("token_embd.weight", gguf.BF16, 256, 64)
	add("output.weight", gguf.BF16, 256, 64)
	add("output_norm.weight", gguf.F32, 256)
	for _, name := range []string{"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"} {
		add("blk.0."+name+".weight", gguf.BF16, 256, 32)
	}
	return s
}

func (s *source) Metadata() *gguf.Metadata   { return s.meta }
func (s *source) Tensors() []gguf.TensorInfo { return s.tensors }
func (s *source) ReadRows(dst []byte, tensor int, first, n int64) error {
	t := s.tensors[tensor]
	s.mu.Lock()
	for row := first; row < first+n; row++ {
		s.rows[fmt.Sprint(t.Name, row)]++
	}
	s.reads++
	s.before(s.reads)
	s.mu.Unlock()
	x := make([]float32, n*t.RowLen())
	for i := range x {
		x[i] = float32(math.Sin(float64(len(t.Name)) + float64(first*t.RowLen()+int64(i))))
	}
	return quant.Quantize(t.Type, dst, x, int(t.RowLen()), nil)
}

var some = []recipe.FileType{recipe.BF16, recipe.Q8_0, recipe.Q4_K_M, recipe.Q4_K_S, recipe.Q2_K}

func newSet(t testing.TB, src gguf.Source, opts publish.Options, types ...recipe.FileType) *publish.Set {
	if opts.Facts == nil {
		opts.Facts = []gguf.Fact{{What: "model", Is: "a"}}
	}
	set, err := publish.NewSet("m", src, types, opts)
	require.NoError(t, err)
	return set
}

// run makes the files of a set in a directory, as a command does.
func run(ctx context.Context, dir string, set *publish.Set, overwrite bool) error {
	folder, err := publish.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := set.Look(ctx, folder, overwrite); err != nil {
		return err
	}
	if err := set.Write(ctx, folder, gguf.WriteOptions{Threads: 1}); err != nil {
		return err
	}
	return folder.Put(ctx, "SHA256SUMS", []byte(folder.Sums(set.Names())), nil, overwrite)
}

// contents returns what is in a directory.
func contents(t testing.TB, dir string) map[string]string {
	found := make(map[string]string)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		found[e.Name()] = string(data)
	}
	return found
}

func TestSet(t *testing.T) {
	src := newSource()
	dir := filepath.Join(t.TempDir(), "out")
	require.NoError(t, run(t.Context(), dir, newSet(t, src, publish.Options{}, some...), false))
	for row, n := range src.rows {
		require.Equal(t, 1, n, row)
	}
	found := contents(t, dir)
	require.Len(t, found, len(some)+2)
	var sums strings.Builder
	for _, ft := range some {
		view, err := quant.NewView(src, ft, quant.ViewOptions{})
		require.NoError(t, err)
		alone := filepath.Join(t.TempDir(), "alone.gguf")
		_, err = gguf.Write(t.Context(), alone, view, gguf.WriteOptions{})
		require.NoError(t, err)
		data, err := os.ReadFile(alone)
		require.NoError(t, err)
		name := fmt.Sprintf("m-%s.gguf", ft)
		require.True(t, found[name] == string(data), name)
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(data), name)
	}
	require.Equal(t, sums.String(), found["SHA256SUMS"])

	// A second run reads nothing; one for more makes what is missing.
	before := src.reads
	require.NoError(t, run(t.Context(), dir, newSet(t, src, publish.Options{}, some...), false))
	require.Equal(t, before, src.reads)
	require.Equal(t, found, contents(t, dir))
	require.NoError(t, os.Remove(filepath.Join(dir, "m-Q8_0.gguf")))
	require.NoError(t, run(t.Context(), dir, newSet(t, src, publish.Options{}, append(slices.Clone(some), recipe.Q6_K)...), false))
	after := contents(t, dir)
	require.Contains(t, after, "m-Q6_K.gguf")
	for name, data := range found {
		if strings.HasSuffix(name, ".gguf") {
			require.True(t, after[name] == data, name)
		}
	}
}

// Whenever the work ends, a later run has the same files.
func TestSetIsResumed(t *testing.T) {
	whole := newSource()
	some := []recipe.FileType{recipe.BF16, recipe.Q4_K_M, recipe.Q4_K_S}
	for _, opts := range []publish.Options{{}, {MaxBytes: 60_000}} {
		whole.reads = 0
		want := t.TempDir()
		require.NoError(t, run(t.Context(), want, newSet(t, whole, opts, some...), false))
		for end := 1; end <= whole.reads; end++ {
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			src := newSource()
			src.before = func(read int) {
				if read == end {
					cancel()
				}
			}
			require.ErrorIs(t, run(ctx, dir, newSet(t, src, opts, some...), false), context.Canceled)
			src.before = func(int) {}
			require.NoError(t, run(t.Context(), dir, newSet(t, src, opts, some...), false))
			require.Equal(t, contents(t, want), contents(t, dir))
		}
	}
}

// A run that is killed while files get their names leaves some with theirs, and journals; a set of split files may have a part of it.
func TestKilledWhileFilesGetTheirNames(t *testing.T) {
	for _, opts := range []publish.Options{{}, {MaxBytes: 20_000}} {
		dir := t.TempDir()
		src := newSource()
		require.NoError(t, run(t.Context(), dir, newSet(t, src, opts, some...), false))
		want := contents(t, dir)
		models := slices.DeleteFunc(slices.Sorted(maps.Keys(want)), func(name string) bool { return !strings.HasSuffix(name, ".gguf") })
		for i, name := range models {
			path := filepath.Join(dir, name)
			if i%2 == 0 {
				require.NoError(t, os.WriteFile(path+".partial.journal", []byte("ggufkit journal 2 {}\n"), 0o666))
			} else {
				require.NoError(t, os.Remove(path))
			}
		}
		require.NoError(t, os.Remove(filepath.Join(dir, "SHA256SUMS")))
		require.NoError(t, run(t.Context(), dir, newSet(t, src, opts, some...), false))
		got := contents(t, dir)
		for name := range want {
			require.True(t, name == ".ggufkit-publish.json" || want[name] == got[name], name)
		}
		require.Len(t, got, len(want))
	}
}

// What was not made here stays, unless the caller says otherwise; what was made with other arguments is said.
func TestSetRefuses(t *testing.T) {
	dir := t.TempDir()
	src := newSource()
	foreign := filepath.Join(dir, "m-Q8_0.gguf")
	require.NoError(t, os.WriteFile(foreign, []byte("somebody's"), 0o666))
	require.ErrorIs(t, run(t.Context(), dir, newSet(t, src, publish.Options{}, some...), false), publish.ErrForeign)
	require.Zero(t, src.reads)
	require.Equal(t, map[string]string{"m-Q8_0.gguf": "somebody's"}, contents(t, dir))
	require.NoError(t, run(t.Context(), dir, newSet(t, src, publish.Options{}, some...), true))
	want := contents(t, dir)

	other := publish.Options{Facts: []gguf.Fact{{What: "model", Is: "b"}}}
	err := run(t.Context(), dir, newSet(t, src, other, some...), false)
	require.ErrorIs(t, err, publish.ErrOther)
	require.ErrorContains(t, err, "model: it was a, now it is b")
	require.Equal(t, want, contents(t, dir))
	require.NoError(t, run(t.Context(), dir, newSet(t, src, other, some...), true))

	// A card that somebody has written on.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte("mine"), 0o666))
	require.ErrorIs(t, run(t.Context(), dir, newSet(t, src, other, some[:2]...), false), publish.ErrForeign)
	require.Equal(t, "mine", contents(t, dir)["SHA256SUMS"])

	// Somebody else at work.
	folder, err := publish.Open(dir)
	require.NoError(t, err)
	_, err = publish.Open(dir)
	require.ErrorIs(t, err, files.ErrLocked)
	require.NoError(t, folder.Close())

	// A directory stays if there is something in it.
	for name, there := range map[string]bool{"a": false, "b": true} {
		dir := filepath.Join(t.TempDir(), name)
		folder, err := publish.Open(dir)
		require.NoError(t, err)
		if there {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "x"), nil, 0o666))
		}
		require.NoError(t, folder.Close())
		_, err = os.Stat(dir)
		require.Equal(t, there, err == nil)
	}
}

func TestTypesThatAreLeftOut(t *testing.T) {
	opts := publish.Options{Optional: publish.Standard}
	set := newSet(t, newSource(), opts, publish.Standard...)
	require.Equal(t, []string{"left out, since there is no importance matrix: IQ3_XS, IQ3_XXS, IQ2_M, IQ2_S"}, set.Left)
	require.Equal(t, set.Left, set.Notes()[:1])
	require.Len(t, set.Files, len(publish.Standard)-4)
	_, err := publish.NewSet("m", newSource(), []recipe.FileType{recipe.Q8_0, recipe.IQ2_S}, publish.Options{})
	require.ErrorIs(t, err, recipe.ErrNeedsImatrix)
	_, err = publish.NewSet("m", newSource(), []recipe.FileType{recipe.IQ2_S}, opts)
	require.ErrorContains(t, err, "no type is left")
}

// Room counts what an interrupted run has taken of the disk already.
func TestRoom(t *testing.T) {
	dir := t.TempDir()
	src := newSource()
	ctx, cancel := context.WithCancel(t.Context())
	src.before = func(read int) {
		if read == 5 {
			cancel()
		}
	}
	set := newSet(t, src, publish.Options{}, some...)
	all := int64(0)
	for _, f := range set.Files {
		all += f.Bytes
	}
	folder, err := publish.Look(dir)
	require.NoError(t, err)
	require.Equal(t, all, set.Room(folder))
	require.ErrorIs(t, run(ctx, dir, set, false), context.Canceled)
	require.Zero(t, set.Room(folder))
}

func TestNameOf(t *testing.T) {
	meta := gguf.NewMetadata(gguf.KV{Key: "general.name", Value: "A Model, v2"})
	for path, want := range map[string]string{
		"/models/Mistral-7B-Instruct-v0.3":                   "Mistral-7B-Instruct-v0.3",
		"/models/Mistral-7B-v0.3/":                           "Mistral-7B-v0.3",
		"a/Qwen3-8B-BF16.gguf":                               "Qwen3-8B",
		"a/qwen3.f16.gguf":                                   "qwen3",
		"a/Qwen3-8B-Q4_K_M-00001-of-00003.gguf":              "Qwen3-8B",
		"a/model-7.gguf":                                     "model-7",
		"moe.yaml":                                           "moe",
		"snapshots/0123456789abcdef0123456789abcdef01234567": "A-Model-v2",
		"a/weird name;$(x).gguf":                             "weird-name-x",
		"hf://org/Qwen3-8B@main":                             "Qwen3-8B",
		"hf://org/Qwen3-8B@refs/pr/1/Qwen3-8B-BF16.gguf":     "Qwen3-8B",
		"a/..gguf": "model",
	} {
		name := publish.NameOf(path, meta)
		require.Equal(t, want, name, path)
		require.True(t, publish.IsName(name))
	}
	for _, name := range []string{"", ".hidden", "../up", "a/b", "a b", "new\nline"} {
		require.False(t, publish.IsName(name), name)
	}
}

// A record that somebody else has made leads nowhere out of the directory.
func TestHostileRecords(t *testing.T) {
	for text, want := range map[string]error{
		"{": gguf.ErrCorrupt, `{"version": 2}`: gguf.ErrUnsupported, `[]`: gguf.ErrCorrupt,
		`{"version": 1, "files": {"../x": {}}}`: gguf.ErrCorrupt,
		`{"version": 1, "files": {"a/b": {}}}`:  gguf.ErrCorrupt,
		`{"version": 1, "files": {"a\\b": {}}}`: gguf.ErrCorrupt,
		`{"version": 1, "files": {"": {}}}`:     gguf.ErrCorrupt,
		`{"version": 1, "files": {"..": {}}}`:   gguf.ErrCorrupt,
		`{"version": 1, "files": {"a": "b"}}`:   gguf.ErrCorrupt,
		`{"version": 1, "files": {"a": {}}}`:    nil,
		`{"version": 1, "files": null}`:         nil,
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".ggufkit-publish.json"), []byte(text), 0o666))
		folder, err := publish.Look(dir)
		if want == nil {
			require.NoError(t, err, text)
			state, _, err := folder.State(t.Context(), "a", nil)
			require.NoError(t, err)
			require.Equal(t, publish.Absent, state)
			require.NoError(t, folder.Put(t.Context(), "a", []byte("a"), nil, false))
			continue
		}
		require.True(t, errors.Is(err, want), "%s: %v", text, err)
	}
}
