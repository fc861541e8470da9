package report_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/report"
)

func TestCard(t *testing.T) {
	card := report.ChoiceOf(report.TwentyReport()).Markdown()
	var sections []string
	for _, line := range strings.Split(card, "\n") {
		if strings.HasPrefix(line, "#") {
			sections = append(sections, line)
		}
	}
	require.Equal(t, []string{"# A mixture, quantized", "## Files", "## The choice", "## How to run it", "## Drift by text", "## How it was measured",
		"## Provenance"}, sections)
	require.Contains(t, card, "\n* Q6_K is the closest to the original of what fits.\n")
	require.Contains(t, card, "\nllama-cli -m A-mixture-Q6_K.gguf -c 8192 -ngl 33\n")
	require.Contains(t, card, "\necho FROM ./A-mixture-Q6_K.gguf > Modelfile && ollama create a-mixture -f Modelfile && ollama run a-mixture\n")
	require.Contains(t, card, "| Q4_K_M | 5.49 MiB |")
	require.Contains(t, card, "* SHA-256 of the file: `"+strings.Repeat("89ab", 16)+"`\n")
	require.Less(t, strings.Index(card, "| Q2_K "), strings.Index(card, "| IQ2_M "), "from large to small")
	require.NotContains(t, card, "tokens/s")

	// Without a choice, and with nothing to recommend.
	r := report.SparseReport()
	r.Candidates = nil
	card = r.Markdown()
	require.NotContains(t, card, "How to run it")
}

func TestFileName(t *testing.T) {
	for text, name := range map[string]string{"Beyonder 4x7B v2": "Beyonder-4x7B-v2", "org/A model": "A-model", "../..": "..", "a'; rm -rf ~": "a-rm--rf",
		"模型": "model"} {
		require.Equal(t, name, report.FileName(text), text)
	}
}
