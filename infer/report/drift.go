package report

import (
	"fmt"
	"math"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/drift"
)

// Drift is how far candidates are from the model that they were made of.
type Drift struct {
	Model      string      `json:"model"`
	Base       Base        `json:"base"`
	Texts      []Text      `json:"texts"`
	Ctx        int         `json:"ctx"`
	Compute    string      `json:"compute"`
	Imatrix    string      `json:"imatrix,omitempty"`
	Floor      Floor       `json:"floor"`
	Candidates []Candidate `json:"candidates"`
	Provenance *Provenance `json:"provenance"` // nil if nobody asks
}

// Base is the original, or whatever the candidates are compared with instead.
type Base struct {
	Storage
	// Quantized says that it is no original, but packed or quantized itself.
	Quantized       bool       `json:"quantized"`
	PPL             float64    `json:"ppl"`
	PPLError        *float64   `json:"ppl_error"`
	PPLLow          *float64   `json:"ppl_low"`
	PPLHigh         *float64   `json:"ppl_high"`
	Seconds         float64    `json:"seconds"`
	TokensPerSecond float64    `json:"tokens_per_second"`
	ByText          []BaseText `json:"by_text"`
}

// BaseText is the original on a text.
type BaseText struct {
	File     string   `json:"file"`
	PPL      float64  `json:"ppl"`
	PPLError *float64 `json:"ppl_error"`
	PPLLow   *float64 `json:"ppl_low"`
	PPLHigh  *float64 `json:"ppl_high"`
}

// Text is what was measured on. Chunks and ScoredTokens are known afterwards.
type Text struct {
	File         string `json:"file"`
	SHA256       string `json:"sha256"`
	Chunks       int    `json:"chunks"`
	ScoredTokens int    `json:"scored_tokens"`
	*Conversations
}

// Assistant and AllTokens are what Conversations.Scored says.
const (
	Assistant = "assistant"
	AllTokens = "all"
)

// Conversations says what a text is that is made of them: each is a chunk.
type Conversations struct {
	Scored string `json:"scored"` // whose tokens: Assistant or AllTokens
	// Most is how many tokens they were cut to, Cut how many were. Unscored were left out, as they had no token to score. Cut and Unscored are
	// of all that were read.
	Most     int `json:"conversation_tokens"`
	Cut      int `json:"conversations_cut"`
	Unscored int `json:"conversations_unscored"`
}

// Floor is drift.Report.Floor.
type Floor struct {
	KLD          float64  `json:"kld_mean"`
	KLDLow       *float64 `json:"kld_low"`
	KLDHigh      *float64 `json:"kld_high"`
	KLDMax       float64  `json:"kld_max"`
	SameTop      float64  `json:"same_top"`
	ScoredTokens int      `json:"scored_tokens"`
}

// Candidate is a model that was compared with the original.
type Candidate struct {
	Name string `json:"name"`
	Storage
	Measures
	// AboveFloor says whether it is further from the original than the floor, by more than chance.
	AboveFloor bool `json:"above_floor"`
	// Seconds includes quantizing what is quantized on the way, and was not for
	// another candidate.
	Seconds         float64      `json:"seconds"`
	TokensPerSecond float64      `json:"tokens_per_second"`
	ByText          []TextResult `json:"by_text"`
}

// TextResult is a candidate on a text.
type TextResult struct {
	File string `json:"file"`
	Measures
	// KLDWindows has the mean divergence of each window.
	KLDWindows []float64 `json:"kld_windows"`
	// WindowTokens has the number of scored tokens of each, if not all windows have as many.
	WindowTokens []int `json:"window_tokens,omitempty"`
}

// Measures are those of drift.Measures. Errors are standard errors, low and high the ends of
// 95 % intervals; null where one window of a text says nothing of them.
type Measures struct {
	PPL            float64  `json:"ppl"`
	PPLError       *float64 `json:"ppl_error"`
	PPLLow         *float64 `json:"ppl_low"`
	PPLHigh        *float64 `json:"ppl_high"`
	PPLRatio       float64  `json:"ppl_ratio"`
	PPLRatioError  *float64 `json:"ppl_ratio_error"`
	PPLRatioLow    *float64 `json:"ppl_ratio_low"`
	PPLRatioHigh   *float64 `json:"ppl_ratio_high"`
	Correlation    *float64 `json:"nll_correlation"` // null where there is none
	KLD            float64  `json:"kld_mean"`
	KLDError       *float64 `json:"kld_error"`
	KLDLow         *float64 `json:"kld_low"`
	KLDHigh        *float64 `json:"kld_high"`
	KLDP50         float64  `json:"kld_p50"`
	KLDP90         float64  `json:"kld_p90"`
	KLDP95         float64  `json:"kld_p95"`
	KLDP99         float64  `json:"kld_p99"`
	KLDP999        float64  `json:"kld_p999"`
	KLDMax         float64  `json:"kld_max"`
	SameTop        float64  `json:"same_top"`
	SameTopError   *float64 `json:"same_top_error"`
	SameTopLow     *float64 `json:"same_top_low"`
	SameTopHigh    *float64 `json:"same_top_high"`
	RMSDeltaP      float64  `json:"rms_delta_p"`
	RMSDeltaPError *float64 `json:"rms_delta_p_error"`
	RMSDeltaPLow   *float64 `json:"rms_delta_p_low"`
	RMSDeltaPHigh  *float64 `json:"rms_delta_p_high"`
	// Router is the mean of that of the layers, null without experts.
	Router *float64 `json:"router_agreement"`
	Layers []Layer  `json:"layers"`
	// Embedding is the relative error of what goes into the first layer.
	Embedding float64 `json:"embedding_error"`
}

// Layer is what comes out of a layer, and where its router sends tokens, against the original.
type Layer struct {
	Layer int `json:"layer"`
	// Hidden is the relative error of what comes out of the layer.
	Hidden float64 `json:"hidden_error"`
	// The parts of the tokens that the router sends to the same experts as the
	// original, and to the same one first. Null without a router.
	SameExperts     *float64 `json:"same_experts"`
	SameFirstExpert *float64 `json:"same_first_expert"`
}

func newMeasures(m drift.Measures) Measures {
	measures := Measures{
		Correlation: known(m.Correlation),
		KLDP50:      m.P50, KLDP90: m.P90, KLDP95: m.P95, KLDP99: m.P99, KLDP999: m.P999, KLDMax: m.Max,
	}
	measures.PPL, measures.PPLError, measures.PPLLow, measures.PPLHigh = parts(m.PPL)
	measures.PPLRatio, measures.PPLRatioError, measures.PPLRatioLow, measures.PPLRatioHigh = parts(m.Ratio)
	measures.KLD, measures.KLDError, measures.KLDLow, measures.KLDHigh = parts(m.KLD)
	measures.SameTop, measures.SameTopError, measures.SameTopLow, measures.SameTopHigh = parts(m.SameTop)
	measures.RMSDeltaP, measures.RMSDeltaPError, measures.RMSDeltaPLow, measures.RMSDeltaPHigh = parts(m.RMSDeltaP)
	if m.Routing != nil {
		router := m.Router()
		measures.Router = &router
	}
	if len(m.Hidden) == 0 {
		return measures // nothing was seen but what was predicted
	}
	measures.Embedding = m.Hidden[0]
	for i, hidden := range m.Hidden[1:] {
		layer := Layer{Layer: i, Hidden: hidden}
		if m.Routing != nil && !math.IsNaN(m.Routing[i].Experts) {
			layer.SameExperts, layer.SameFirstExpert = &m.Routing[i].Experts, &m.Routing[i].First
		}
		measures.Layers = append(measures.Layers, layer)
	}
	return measures
}

// Add adds models and what was measured of them. It may be called several times, each time with other
// models on the same texts. Texts must be named, and Ctx known.
func (r *Drift) Add(base gguf.Source, models []drift.Candidate, measured *drift.Report) error {
	tokens := 0
	for i, n := range measured.Chunks {
		tokens += measured.Tokens[i]
		r.Texts[i].Chunks, r.Texts[i].ScoredTokens = n, measured.Base.Texts[i].Tokens
	}
	storage, err := newStorage(base)
	if err != nil {
		return err
	}
	seconds := measured.Base.Elapsed.Seconds()
	r.Base = Base{
		Storage: storage, Quantized: storage.QuantizedBPW != nil,
		Seconds: seconds, TokensPerSecond: float64(tokens) / seconds,
	}
	r.Base.PPL, r.Base.PPLError, r.Base.PPLLow, r.Base.PPLHigh = parts(measured.Base.Overall.PPL)
	for i, text := range measured.Base.Texts {
		base := BaseText{File: r.Texts[i].File}
		base.PPL, base.PPLError, base.PPLLow, base.PPLHigh = parts(text.PPL)
		r.Base.ByText = append(r.Base.ByText, base)
	}
	floor := measured.Floor.Overall
	r.Floor = Floor{
		KLD: floor.KLD.Value, KLDLow: known(floor.KLD.Low), KLDHigh: known(floor.KLD.High), KLDMax: floor.Max,
		SameTop: floor.SameTop.Value, ScoredTokens: floor.Tokens,
	}
	for i, model := range models {
		storage, err := newStorage(model.Source)
		if err != nil {
			return fmt.Errorf("%s: %w", model.Name, err)
		}
		result := measured.Candidates[i]
		seconds := result.Elapsed.Seconds()
		candidate := Candidate{
			Name: model.Name, Storage: storage, Measures: newMeasures(result.Overall), AboveFloor: measured.AboveFloor(result),
			Seconds: seconds, TokensPerSecond: float64(tokens) / seconds,
		}
		for t, text := range result.Texts {
			one := TextResult{File: r.Texts[t].File, Measures: newMeasures(text), KLDWindows: result.KLD[t]}
			if result.Scored != nil {
				one.WindowTokens = result.Scored[t]
			}
			candidate.ByText = append(candidate.ByText, one)
		}
		r.Candidates = append(r.Candidates, candidate)
	}
	return nil
}
