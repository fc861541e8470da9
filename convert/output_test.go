package convert_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// TestToGGUF: a checkpoint is converted to the types that convert_hf_to_gguf.py knows, and
// quantized from its own to others, as a GGUF file of it is to all.
func TestToGGUF(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mistral-a")
	writeDense(t, dir, "mistral")
	file, own := write(t, open(t, dir, convert.Options{}))
	check := func(in string, fileType recipe.FileType, want gguf.Source) {
		t.Helper()
		out := filepath.Join(t.TempDir(), "out.gguf")
		opts := convert.OutputOptions{View: quant.ViewOptions{AllowRequantize: true}}
		paths, err := convert.ToGGUF(t.Context(), in, out, fileType, opts)
		require.NoError(t, err)
		require.Equal(t, []string{out}, paths)
		got, err := os.ReadFile(out)
		require.NoError(t, err)
		_, wanted := write(t, want)
		require.True(t, string(wanted) == string(got))
	}
	converted := func(opts hf.Options) convert.Model { return open(t, dir, convert.Options{Checkpoint: opts}) }
	quantized := func(in string, fileType recipe.FileType) gguf.Source {
		view, err := quant.NewView(open(t, in, convert.Options{}), fileType, quant.ViewOptions{})
		require.NoError(t, err)
		return view
	}
	check(dir, recipe.F16, converted(hf.Options{Type: new(gguf.F16)}))
	check(dir, recipe.Q8_0, converted(hf.Options{Type: new(gguf.Q8_0)}))
	check(dir, recipe.Copy, converted(hf.Options{Auto: true}))
	check(dir, recipe.Q4_K_M, quantized(dir, recipe.Q4_K_M))
	check(file, recipe.Q8_0, quantized(file, recipe.Q8_0))

	// The name is that of the output, whatever the model is kept in.
	for _, in := range []string{dir, file} {
		out := filepath.Join(t.TempDir(), "out.gguf")
		opts := convert.OutputOptions{Open: convert.Options{Checkpoint: hf.Options{Name: "Another"}}}
		_, err := convert.ToGGUF(t.Context(), in, out, recipe.Q4_K_M, opts)
		require.NoError(t, err)
		name, err := gguf.Value[string](open(t, out, convert.Options{}).Metadata(), "general.name")
		require.NoError(t, err)
		require.Equal(t, "Another", name)
	}
	_, err := convert.ToGGUF(t.Context(), file, file, recipe.Q4_K_M, convert.OutputOptions{Write: gguf.WriteOptions{Overwrite: true}})
	require.Error(t, err, "a file is not replaced while it is read")
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, string(own) == string(after))
}

// TestNewOutput: a checkpoint that was converted already is what it was asked to be, or
// quantized further.
func TestNewOutput(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mistral-a")
	writeDense(t, dir, "mistral")
	f16 := open(t, dir, convert.Options{}.For(recipe.F16))
	for fileType, quantized := range map[recipe.FileType]bool{recipe.F16: false, recipe.Q8_0: true, recipe.Q4_K_M: true} {
		o, err := convert.NewOutput(f16, fileType, convert.OutputOptions{})
		require.NoError(t, err)
		require.Equal(t, quantized, o.View != nil, fileType)
		require.Len(t, o.Original.Tensors(), len(o.Source.Tensors()))
	}
}
