package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/interval"
	"github.com/ggufkit/ggufkit/infer/perplexity"
)

// Donor is a model that a mixture was made of, on a text.
type Donor struct {
	Name string `json:"name"`
	Score
	// Ratio is the perplexity of the mixture over that of the donor, with its 95 % interval: that of
	// the differences in each window. Null if the windows are not the same for both, since the donor
	// has other tokens; an interval takes two windows.
	Ratio     *float64 `json:"ppl_ratio"`
	RatioLow  *float64 `json:"ppl_ratio_low"`
	RatioHigh *float64 `json:"ppl_ratio_high"`

	windows []float64 // as in DoctorText
}

// Score is a perplexity with its 95 % interval.
type Score struct {
	PPL     float64  `json:"ppl"`
	PPLLow  *float64 `json:"ppl_low"`
	PPLHigh *float64 `json:"ppl_high"`
}

func newScore(r perplexity.Result) Score {
	return Score{r.PPL, known(r.Low), known(r.High)}
}

// compare sets the ratio, given the mean negative log-likelihood of each window of each text for the mixture
// and for the donor.
func (d *Donor) compare(mixture, donor [][]float64) {
	var differences [][]float64
	for t := range mixture {
		var windows []float64
		for i, nll := range mixture[t] {
			windows = append(windows, nll-donor[t][i])
		}
		differences = append(differences, windows)
	}
	ratio := interval.Of(differences...).Exp()
	d.Ratio, d.RatioLow, d.RatioHigh = &ratio.Value, known(ratio.Low), known(ratio.High)
}

// verdict is "better", "worse" or "unclear": the mixture against a donor.
func (d Donor) verdict() string {
	switch {
	case d.RatioHigh != nil && *d.RatioHigh < 1:
		return "better"
	case d.RatioLow != nil && *d.RatioLow > 1:
		return "worse"
	}
	return "unclear"
}

// Answer says whether a mixture is better than what it was made of, on a text or on all.
type Answer struct {
	File string `json:"file,omitempty"` // "" is all texts together
	// Best is the donor with the least perplexity.
	Best    Donor  `json:"best_donor"`
	Verdict string `json:"verdict"` // better, worse, unclear
	Answer  string `json:"answer"`
}

// answers says for each text, and for all of several together, whether the mixture is better than
// the best donor there. There is none without donors that have the mixture's tokens.
func answers(texts []DoctorText) []Answer {
	var answers []Answer
	for _, text := range texts {
		compared := slices.DeleteFunc(slices.Clone(text.Donors), func(d Donor) bool { return d.Ratio == nil })
		if len(compared) == 0 {
			continue
		}
		best := slices.MinFunc(compared, func(a, b Donor) int { return cmp.Compare(a.PPL, b.PPL) })
		answers = append(answers, newAnswer(text.File, text.PPL, best))
	}
	if len(texts) < 2 || len(answers) < len(texts) {
		return answers
	}
	return append(answers, together(texts))
}

// together compares the mixture with the best single donor on all texts.
func together(texts []DoctorText) Answer {
	var mixture [][]float64
	for _, text := range texts {
		mixture = append(mixture, text.windows)
	}
	best := Donor{Score: Score{PPL: math.Inf(1)}}
	for i, donor := range texts[0].Donors {
		var windows [][]float64
		for _, text := range texts {
			if text.Donors[i].Ratio != nil {
				windows = append(windows, text.Donors[i].windows)
			}
		}
		if ppl := perplexityOf(windows); len(windows) == len(texts) && ppl < best.PPL {
			best = Donor{Name: donor.Name, Score: Score{PPL: ppl}}
			best.compare(mixture, windows)
		}
	}
	return newAnswer("", perplexityOf(mixture), best)
}

// perplexityOf returns the perplexity of the windows of several texts.
func perplexityOf(texts [][]float64) float64 {
	return math.Exp(interval.Of(texts...).Value)
}

// newAnswer says how a mixture with some perplexity compares with the best donor on a text.
func newAnswer(file string, ppl float64, best Donor) Answer {
	a := Answer{File: file, Best: best, Verdict: best.verdict()}
	where, donor := "On all texts together", "the best single donor"
	if file != "" {
		where, donor = "On "+display.Stem(file), "its best donor"
	}
	figures := fmt.Sprintf("perplexity %.4f against %.4f", ppl, best.PPL)
	change := func(ratio float64) string { return fmt.Sprintf("%+.1f %%", 100*(ratio-1)) }
	if best.RatioLow == nil || best.RatioHigh == nil {
		a.Answer = fmt.Sprintf("%s nothing can be said of the mixture and %s, %s: %s, in one window, which is too little for an interval.", where, donor,
			best.Name, figures)
		return a
	}
	claim := "is " + a.Verdict + " than"
	if a.Verdict == "unclear" {
		claim = "cannot be told from"
	}
	a.Answer = fmt.Sprintf("%s the mixture %s %s, %s: %s, %s (95 %% interval %s to %s).", where, claim, donor, best.Name, figures, change(*best.Ratio),
		change(*best.RatioLow), change(*best.RatioHigh))
	return a
}

// AnswerLines says whether the mixture is better than what it was made of: first on how many texts.
func (r *Doctor) AnswerLines() []string {
	if len(r.Answers) == 0 {
		return nil
	}
	counts := make(map[string]int)
	var lines []string
	for _, a := range r.Answers {
		if a.File != "" {
			counts[a.Verdict]++
		}
		lines = append(lines, a.Answer)
	}
	var parts []string
	for _, verdict := range []string{"better", "worse", "unclear"} {
		if n := counts[verdict]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s on %d of %d", verdict, n, len(r.Texts)))
		}
	}
	return slices.Insert(lines, 0, fmt.Sprintf("Is the mixture better than the best of what it was made of? By text: %s.", strings.Join(parts, ", ")))
}
