package report_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/report"
)

// packedReport has candidates of several formats.
func packedReport() *report.Drift {
	r := report.FullReport(4)
	for i, s := range []report.Storage{
		{Format: "GPTQ", Layout: "4-bit g128"}, {Format: "AWQ", Layout: "4-bit g128"}, {Format: "EXL2", Layout: "3.50 bpw"}, {Format: "bitsandbytes", Layout: "NF4 g64"}, {Format: "HQQ"},
	} {
		c := &r.Candidates[5+i]
		bpw := 4.15625
		s.Type, s.Bytes, s.BPW, s.QuantizedBPW = "F16", c.Bytes, c.BPW, &bpw
		c.Name, c.Storage = "a-model-"+strings.ToLower(s.Format), s
	}
	r.Candidates[5].Bytes = r.Candidates[0].Bytes // which is closer
	return r
}

// TestFormatsAreToldApart: each has a mark of its own, is named beside it, and its candidates are called by it.
func TestFormatsAreToldApart(t *testing.T) {
	r := packedReport()
	page, err := r.Page()
	require.NoError(t, err)
	for _, class := range []string{"gptq", "awq", "exl", "bnb", "other"} {
		require.Regexp(t, `<polygon class="dot format-`+class+`( beaten)?"`, page)
		require.Contains(t, page, ".format-"+class+" { --format:")
		require.Equal(t, 3, strings.Count(page, "--"+class+": #"), "in the light, in the dark, and on paper")
	}
	require.Contains(t, page, `<circle class="dot"`)
	for name, label := range map[string]string{
		"GPTQ 4-bit g128": "GPTQ 4-bit g128", "AWQ 4-bit g128": "AWQ 4-bit g128", "EXL2 3.50 bpw": "EXL2 3.50 bpw", "bitsandbytes NF4 g64": "NF4 g64", "HQQ": "HQQ",
	} {
		require.Contains(t, page, `">`+label+"</text>")
		require.Contains(t, page, "</svg> "+name+"</td>")
	}
	for _, format := range []string{"GGUF", "GPTQ", "AWQ", "EXL2", "bitsandbytes", "HQQ"} {
		require.Contains(t, page, "</svg> "+format+"</span>")
	}
	require.Contains(t, page, "By size and drift alone there is no reason to take")

	// Where two are packed in the same way, their names tell them apart.
	r.Candidates[6].Storage = r.Candidates[5].Storage
	page, err = r.Page()
	require.NoError(t, err)
	require.NotContains(t, page, `">GPTQ 4-bit g128</text>`)
	require.Contains(t, page, `">a-model-gptq</text>`)

	// With GGUF alone there is nothing to tell apart.
	page, err = report.FullReport(4).Page()
	require.NoError(t, err)
	require.NotContains(t, page, "<polygon")
	require.NotContains(t, page, `class="key"`)
}

// TestReferenceIsNoOriginal: where what is compared with is quantized, nothing is said of an original, and nothing
// is recommended.
func TestReferenceIsNoOriginal(t *testing.T) {
	r := packedReport()
	require.Contains(t, r.Markdown(), "## How to run it")
	r.Base.Storage, r.Base.Quantized = r.Candidates[5].Storage, true
	page, err := r.Page()
	require.NoError(t, err)
	for _, text := range []string{page, r.Markdown()} {
		require.NotContains(t, strings.ToLower(text), "original")
		require.Contains(t, text, "The reference, GPTQ 4-bit g128, is quantized itself: what that cost is in none of these figures.")
		require.NotContains(t, text, "no reason to take")
	}
	require.NotContains(t, r.Markdown(), "How to run it")
}

// TestPackedAreNotRunByLlamaCpp: a card has no commands for what llama.cpp cannot read.
func TestPackedAreNotRunByLlamaCpp(t *testing.T) {
	r := packedReport()
	r.Candidates = r.Candidates[5:6]
	*r.Candidates[0].KLDHigh = 0.001
	require.Contains(t, r.Markdown(), "a-model-gptq is the smallest")
	require.NotContains(t, r.Markdown(), "llama-cli")
}
