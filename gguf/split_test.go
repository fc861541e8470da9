package gguf_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/gguf"
)

// splitInputs are the files that testdata/split/record.py has llama-gguf-split cut.
func splitInputs() map[string]*memory {
	plain := &memory{meta: gguf.NewMetadata(
		gguf.KV{Key: "general.architecture", Value: "llama"},
		gguf.KV{Key: "llama.block_count", Value: uint32(2)},
	)}
	for i, n := range []int64{33, 64, 5, 96, 1, 300_000, 200_000, 50_000, 7} {
		plain.add(fmt.Sprintf("blk.%d.t.weight", i), gguf.F16, n, 3)
	}
	plain.add("blk.9.one", gguf.F32, 32, 1, 1)
	plain.add("blk.9.three", gguf.F32, 8, 1, 3)
	plain.add("blk.9.q", gguf.Q4_K, 512, 9)
	aligned := &memory{meta: plain.meta.Clone(), tensors: plain.tensors, data: plain.data}
	aligned.meta.Set("general.alignment", uint32(64))
	heavy := sample()
	heavy.meta.Set("strings", []string{"a", "", "ü"}) // llama-gguf-split cuts what has a zero
	tokens := make([]string, 3000)
	for i := range tokens {
		tokens[i] = fmt.Sprintf("▁token %d", i)
	}
	heavy.meta.Set("tokenizer.ggml.tokens", tokens)
	heavy.tensors, heavy.data = heavy.tensors[:3], heavy.data[:3] // ggml has tensors of one dimension at least
	joined := &memory{meta: plain.meta.Clone(), tensors: plain.tensors[:4], data: plain.data[:4]}
	joined.meta.Set("split.no", uint16(0))
	joined.meta.Set("split.count", uint16(0))
	joined.meta.Set("split.tensors.count", int32(4))
	joined.meta.Set("general.name", "joined before")
	return map[string]*memory{"plain": plain, "aligned": aligned, "heavy": heavy, "joined": joined}
}

// splitCase is what llama-gguf-split made of an input.
type splitCase struct {
	Input string
	Args  []string
	// Files are the SHA-256 of the files that it wrote.
	Files []string
	// Merged is that of the file that it joined them to again.
	Merged string
}

func (c splitCase) options(t *testing.T) (opts gguf.SplitOptions) {
	for i := 0; i < len(c.Args); i++ {
		switch c.Args[i] {
		case "--no-tensor-first-split":
			opts.EmptyFirst = true
		case "--split-max-tensors":
			i++
			_, err := fmt.Sscanf(c.Args[i], "%d", &opts.MaxTensors)
			require.NoError(t, err)
		case "--split-max-size":
			i++
			_, err := fmt.Sscanf(c.Args[i], "%dM", &opts.MaxBytes)
			require.NoError(t, err)
			opts.MaxBytes *= 1e6
		}
	}
	return opts
}

// Splitting and joining gives the bytes of llama-gguf-split, but where its files are corrupt: it
// aligns to 32 whatever the metadata say, so that no reader finds the tensors of the file that has these.
// GGUFKIT_TEST_INPUTS names a directory to leave the inputs in, for record.py.
func TestSplitAsLlamaCpp(t *testing.T) {
	content, err := os.ReadFile("testdata/split/expected.json")
	require.NoError(t, err)
	var cases []splitCase
	require.NoError(t, json.Unmarshal(content, &cases))
	require.NotEmpty(t, cases)
	inputs := os.Getenv("GGUFKIT_TEST_INPUTS")
	if inputs == "" {
		inputs = t.TempDir()
	}
	for name, src := range splitInputs() {
		_, err := gguf.Write(t.Context(), filepath.Join(inputs, name+".gguf"), src, gguf.WriteOptions{Overwrite: true})
		require.NoError(t, err)
	}
	for _, c := range cases {
		t.Run(c.Input+" "+strings.Join(c.Args, " "), func(t *testing.T) {
			in, err := gguf.Open(filepath.Join(inputs, c.Input+".gguf"))
			require.NoError(t, err)
			defer in.Close()
			dir := t.TempDir()
			splitting, err := gguf.Split(in, filepath.Join(dir, "out"), c.options(t))
			require.NoError(t, err)
			paths, err := splitting.Write(t.Context(), gguf.WriteOptions{})
			require.NoError(t, err)
			require.Len(t, paths, len(c.Files))
			planned, err := splitting.Files()
			require.NoError(t, err)
			corrupt := c.Input == "aligned" && planned[0].Tensors > 0
			for i, path := range paths {
				content, err := os.ReadFile(path)
				require.NoError(t, err)
				require.Equal(t, planned[i].Bytes, int64(len(content)))
				if i > 0 || !corrupt {
					require.Equal(t, c.Files[i], fmt.Sprintf("%x", sha256.Sum256(content)), path)
				}
			}
			set, err := gguf.OpenSet(paths[len(paths)-1])
			require.NoError(t, err)
			defer set.Close()
			merged := filepath.Join(dir, "merged.gguf")
			_, err = gguf.Write(t.Context(), merged, set.Join(), gguf.WriteOptions{})
			require.NoError(t, err)
			if c.Input != "aligned" {
				content, err = os.ReadFile(merged)
				require.NoError(t, err)
				require.Equal(t, c.Merged, fmt.Sprintf("%x", sha256.Sum256(content)))
			}
			_, err = gguf.OpenSet(merged)
			require.ErrorIs(t, err, gguf.ErrNotSplit)
		})
	}
}

// What is joined after it was split is the file that it was, however it was cut.
func TestJoinUndoesSplit(t *testing.T) {
	type cut struct {
		src   *memory
		opts  gguf.SplitOptions
		named int // the file by which the set is opened, in thousandths
	}
	cuts := rapid.Custom(func(t *rapid.T) cut {
		c := cut{src: &memory{meta: gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: "llama"})}}
		if alignment := rapid.SampledFrom([]uint32{0, 8, 16, 32, 64, 256}).Draw(t, "alignment"); alignment > 0 {
			c.src.meta.Set("general.alignment", alignment)
		}
		c.src.meta.Set("general.name", rapid.String().Draw(t, "name"))
		for i, n := range rapid.SliceOfN(rapid.Int64Range(2, 500), 0, 8).Draw(t, "rows") {
			c.src.add(fmt.Sprintf("t%d", i), rapid.SampledFrom([]gguf.Type{gguf.F32, gguf.F16, gguf.I8, gguf.Q8_0}).Draw(t, "type"), 32, n)
		}
		c.opts.EmptyFirst = rapid.Bool().Draw(t, "empty first")
		if rapid.Bool().Draw(t, "by size") {
			c.opts.MaxBytes = rapid.Int64Range(1, 100_000).Draw(t, "bytes")
		} else {
			c.opts.MaxTensors = rapid.IntRange(1, 9).Draw(t, "tensors")
		}
		c.named = rapid.IntRange(0, 999).Draw(t, "named")
		return c
	})
	for seed := range 20 { // each syncs many files
		c := cuts.Example(seed)
		dir := t.TempDir()
		in, out := filepath.Join(dir, "in.gguf"), filepath.Join(dir, "out.gguf")
		_, err := gguf.Write(t.Context(), in, c.src, gguf.WriteOptions{})
		require.NoError(t, err)
		splitting, err := gguf.Split(c.src, filepath.Join(dir, "part"), c.opts)
		require.NoError(t, err)
		paths, err := splitting.Write(t.Context(), gguf.WriteOptions{})
		require.NoError(t, err)
		for _, path := range paths { // each is whole by itself
			f, err := gguf.OpenAlone(path)
			require.NoError(t, err)
			if c.opts.MaxBytes > 0 && len(f.Tensors()) > 1 {
				bytes := int64(0)
				for _, tensor := range f.Tensors() {
					bytes += tensor.Bytes()
				}
				require.LessOrEqual(t, bytes, c.opts.MaxBytes)
			}
			if c.opts.MaxTensors > 0 {
				require.LessOrEqual(t, len(f.Tensors()), c.opts.MaxTensors)
			}
			require.NoError(t, f.Close())
		}
		set, err := gguf.OpenSet(paths[c.named*len(paths)/1000])
		require.NoError(t, err)
		_, err = gguf.Write(t.Context(), out, set, gguf.WriteOptions{})
		require.NoError(t, err)
		require.NoError(t, set.Close())
		want, err := os.ReadFile(in)
		require.NoError(t, err)
		got, err := os.ReadFile(out)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// No file of the set takes the place of one that is read, and no set is begun that cannot be whole.
func TestSplitKeepsItsInput(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "m-00001-of-00002.gguf")
	_, err := gguf.Write(t.Context(), in, sample(), gguf.WriteOptions{})
	require.NoError(t, err)
	before, err := os.ReadFile(in)
	require.NoError(t, err)
	f, err := gguf.OpenAlone(in)
	require.NoError(t, err)
	defer f.Close()
	splitting, err := gguf.Split(f, filepath.Join(dir, "m"), gguf.SplitOptions{MaxTensors: 3})
	require.NoError(t, err)
	_, err = splitting.Write(t.Context(), gguf.WriteOptions{Overwrite: true})
	require.ErrorContains(t, err, "it is read")
	after, err := os.ReadFile(in)
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.NoFileExists(t, filepath.Join(dir, "m-00002-of-00002.gguf"))

	_, err = gguf.Split(f, "x", gguf.SplitOptions{MaxTensors: -1})
	require.Error(t, err)
	many := &memory{meta: gguf.NewMetadata()}
	for i := range 1 << 16 {
		many.tensors = append(many.tensors, gguf.TensorInfo{Name: fmt.Sprint(i), Type: gguf.I8, Shape: []int64{1}})
	}
	_, err = gguf.Split(many, "x", gguf.SplitOptions{MaxTensors: 1})
	require.ErrorContains(t, err, "65536 files would be needed")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alone.gguf"), before, 0o666))
	_, err = gguf.OpenSet(filepath.Join(dir, "alone.gguf"))
	require.ErrorIs(t, err, gguf.ErrNotSplit)
}
