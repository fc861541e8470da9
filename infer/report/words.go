package report

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/interval"
)

// title is what the model is called.
func (r *Drift) title() string {
	if r.Provenance == nil {
		return display.Stem(r.Model)
	}
	return display.Printable(r.Provenance.Model.Name)
}

// pareto returns the candidates that none is both smaller and closer to the
// original than, from small to large.
func (r *Drift) pareto() []Candidate {
	sorted := slices.Clone(r.Candidates)
	slices.SortStableFunc(sorted, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.Bytes, b.Bytes), cmp.Compare(a.KLD, b.KLD))
	})
	var front []Candidate
	for _, c := range sorted {
		if len(front) == 0 || c.KLD < front[len(front)-1].KLD {
			front = append(front, c)
		}
	}
	return front
}

// closeEnough is the mean divergence that a candidate is recommended by where no limit was given.
const closeEnough = 0.01

// meaning says what the figures mean, in two sentences: which candidate to take, and which not
// to. Both go by divergence, and by what is not chance. Where the base is quantized, it says so first.
func (r *Drift) meaning() []string {
	good, beaten := r.sortOut()
	noun := r.Base.noun()
	here := "on this text"
	if len(r.Texts) > 1 {
		here = "on these texts"
	}
	sentences := []string{fmt.Sprintf("No candidate is sure to keep to a mean KL divergence of %g %s.", closeEnough, here)}
	if good != nil {
		sentences[0] = fmt.Sprintf("%s is the smallest that keeps to a mean KL divergence of %g %s: %.5f, 95 %% interval %.5f to %.5f%s. It has %.0f %% "+
			"of the %s's size, and the token that it thinks most likely is the %[9]s's in %.1[10]f %% of all places.",
			good.Name, closeEnough, here, good.KLD, *good.KLDLow, *good.KLDHigh, good.worst(), 100*float64(good.Bytes)/float64(r.Base.Bytes), noun, 100*good.SameTop)
	}
	sentences = append(r.Base.caution(), sentences...)
	switch {
	case len(beaten) > 0 && r.Base.Quantized:
		return append(sentences, fmt.Sprintf("At most as large as %s is another candidate that is closer to the reference, by more than chance.",
			listed(beaten, "or")))
	case len(beaten) > 0 && r.mixed(): // who needs a format for the program that reads it has another reason
		return append(sentences, fmt.Sprintf("By size and drift alone there is no reason to take %s: another candidate is at most as large and closer to the "+
			"original, by more than chance.", listed(beaten, "or")))
	case len(beaten) > 0:
		return append(sentences, fmt.Sprintf("There is no reason to take %s: another candidate is at most as large and closer to the original, by more "+
			"than chance.", listed(beaten, "or")))
	}
	if alike := r.alike(); len(alike) > 0 {
		return append(sentences, fmt.Sprintf("More text would be needed to tell %s.", listed(alike, "and")))
	}
	return append(sentences, "The choice is one of size: every larger candidate is closer to the "+noun+".")
}

// sortOut returns the smallest candidate that is close enough, or nil, and which are beaten by one
// that is at most as large.
func (r *Drift) sortOut() (good *Candidate, beaten []string) {
	for i, c := range r.Candidates {
		switch {
		case slices.ContainsFunc(r.Candidates, func(other Candidate) bool { return other.Bytes <= c.Bytes && c.further(other) }):
			beaten = append(beaten, c.Name)
		case c.KLDHigh != nil && *c.KLDHigh <= closeEnough && (good == nil || c.Bytes < good.Bytes):
			good = &r.Candidates[i]
		}
	}
	return good, beaten
}

// further reports whether a candidate is further from the original than another, window by window
// and by more than chance.
func (c Candidate) further(other Candidate) bool {
	difference, err := drift.Difference(c.result(), other.result())
	return err == nil && difference.Positive(interval.Level) // an error is that of another run
}

// result returns as much of what was measured as drift.Difference needs.
func (c Candidate) result() drift.Result {
	result := drift.Result{Name: c.Name}
	for _, text := range c.ByText {
		result.KLD = append(result.KLD, text.KLDWindows)
		if text.WindowTokens != nil {
			result.Scored = append(result.Scored, text.WindowTokens)
		}
	}
	return result
}

// worst says on which of several texts a candidate is furthest from the original.
func (c Candidate) worst() string {
	if len(c.ByText) < 2 {
		return ""
	}
	worst := slices.MaxFunc(c.ByText, func(a, b TextResult) int { return cmp.Compare(a.KLD, b.KLD) })
	return fmt.Sprintf("; on %s, the worst, %s", display.Stem(worst.File), withInterval("%.5f", worst.KLD, worst.KLDLow, worst.KLDHigh))
}

// alike returns which candidates cannot be told from the next smaller one.
func (r *Drift) alike() []string {
	sorted := slices.Clone(r.Candidates)
	slices.SortStableFunc(sorted, func(a, b Candidate) int { return cmp.Compare(b.Bytes, a.Bytes) })
	var alike []string
	for i := 1; i < len(sorted); i++ {
		if !sorted[i].further(sorted[i-1]) {
			alike = append(alike, fmt.Sprintf("%s from %s", sorted[i-1].Name, sorted[i].Name))
		}
	}
	return alike
}

// listed joins names as a sentence does.
func listed(names []string, last string) string {
	n := len(names) - 1
	if n == 0 {
		return names[0]
	}
	return strings.Join(names[:n], ", ") + " " + last + " " + names[n]
}

// intervals says what the intervals are.
func (r *Drift) intervals() string {
	for _, text := range r.Texts {
		if text.Chunks < 2 {
			return fmt.Sprintf("There are no intervals of all texts: %s has only one window, which does not say how much windows differ.",
				filepath.Base(text.File))
		}
	}
	return "In brackets: 95 % intervals for text like this, made of the windows, since the tokens of a window are not independent."
}

// floor says what the arithmetic alone makes of the original, and who is not above that.
func (r *Drift) floor() string {
	if r.Compute == infer.Exact.String() {
		return fmt.Sprintf("Noise floor: the %s run a second time has a KL divergence of %.2g over %d tokens.", r.Base.noun(), r.Floor.KLD,
			r.Floor.ScoredTokens)
	}
	says := fmt.Sprintf("Noise floor: rounding to 8 bits in all products takes the %s %s from itself computed exactly, over %d tokens.",
		r.Base.noun(), withInterval("%.5f", r.Floor.KLD, r.Floor.KLDLow, r.Floor.KLDHigh), r.Floor.ScoredTokens)
	var within []string
	for _, c := range r.Candidates {
		if !c.AboveFloor {
			within = append(within, c.Name)
		}
	}
	if len(within) > 0 {
		says += fmt.Sprintf(" Not above that by more than chance: %s.", strings.Join(within, ", "))
	}
	return says
}

// method says how the figures were measured, a sentence each.
func (r *Drift) method() []string {
	scored, chunks := 0, 0
	var names []string
	var lines []string
	for _, text := range r.Texts {
		name := fmt.Sprintf("%s (SHA-256 %.12s)", filepath.Base(text.File), text.SHA256)
		if text.Conversations != nil {
			lines = append(lines, text.sentence(name))
			continue
		}
		scored += text.ScoredTokens
		chunks += text.Chunks
		names = append(names, name)
	}
	if len(names) > 0 {
		lines = append(lines, fmt.Sprintf("%d scored tokens, the second halves of %d windows of %d, of %s.", scored, chunks, r.Ctx, strings.Join(names, ", ")))
	}
	weights := "without importance matrix"
	if r.Imatrix != "" {
		weights = "with importance matrix " + filepath.Base(r.Imatrix)
	}
	lines = append(lines, fmt.Sprintf("%s compute; types quantized %s.", r.Compute, weights), r.intervals(), r.floor())
	if r.mixed() {
		lines = append(lines, r.sizes())
	}
	return lines
}

// sentence says what was scored of conversations.
func (t Text) sentence(name string) string {
	of := "all tokens"
	if t.Scored == Assistant {
		of = "the assistant's tokens"
	}
	says := fmt.Sprintf("%d scored tokens, %s, of %d conversations of %s, each a window.", t.ScoredTokens, of, t.Chunks, name)
	if t.Cut > 0 {
		says += fmt.Sprintf(" Cut to %d tokens: %d.", t.Most, t.Cut)
	}
	if t.Unscored > 0 {
		says += fmt.Sprintf(" Left out, with no token to score: %d.", t.Unscored)
	}
	return says
}

// sizes says what sizes are of where weights are packed in several formats.
func (r *Drift) sizes() string {
	says := "Sizes are those on disk: of GGUF files, and of the safetensors files of packed checkpoints. Bits per packed weight are those of all tensors that are " +
		"packed or quantized, scales included."
	if r.Compute != infer.Exact.String() {
		says += " The weights of packed checkpoints are unpacked and multiplied in float32, activations are not rounded for them."
	}
	return says
}
