package drift_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/quant/recipe"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// TestStatisticsAreLlamaPerplexitys compares with what llama-perplexity
// --kl-divergence prints. Both round activations to 8 bits, but not alike.
func TestStatisticsAreLlamaPerplexitys(t *testing.T) {
	skipLong(t)
	var golden struct {
		Text   string
		Chunks int
		Types  map[string]struct {
			PPL     float64
			PPLBase float64 `json:"ppl_base"`
			Ratio   float64 `json:"ppl_ratio"`
			KLD     float64 `json:"kld_mean"`
			Median  float64 `json:"kld_median"`
			P90     float64 `json:"kld_p90"`
			P99     float64 `json:"kld_p99"`
			Cor     float64 `json:"correlation_percent"`
			RMS     float64 `json:"rms_delta_p_percent"`
			SameTop float64 `json:"same_top_percent"`
		}
	}
	data, err := os.ReadFile("testdata/kld.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &golden))
	require.Len(t, golden.Types, 2)

	base := open(t, reference.MoE(t))
	vocab, err := tokenizer.New(base.Metadata())
	require.NoError(t, err)
	text, err := os.ReadFile("testdata/" + golden.Text)
	require.NoError(t, err)
	tokens, bos, err := perplexity.Tokens(vocab, string(text))
	require.NoError(t, err)
	report := measure(t, base, view(t, base, recipe.Q4_K_M, recipe.Q2_K), []drift.Text{{Name: golden.Text, Tokens: tokens, BOS: bos}},
		drift.Options{Options: perplexity.Options{Chunks: golden.Chunks}, Engine: infer.Options{Compute: infer.Int8}})
	require.Equal(t, []int{golden.Chunks}, report.Chunks)
	for _, c := range report.Candidates {
		want, got := golden.Types[c.Name], c.Overall
		require.InEpsilon(t, want.PPLBase, report.Base.Overall.PPL.Value, 1e-3)
		require.InEpsilon(t, want.PPL, got.PPL.Value, 3e-3, c.Name)
		require.InEpsilon(t, want.Ratio, got.Ratio.Value, 3e-3, c.Name)
		require.InEpsilon(t, want.KLD, got.KLD.Value, 0.1, c.Name)
		require.InEpsilon(t, want.Median, got.P50, 0.1, c.Name)
		require.InEpsilon(t, want.P90, got.P90, 0.1, c.Name)
		require.InEpsilon(t, want.P99, got.P99, 0.1, c.Name)
		require.InDelta(t, want.Cor, 100*got.Correlation, 0.05, c.Name)
		require.InEpsilon(t, want.RMS, 100*got.RMSDeltaP.Value, 0.1, c.Name)
		require.InDelta(t, want.SameTop, 100*got.SameTop.Value, 1, c.Name)
		t.Logf("%s: %+v", c.Name, got.Stats)
	}
}
