package recipe_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

func TestRecipeFile(t *testing.T) {
	const text = "#name:mix-18G=f32\n#type:q4_k_m=f32\n^output\\.weight$=q6_k\n^blk\\.0\\.attn_k\\.weight$=iq4_xs\n"
	f, err := recipe.ReadFile(strings.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, "mix-18G", f.Name)
	require.Equal(t, recipe.Q4_K_M, f.Type)
	require.Len(t, f.Overrides, 2)
	require.Equal(t, text, f.String())

	// A --tensor-type-file is one without a name, and what is said in marks is no override.
	f, err = recipe.ReadFile(strings.NewReader("attn_k=q8_0 \t ffn=q6_k"))
	require.NoError(t, err)
	require.Equal(t, recipe.Copy, f.Type)
	require.Empty(t, f.Name)
	require.Equal(t, "attn_k=q8_0\nffn=q6_k\n", f.String())
	overrides, err := recipe.ReadOverrides(strings.NewReader(text))
	require.NoError(t, err)
	require.Len(t, overrides, 2)

	// Marks are patterns that match nothing, which is how llama-quantize reads them.
	for _, word := range strings.Fields(text)[:2] {
		o, err := recipe.ParseOverride(word)
		require.NoError(t, err)
		notes := recipe.Lint([]gguf.TensorInfo{{Name: "output.weight", Type: gguf.F32, Shape: []int64{256, 2}}}, recipe.Q4_K_M, recipe.Options{Overrides: []recipe.Override{o}})
		require.Len(t, notes, 1)
		require.Contains(t, notes[0], "matches no tensor")
	}
	for bad, message := range map[string]string{
		"# a comment":                   "not of the form",
		"#name:=f32":                    "not a name",
		"#name:../x=f32":                "not a name",
		"#name:a=f32 #name:b=f32":       "not a name",
		"#name:\x1b[2J=f32":             "not a name",
		"#type:q9=f32":                  "quantized file type",
		"#type:bf16=f32":                "quantized file type",
		"#type:copy=f32":                "quantized file type",
		"#type:q4_0=f32 #type:q4_1=f32": "of which there is one",
		"attn":                          "not of the form",
		"attn=q9":                       "q9",
	} {
		_, err := recipe.ReadFile(strings.NewReader(bad))
		require.ErrorContains(t, err, message, bad)
	}
	_, err = recipe.ReadFile(strings.NewReader("#name:" + strings.Repeat("x", 70_000) + "=f32"))
	require.Error(t, err)
}

// What is read is written as it reads.
func FuzzRecipeFile(f *testing.F) {
	seeds, err := filepath.Glob("testdata/recipes/*.txt")
	require.NoError(f, err)
	require.NotEmpty(f, seeds)
	for _, path := range seeds {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := recipe.ReadFile(strings.NewReader(text))
		if err != nil {
			return
		}
		again, err := recipe.ReadFile(strings.NewReader(file.String()))
		require.NoError(t, err)
		require.Equal(t, file.String(), again.String())
		require.Equal(t, len(file.Overrides), len(again.Overrides))
	})
}
