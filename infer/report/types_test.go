package report

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

var (
	remeasure = flag.Bool("measure", false, "measure what the types cost again, and write typedrifts.json")
	update    = flag.Bool("update", false, "write what the program prints into the documentation")
)

// What the types cost is measured data: some of it is measured again, all of it with
// -measure, which takes a quarter of an hour.
func TestTypeDrifts(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long where races are looked for")
	}
	const data, page = "typedrifts.json", "../../docs/types.md"
	if *remeasure {
		content, err := json.MarshalIndent(measureTypes(t, recipe.FileTypes(), "../../testdata/texts/*.txt"), "", "\t")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(data, append(content, '\n'), 0o666))
		typeDrifts = content
	}
	var stored measuredDrifts
	require.NoError(t, json.Unmarshal(typeDrifts, &stored))

	t.Run("measured again", func(t *testing.T) {
		got := measureTypes(t, []recipe.FileType{recipe.Q4_K_M, recipe.IQ2_XXS}, "../../testdata/texts/code.txt")
		at := 1
		require.Equal(t, stored.Texts[at], got.Texts[0])
		for _, d := range got.Types {
			for _, want := range stored.Types {
				if want.Type != d.Type {
					continue
				}
				require.Equal(t, want.KLD == nil, d.KLD == nil)
				if d.KLD != nil {
					require.InEpsilon(t, want.KLD[at], d.KLD[0], 0.001)
				}
				require.InEpsilon(t, want.KLDImatrix[at], d.KLDImatrix[0], 0.001)
			}
		}
	})
	t.Run("complete", func(t *testing.T) {
		report, err := NewTypes(recipe.FileTypes())
		require.NoError(t, err)
		for _, f := range report.Types {
			require.NotEmpty(t, f.About, f.Name)
			require.Equal(t, f.Name == "F32", f.KLDImatrix == nil, f.Name)
		}
	})
	t.Run("the same in the documentation", func(t *testing.T) {
		report, err := NewTypes(recipe.FileTypes())
		require.NoError(t, err)
		updateBlock(t, page, "types", report.Markdown())
	})
}

// measureTypes measures types on the demo's model, without and with an importance
// matrix.
func measureTypes(t *testing.T, types []recipe.FileType, pattern string) measuredDrifts {
	model, err := convert.OpenModel(t.Context(), reference.MoE(t), convert.Options{})
	require.NoError(t, err)
	defer model.Close()
	matrix, err := imatrix.Open("../../quant/imatrix/testdata/moe.imatrix")
	require.NoError(t, err)
	defer matrix.Close()
	vocab, err := tokenizer.New(model.Metadata())
	require.NoError(t, err)
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	var texts []drift.Text
	measured := measuredDrifts{Model: "testdata/reference"}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		encoded := drift.Text{Name: file}
		encoded.Tokens, encoded.BOS, err = perplexity.Tokens(vocab, string(text))
		require.NoError(t, err)
		texts = append(texts, encoded)
		measured.Texts = append(measured.Texts, DriftedText{File: filepath.Base(file), SHA256: fmt.Sprintf("%x", sha256.Sum256(text))})
	}
	var candidates []drift.Candidate
	for _, fileType := range types {
		for suffix, importance := range map[string]*imatrix.Matrix{"": nil, "+": matrix} {
			view, err := quant.NewView(model, fileType, quant.ViewOptions{Importance: importance})
			if importance == nil && errors.Is(err, recipe.ErrNeedsImatrix) || fileType == recipe.F32 {
				continue
			}
			require.NoError(t, err)
			candidates = append(candidates, drift.Candidate{Name: fileType.String() + suffix, Source: view})
		}
	}
	report, err := drift.Measure(t.Context(), model, candidates, texts, drift.Options{Engine: infer.Options{Compute: infer.Exact}})
	require.NoError(t, err)
	klds := make(map[string][]float64)
	for _, result := range report.Candidates {
		for i, text := range result.Texts {
			klds[result.Name] = append(klds[result.Name], round(t, text.KLD.Value))
			measured.Texts[i].ScoredTokens = text.Tokens
		}
	}
	for _, fileType := range types {
		measured.Types = append(measured.Types, typeDrift{fileType.String(), klds[fileType.String()], klds[fileType.String()+"+"]})
	}
	return measured
}

// round returns a number with five significant digits.
func round(t *testing.T, x float64) float64 {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 5, 64), 64)
	require.NoError(t, err)
	return rounded
}

// The sizes of files that are published of Mistral 7B, less their metadata.
func TestSizesOfMistral(t *testing.T) {
	for fileType, want := range map[recipe.FileType]float64{
		recipe.Q8_0:   7.70e9,
		recipe.Q6_K:   5.94e9,
		recipe.Q5_K_M: 5.13e9,
		recipe.Q4_K_M: 4.37e9,
		recipe.Q3_K_M: 3.52e9,
		recipe.Q2_K:   2.72e9,
	} {
		bytes, _, needs, err := mistralSize(fileType)
		require.NoError(t, err)
		require.InEpsilon(t, want, bytes, 0.005, fileType)
		require.False(t, needs)
	}
	for _, fileType := range []recipe.FileType{recipe.IQ1_S, recipe.IQ2_XXS, recipe.IQ2_M, recipe.IQ3_XXS, recipe.Q2_K_S} {
		_, _, needs, err := mistralSize(fileType)
		require.NoError(t, err)
		require.True(t, needs)
	}
}

// The first answer in the documentation follows from the sizes: for a memory and a
// number of weights, the largest type that leaves 1.5 GB.
func TestFirstAnswer(t *testing.T) {
	content, err := os.ReadFile("../../docs/choosing.md")
	require.NoError(t, err)
	billions := []float64{3.2, 8.03, 14.8, 24.2, 32.8, 46.7, 70.6}
	rows := regexp.MustCompile(`(?m)^\| (\d+) GB \|(.*)\|$`).FindAllStringSubmatch(string(content), -1)
	require.Len(t, rows, 5)
	considered := strings.Split("Q8_0,Q6_K,Q5_K_M,Q5_K_S,Q4_K_M,Q4_K_S,IQ4_XS,Q3_K_L,Q3_K_M,IQ3_M,IQ3_S,IQ3_XS,IQ3_XXS,IQ2_M,IQ2_S,IQ2_XS", ",")
	for _, row := range rows {
		memory, err := strconv.ParseFloat(row[1], 64)
		require.NoError(t, err)
		for i, cell := range strings.Split(row[2], "|") {
			want := ""
			for _, name := range considered {
				fileType, err := recipe.ParseFileType(name)
				require.NoError(t, err)
				_, bpw, _, err := mistralSize(fileType)
				require.NoError(t, err)
				if want == "" && billions[i]*bpw/8 <= memory-1.5 {
					want = name
				}
			}
			require.Equal(t, want, strings.TrimSpace(cell), "%g GB, %g billion weights", memory, billions[i])
		}
	}
}
