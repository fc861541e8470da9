package report

import (
	"math"
	"slices"
	"strings"
	"time"
)

// BandOf is bandOf.
var BandOf = bandOf

// Update is -update.
var Update = update

// FileName is fileName.
var FileName = fileName

// FullReport is as much as a page has to show: ten candidates, five texts, and
// routers in many layers.
func FullReport(layers int) *Drift {
	names := []string{"Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "IQ4_XS", "Q3_K_M", "IQ3_XXS", "Q2_K"}
	r := &Drift{
		Model: "mixtral", Ctx: 512, Compute: "int8", Imatrix: "calibration.gguf",
		Base: Base{Storage: Storage{Type: "BF16", Format: "safetensors", Bytes: 48 << 30, BPW: 16}, PPL: 4.2, TokensPerSecond: 24},
	}
	for _, file := range []string{"chat.txt", "code.txt", "math.txt", "story.txt", "wiki.txt"} {
		r.Texts = append(r.Texts, Text{File: file, SHA256: strings.Repeat("0123", 16), Chunks: 20, ScoredTokens: 5100})
		r.Base.ByText = append(r.Base.ByText, BaseText{File: file, PPL: 4.2})
	}
	for i, name := range names {
		kld := 0.0005 * math.Pow(1.9, float64(i))
		c := Candidate{
			Name: name, Storage: Storage{Type: name, Format: "GGUF", Bytes: int64(26-2*i) << 30, BPW: 8.5 - 0.65*float64(i)}, TokensPerSecond: 31,
			Measures: Measures{
				PPL: 4.2 * (1 + kld), PPLRatio: 1 + kld, PPLRatioLow: known(1 + kld*0.8), PPLRatioHigh: known(1 + kld*1.2),
				KLD: kld, KLDLow: known(kld * 0.9), KLDHigh: known(kld * 1.1), KLDP50: kld / 2, KLDP90: 2 * kld, KLDP95: 3 * kld, KLDP99: 9 * kld,
				KLDP999: 30 * kld, KLDMax: 80 * kld,
				SameTop: 1 - 0.02*float64(i+1), RMSDeltaP: 0.01 * float64(i+1), Embedding: 0.01 * float64(i+1),
			},
		}
		router := 1 - 0.01*float64(i+1)
		c.Router = &router
		for l := range layers {
			same, first := router-0.001*float64(l), router
			layer := Layer{Layer: l, Hidden: c.Embedding * (1 + 0.1*float64(l)), SameExperts: &same, SameFirstExpert: &first}
			if l == 0 { // dense, as the first layers of DeepSeek's are
				layer.SameExperts, layer.SameFirstExpert = nil, nil
			}
			c.Layers = append(c.Layers, layer)
		}
		for t, text := range r.Texts {
			measures := c.Measures
			measures.KLD *= 1 + 0.3*float64(t)
			c.ByText = append(c.ByText, TextResult{File: text.File, Measures: measures, KLDWindows: []float64{0.9 * measures.KLD, 1.1 * measures.KLD}})
		}
		r.Candidates = append(r.Candidates, c)
	}
	return r
}

// TwentyReport has twenty file types with the sizes and divergences that they have of the demo's
// model, quantized with an importance matrix.
func TwentyReport() *Drift {
	r := FullReport(4)
	r.Base.Bytes, r.Base.BPW = 18206464, 16.01
	template := r.Candidates[3]
	r.Candidates = nil
	for _, t := range []struct {
		name  string
		bytes int64
		kld   float64
	}{
		{"Q8_0", 9728384, 0.00031},
		{"Q6_K", 7538048, 0.00085},
		{"Q5_1", 6975872, 0.00185},
		{"Q5_0", 6476160, 0.00230},
		{"Q5_K_M", 6619776, 0.00185},
		{"Q5_K_S", 6476160, 0.00193},
		{"Q4_1", 5976448, 0.00585},
		{"Q4_0", 5476736, 0.00755},
		{"Q4_K_M", 5755520, 0.00497},
		{"Q4_K_S", 5484928, 0.00524},
		{"IQ4_NL", 5484928, 0.00568},
		{"IQ4_XS", 5237120, 0.00588},
		{"Q3_K_L", 5040000, 0.01635},
		{"Q3_K_M", 4740992, 0.01702},
		{"Q3_K_S", 4414848, 0.02264},
		{"IQ3_M", 4458368, 0.01963},
		{"IQ3_S", 4423552, 0.01965},
		{"IQ3_XXS", 3953536, 0.03595},
		{"Q2_K", 3857792, 0.07229},
		{"IQ2_M", 3560320, 0.04544},
	} {
		c := template
		c.Name, c.Type, c.Bytes, c.KLD, c.KLDLow, c.KLDHigh = t.name, t.name, t.bytes, t.kld, known(0.93*t.kld), known(1.08*t.kld)
		c.PPLRatio, c.PPLRatioLow, c.PPLRatioHigh = 1+t.kld, known(1+0.7*t.kld), known(1+1.3*t.kld)
		c.Layers, c.ByText = slices.Clone(c.Layers), slices.Clone(c.ByText)
		for l := range c.Layers {
			c.Layers[l].Hidden = math.Sqrt(t.kld) * (1 + 0.1*float64(l))
		}
		for i := range c.ByText {
			c.ByText[i].KLD = t.kld * (0.8 + 0.2*float64(i))
			c.ByText[i].KLDWindows = []float64{0.9 * t.kld, 1.1 * t.kld}
		}
		r.Candidates = append(r.Candidates, c)
	}
	r.Provenance = &Provenance{
		Version: "v1.2.3", Date: time.Date(2026, 11, 28, 15, 4, 5, 0, time.UTC), Command: "ggufkit drift moe.gguf -f chat.txt", CPU: "A CPU", ISA: "avx2",
		Model: ProvenanceModel{Name: "A mixture", File: "moe.gguf", Architecture: "llama", Parameters: 10_600_000, FileSHA256: strings.Repeat("89ab", 16)},
	}
	return r
}

// SparseReport is as little as a page has to show, of a dense model, with names
// that are far too long.
func SparseReport() *Drift {
	r := FullReport(2)
	r.Model = "models/" + strings.Repeat("a-model-with-a-long-name-", 4) + ".gguf"
	r.Texts, r.Candidates, r.Imatrix = r.Texts[:1], r.Candidates[4:6], ""
	r.Base.ByText = r.Base.ByText[:1]
	for i := range r.Candidates {
		c := &r.Candidates[i]
		c.Name = strings.Repeat("mixtral-8x7b-instruct-", 3) + c.Name
		c.Router, c.ByText = nil, c.ByText[:1]
		for l := range c.Layers {
			c.Layers[l].SameExperts, c.Layers[l].SameFirstExpert = nil, nil
		}
	}
	// One with no drift at all, one with hardly any that is sure to be one.
	r.Candidates[0].Measures = Measures{PPL: r.Base.PPL, PPLRatio: 1, SameTop: 1, Layers: make([]Layer, 2)}
	r.Candidates[1].KLDLow, r.Candidates[1].KLDHigh = known(0), known(5*r.Candidates[1].KLD)
	return r
}

// CrowdedReport has candidates that hardly differ.
func CrowdedReport() *Drift {
	r := FullReport(4)
	for i := range r.Candidates {
		c := &r.Candidates[i]
		c.BPW, c.KLD, c.Bytes = 4.5+0.01*float64(i), 0.01+0.0001*float64(i%3), 14<<30+int64(i)
	}
	return r
}

// ChoiceOf is a report with a choice.
func ChoiceOf(r *Drift) *Choice {
	fit := int64(24e9)
	c := &Choice{
		FitBytes: &fit, Room: Room{Contexts: []RoomContext{{Ctx: 8192}}}, Drift: r,
		Summary: []string{"Q6_K is the closest to the original of what fits.", "Q5_K_M, the runner-up, is further from it."},
		Terms:   []string{"It takes 20.0 GiB of memory of 22.4 GiB: the file, a cache for 8192 tokens, and buffers."},
	}
	for i := range r.Candidates {
		m := &r.Candidates[i]
		considered := Considered{Candidate: m, Name: m.Name, Bytes: m.Bytes, BPW: m.BPW, NeededBytes: m.Bytes + 2<<30,
			Contexts: []ContextNeeds{{Ctx: 8192, NeededBytes: m.Bytes + 2<<30, Fits: i > 0, Flags: "-c 8192 -ngl 33"}}, Chosen: i == 1,
			Reason: "KL 0.02371 > 0.00095 of Q6_K, but the difference may be chance"}
		if i == 0 || i > 6 {
			considered.Candidate, considered.Reason = nil, "not measured: smaller than IQ4_XS, which is further from the original than Q6_K"
		}
		c.Considered = append(c.Considered, considered)
	}
	c.Chosen = c.Considered[1]
	return c
}
