package report_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/infer/report"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// The card names the file for each size of memory: the largest that fits, or that with the least divergence if it was measured of all.
func TestWhichFileForHowMuchMemory(t *testing.T) {
	files := map[string]*report.CardFile{}
	card := func() *report.ModelCard {
		for name, of := range map[string]gguf.Type{"Q8_0": gguf.Q8_0, "Q6_K": gguf.Q6_K, "Q4_0": gguf.Q4_0} {
			as, err := recipe.ParseFileType(name)
			require.NoError(t, err)
			files[name] = cardFile(t, "m-"+name+".gguf", as, of)
		}
		files["Q8_0"].FileBytes, files["Q6_K"].FileBytes, files["Q4_0"].FileBytes = 22e9, 14e9, 9e9
		c, err := report.NewModelCard(t.Context(), "1.0.0", files["Q8_0"], files["Q6_K"], files["Q4_0"])
		require.NoError(t, err)
		spec := &graph.Spec{Width: 4096, Vocabulary: 32000, Layers: []graph.Layer{{{Mixers: []graph.Mixer{
			graph.Attention{Heads: 32, KVHeads: 8, KeyLen: 128, ValueLen: 128}, graph.Network{Hidden: 14336},
		}}}}}
		setting := func(context int) choose.Setting {
			return choose.Setting{Context: context, Keys: gguf.F16, Values: gguf.F16, FlashAttention: true}
		}
		fit, err := report.NewFit(spec, []choose.Setting{setting(8192), setting(1 << 20)}, 0)
		require.NoError(t, err)
		c.Fit = &fit
		return c
	}
	section := func(c *report.ModelCard) string {
		text, err := c.Markdown()
		require.NoError(t, err)
		_, text, _ = strings.Cut(text, "## Which file for how much memory\n\n")
		text, _, _ = strings.Cut(text, "\n## ")
		return text
	}
	require.Equal(t, `|At least|8192 tokens of context|1048576 tokens of context|
|---:|---|---|
|8 GB|none fits|none fits|
|12 GB|[Q4_0](./m-Q4_0.gguf), takes 8.55 GiB|none fits|
|16 GB|[Q6_K](./m-Q6_K.gguf), takes 13.2 GiB|[Q4_0](./m-Q4_0.gguf), takes 13.5 GiB|
|24 GB|[Q8_0](./m-Q8_0.gguf), takes 20.7 GiB|[Q6_K](./m-Q6_K.gguf), takes 18.2 GiB|
|48 GB|[Q8_0](./m-Q8_0.gguf), takes 20.7 GiB|[Q8_0](./m-Q8_0.gguf), takes 25.6 GiB|

The largest that fits, of CPU and GPU together. What a file takes is itself, keys and values of all tokens in F16, and an upper estimate of llama.cpp's buffers.
`, section(card()))

	// A larger file that was found to be worse is not the one to take.
	c := card()
	read, err := report.ReadDrift(bytes.Replace(driftJSON(t), []byte(`"kld_mean":0.0006`), []byte(`"kld_mean":0.5`), 1))
	require.NoError(t, err)
	require.NoError(t, c.AddDrift(read))
	require.Contains(t, section(c), "|24 GB|[Q6_K](./m-Q6_K.gguf), takes 13.2 GiB|[Q6_K](./m-Q6_K.gguf), takes 18.2 GiB|\n\nThat which fits and has the least divergence")
}
