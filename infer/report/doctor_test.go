package report_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/infer/routing"
)

// routers is a report on the rows of two routers, the second of which has a fault.
func routers() *report.Doctor {
	return report.NewDoctor("models/mixture.gguf", &moe.Diagnosis{
		Experts: 3, Mode: moe.Trained, Reason: "the rows are of different lengths", Faults: []string{"layer 1: two experts have the same row"},
		Layers: []moe.RouterRows{
			{Layer: 0, Norms: []float64{1, 1.5, 2}, Cosines: [][]float64{{1, 0.1, 0.2}, {0.1, 1, -0.3}, {0.2, -0.3, 1}}, Condition: 12.25},
			{Layer: 1, Norms: []float64{1, 1, 2}, Cosines: [][]float64{{1, 1, 0}, {1, 1, 0}, {0, 0, 1}}, Condition: math.Inf(1)},
		},
	})
}

// doctor is such a report with two texts and two donors, of which the second has other tokens.
func doctor() *report.Doctor {
	r := routers()
	r.Ctx, r.Compute = 64, "exact"
	score := func(windows ...float64) perplexity.Result {
		sum := 0.0
		for _, nll := range windows {
			sum += nll
		}
		return perplexity.Result{PPL: math.Exp(sum / float64(len(windows))), Low: 2, High: 9, ChunkNLL: [][]float64{windows}, Chunks: len(windows), Ctx: 64}
	}
	for _, file := range []string{"texts/chat.txt", "texts/code.txt"} {
		text := report.NewDoctorText(file, score(1, 1.5, 2), []routing.Layer{
			{Layer: 0, Tokens: 192, Chosen: []int64{192, 96, 96}, Entropy: 1.2}, {Layer: 1, Tokens: 192, Chosen: []int64{0, 192, 192}, Entropy: 1.5},
		})
		text.AddDonor("chat", score(1.1, 1.61, 2.09), true)
		text.AddDonor("other", score(0.5, 0.5, 0.5), false)
		r.AddText(text)
	}
	return r
}

func TestDoctorJSON(t *testing.T) {
	data, err := json.Marshal(doctor())
	require.NoError(t, err)
	var got struct {
		Model, Mode, Reason, Compute string
		Experts, Ctx                 int
		Faults                       []string
		Layers                       []struct {
			Layer     int
			Norms     []float64
			Cosines   [][]float64
			Condition *float64
		}
		Texts []struct {
			File   string
			Tokens int64
			PPL    float64
			Low    *float64 `json:"ppl_low"`
			Donors []struct {
				Name  string
				Ratio *float64 `json:"ppl_ratio"`
			}
			Layers []struct {
				Shares  []float64
				Entropy float64 `json:"router_entropy"`
			}
		}
		Answers []struct {
			File, Verdict, Answer string
			Best                  struct{ Name string } `json:"best_donor"`
		}
	}
	require.NoError(t, json.Unmarshal(data, &got))
	require.Equal(t, "trained", got.Mode)
	require.Equal(t, []string{"layer 1: two experts have the same row"}, got.Faults)
	require.Equal(t, 12.25, *got.Layers[0].Condition)
	require.Nil(t, got.Layers[1].Condition, "infinite")
	require.Equal(t, 192, int(got.Texts[1].Tokens))
	require.Equal(t, 2.0, *got.Texts[0].Low)
	require.Equal(t, []float64{1, 0.5, 0.5}, got.Texts[0].Layers[0].Shares)
	require.InDelta(t, math.Exp(-0.1), *got.Texts[0].Donors[0].Ratio, 1e-9)
	require.Nil(t, got.Texts[0].Donors[1].Ratio, "it has other tokens")
	require.Len(t, got.Answers, 3, "each text, and both together")
	require.Equal(t, "better", got.Answers[2].Verdict)
	require.Equal(t, "chat", got.Answers[2].Best.Name)

	data, err = json.Marshal(report.NewDoctor("m", &moe.Diagnosis{}))
	require.NoError(t, err)
	require.Contains(t, string(data), `"faults":[]`)
	require.NotContains(t, string(data), `"texts"`)
}

func TestDoctorInWords(t *testing.T) {
	var out strings.Builder
	doctor().Print(&out)
	in(t, out.String(), "3 experts, 2 layers with routers. Gate mode: trained (the rows are of different lengths).", "! layer 1: two experts",
		"1.0000 to 2.0000", "-0.3000 to 0.2000", "12.2", "infinite", "texts/chat.txt: 192 tokens", "expert 0", "100.0 %", "1.20 bits", "the mixture", "other",
		"Is the mixture better than the best of what it was made of? By text: better on 2 of 2.", "On chat the mixture is better", "On all texts together")
	in(t, doctor().Markdown(), "## Routers", "* layer 1: two experts", "## Perplexity", "windows of 64 tokens, the second halves scored, exact compute",
		"* Is the mixture better", "## Where the texts go", "### chat, 192 tokens")
	require.NotContains(t, routers().Markdown(), "## Perplexity")
	page, err := doctor().Page()
	require.NoError(t, err)
	in(t, page, "<h1>Routers of mixture</h1>", `<p class="bad">layer 1`, "the mixture", "On chat the mixture is better", "chat, 192 tokens",
		"Layer 1, condition infinite")
}

// in checks that a text has parts in this order.
func in(t *testing.T, text string, parts ...string) {
	t.Helper()
	at := 0
	for _, part := range parts {
		next := strings.Index(text[at:], part)
		require.GreaterOrEqual(t, next, 0, "%q after %q in\n%s", part, parts[0], text)
		at += next
	}
}
