// Package choose picks, of the ways to quantize a model, the one to use: the
// closest to the original that fits into some memory, or the smallest that is
// close enough.
//
// What a candidate loses is the mean divergence that package drift measures. Sizes
// are known before anything is computed, so that [Run] has measured only what can
// be the answer: a smaller candidate is further from the original, nearly always,
// and the few around the answer show whether it is so.
//
// What it says holds for the texts that were measured, and more text like them: intervals
// and paired differences are made of windows (package interval). Every comparison stands for
// itself: of twenty candidates that are equally good, one will seem to be worse.
//
//	memory, err := choose.NewMemory(model.Spec(), choose.Setting{Context: 8192, Keys: gguf.F16, Values: gguf.F16, FlashAttention: true})
//	if err != nil {
//		return err
//	}
//	choice, err := choose.Run(choose.Limits{Fit: 24e9}, memory, candidates, measure)
//	if err != nil {
//		return err
//	}
//	fmt.Println(choice.Considered[choice.Chosen].Name)
package choose

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/interval"
)

// ErrNone means that no candidate keeps to the limits.
var ErrNone = errors.New("nothing to choose")

// Limits are what the choice has to keep to. With Fit alone it is the candidate
// with the least divergence, with MaxKLD the smallest.
type Limits struct {
	// Fit is how many bytes of memory there are for the model and what it takes
	// to run it; 0 is enough for any.
	Fit int64
	// MaxKLD is what the mean divergence, in nats, may be at most: the upper
	// end of its 95 % interval. 0 allows any.
	MaxKLD float64
	// EveryText asks that MaxKLD is kept to on each text, not only on all together.
	EveryText bool
	// Quantized says that what candidates are compared with is quantized itself: it is called
	// the reference, and not the original.
	Quantized bool
}

// base is what candidates are compared with.
func (l Limits) base() string {
	if l.Quantized {
		return "the reference"
	}
	return "the original"
}

// Candidate is a model that may be chosen.
type Candidate struct {
	drift.Candidate
	Bytes int64 // of its file
}

// Considered is what became of a candidate.
type Considered struct {
	Candidate
	Needs  int64         // bytes of memory: the file's and what running takes
	Result *drift.Result // nil if it was not measured
	Reason string        // why it was chosen, or why not, in a few words
}

// Choice is the outcome.
type Choice struct {
	Limits
	Memory     Memory
	Considered []Considered // from large to small
	Chosen     int          // index of the one to use
	// RunnerUp is the index of the measured one that would be chosen if Chosen
	// were not there or, with Limits.MaxKLD, of the next smaller one; -1 if there is
	// none. Difference is its mean divergence less that of the chosen, paired.
	RunnerUp   int
	Difference interval.Mean
	// Confidence is how likely the choice is right on text like that measured:
	// with Limits.MaxKLD that the divergence is not above it, otherwise that it
	// is less than that of the runner-up. NaN if the windows cannot tell, 1 if there is
	// nothing to tell.
	Confidence float64
}

// Run has candidates measured, some at a time, until it is clear which to choose. If
// none keeps to the limits, the error wraps ErrNone and says which is the nearest,
// and the Choice has all but the choice itself.
func Run(limits Limits, memory Memory, candidates []Candidate, measure func([]drift.Candidate) ([]drift.Result, error)) (*Choice, error) {
	c := newChoice(limits, memory, candidates, nil)
	for next := c.next(); len(next) > 0; next = c.next() {
		var models []drift.Candidate
		for _, i := range next {
			models = append(models, c.Considered[i].Candidate.Candidate)
		}
		results, err := measure(models)
		if err != nil {
			return nil, err
		}
		for n, i := range next {
			c.Considered[i].Result = &results[n]
		}
	}
	return c, c.decide()
}

// Decide chooses between candidates that were all measured. Errors are those of
// Run.
func Decide(limits Limits, memory Memory, candidates []Candidate, results []drift.Result) (*Choice, error) {
	c := newChoice(limits, memory, candidates, results)
	return c, c.decide()
}

// newChoice returns what is to be decided. results are nil or those of all
// candidates.
func newChoice(limits Limits, memory Memory, candidates []Candidate, results []drift.Result) *Choice {
	c := &Choice{Limits: limits, Memory: memory, Chosen: -1, RunnerUp: -1}
	for i, candidate := range candidates {
		considered := Considered{Candidate: candidate, Needs: candidate.Bytes + memory.Bytes()}
		if results != nil {
			considered.Result = &results[i]
		}
		c.Considered = append(c.Considered, considered)
	}
	slices.SortStableFunc(c.Considered, func(a, b Considered) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return c
}

// fits reports whether a candidate fits into memory.
func (c *Choice) fits(i int) bool { return c.Fit == 0 || c.Considered[i].Needs <= c.Fit }

// fitting returns the candidates that fit.
func (c *Choice) fitting() []int {
	var fitting []int
	for i := range c.Considered {
		if c.fits(i) {
			fitting = append(fitting, i)
		}
	}
	return fitting
}

func (c *Choice) measured(i int) bool { return c.Considered[i].Result != nil }

// kld returns the mean divergence of a candidate that was measured.
func (c *Choice) kld(i int) float64 { return c.Considered[i].Result.Overall.KLD.Value }

// limited returns the part of what was measured of a candidate that MaxKLD asks for: all texts
// together, or that of which the interval ends highest.
func (c *Choice) limited(i int) drift.Measures {
	result := c.Considered[i].Result
	if !c.EveryText {
		return result.Overall
	}
	return slices.MaxFunc(result.Texts, func(a, b drift.Measures) int {
		if math.IsNaN(a.KLD.High) || math.IsNaN(b.KLD.High) {
			return -cmp.Compare(a.KLD.High, b.KLD.High) // nothing is as high as what is not known
		}
		return cmp.Compare(a.KLD.High, b.KLD.High)
	})
}

// goodEnough reports whether a candidate that was measured is close enough.
func (c *Choice) goodEnough(i int) bool { return c.MaxKLD == 0 || c.limited(i).KLD.High <= c.MaxKLD }

// difference returns the mean divergence of a candidate less that of another.
func (c *Choice) difference(i, other int) (interval.Mean, error) {
	return drift.Difference(*c.Considered[i].Result, *c.Considered[other].Result)
}

// closest returns the one of some measured candidates with the least divergence,
// of equals the smallest.
func (c *Choice) closest(of []int) int {
	return slices.MinFunc(of, func(a, b int) int { return cmp.Or(cmp.Compare(c.kld(a), c.kld(b)), cmp.Compare(b, a)) })
}

// round is how many candidates are measured together, if only the least
// divergence is sought.
const round = 4

// stride is how far apart in size the candidates are that are measured first, if
// the smallest is sought that is good enough.
const stride = 3

// next returns the candidates to measure now, none if the choice is clear.
func (c *Choice) next() []int {
	fitting := c.fitting()
	first := !slices.ContainsFunc(fitting, c.measured)
	if c.MaxKLD == 0 {
		// The largest, and on until the smallest of them is clearly not the best.
		n := 0
		for n < len(fitting) && c.measured(fitting[n]) {
			n++
		}
		if !first {
			// An error is one of decide, too.
			if d, err := c.difference(fitting[n-1], c.closest(fitting[:n])); err != nil || d.Positive(interval.Level) {
				return nil
			}
		}
		return fitting[n:min(n+round, len(fitting))]
	}
	if first {
		if len(fitting) <= 2*stride {
			return fitting
		}
		var next []int
		for i := 1; i < len(fitting); i += stride {
			next = append(next, fitting[i])
		}
		return next
	}
	// Those between the smallest that is good enough and the next smaller one
	// that was measured.
	after := len(fitting)
	for i, candidate := range slices.Backward(fitting) {
		if !c.measured(candidate) {
			continue
		}
		if c.goodEnough(candidate) {
			return fitting[i+1 : after]
		}
		after = i
	}
	return fitting[:after]
}

// decide makes the choice of what was measured.
func (c *Choice) decide() error {
	if len(c.Considered) == 0 {
		return fmt.Errorf("%w: there are no candidates", ErrNone)
	}
	fitting := c.fitting()
	if len(fitting) == 0 {
		return c.none("none of %d candidates fits into %s", len(c.Considered), display.Bytes(c.Fit))
	}
	var good, measured []int
	for _, i := range fitting {
		if c.measured(i) {
			measured = append(measured, i)
			if c.goodEnough(i) {
				good = append(good, i)
			}
		}
	}
	if len(good) == 0 {
		return c.none("no candidate that fits has a mean KL divergence of at most %g", c.MaxKLD)
	}
	if c.MaxKLD == 0 {
		c.Chosen = c.closest(good)
		if others := slices.DeleteFunc(good, func(i int) bool { return i == c.Chosen }); len(others) > 0 {
			c.RunnerUp = c.closest(others)
		}
	} else {
		smallest := c.Considered[good[len(good)-1]].Bytes
		c.Chosen = c.closest(slices.DeleteFunc(good, func(i int) bool { return c.Considered[i].Bytes > smallest }))
		if at := slices.Index(measured, c.Chosen); at+1 < len(measured) {
			c.RunnerUp = measured[at+1]
		}
	}
	if err := c.compare(); err != nil {
		return err
	}
	for i := range c.Considered {
		reason, err := c.reason(i)
		if err != nil {
			return err
		}
		c.Considered[i].Reason = reason
	}
	return nil
}

// compare says how sure the choice is.
func (c *Choice) compare() (err error) {
	c.Confidence = 1
	if c.RunnerUp >= 0 {
		if c.Difference, err = c.difference(c.RunnerUp, c.Chosen); err != nil {
			return err
		}
		c.Confidence = c.Difference.Above(0)
	}
	if c.MaxKLD == 0 {
		return nil
	}
	chosen := c.Considered[c.Chosen].Result
	c.Confidence = 1 - chosen.Divergence().Above(c.MaxKLD)
	if c.EveryText {
		c.Confidence = 1
		for text := range chosen.KLD {
			c.Confidence = min(c.Confidence, 1-chosen.TextDivergence(text).Above(c.MaxKLD))
		}
	}
	return nil
}

// none returns the error that there is nothing to choose, with the reason of each
// candidate and the nearest.
func (c *Choice) none(format string, args ...any) error {
	nearest := len(c.Considered) - 1 // the smallest
	var measured []int
	for i := range c.Considered {
		c.Considered[i].Reason = c.refusal(i)
		switch {
		case c.measured(i):
			measured = append(measured, i)
		case c.fits(i):
			c.Considered[i].Reason = c.tooSmall(i)
		}
	}
	if len(measured) > 0 {
		nearest = c.closest(measured)
	}
	n := c.Considered[nearest]
	return fmt.Errorf("%w: %s; the nearest is %s (%s)", ErrNone, fmt.Sprintf(format, args...), n.Name, n.Reason)
}

// refusal says which limit a candidate breaks, "" if it breaks none.
func (c *Choice) refusal(i int) string {
	switch {
	case !c.fits(i):
		return fmt.Sprintf("does not fit: %s over", display.Bytes(c.Considered[i].Needs-c.Fit))
	case !c.measured(i) || c.goodEnough(i):
		return ""
	}
	limited := c.limited(i)
	figure := fmt.Sprintf("KL %.5f", limited.KLD.Value)
	if limited.Text != "" {
		figure += " on " + limited.Text
	}
	switch {
	case limited.KLD.Value > c.MaxKLD:
		return fmt.Sprintf("%s > %g", figure, c.MaxKLD)
	case math.IsNaN(limited.KLD.High):
		return figure + ", but one window of a text has no interval"
	}
	return fmt.Sprintf("%s, but its 95 %% interval ends at %.5f > %g", figure, limited.KLD.High, c.MaxKLD)
}

// reason says why a candidate was chosen, or why not.
func (c *Choice) reason(i int) (string, error) {
	chosen, other := &c.Considered[c.Chosen], &c.Considered[i]
	if refusal := c.refusal(i); refusal != "" {
		return refusal, nil
	}
	switch {
	case i == c.Chosen && c.MaxKLD > 0:
		return "chosen: the smallest that is good enough", nil
	case i == c.Chosen:
		return fmt.Sprintf("chosen: the closest to %s that fits", c.base()), nil
	case !c.measured(i) && c.MaxKLD == 0:
		return fmt.Sprintf("not measured: smaller than %s, which is further from %s than %s", c.before(i), c.base(), chosen.Name), nil
	case !c.measured(i) && i < c.Chosen:
		return fmt.Sprintf("not measured: larger than %s, which is good enough", chosen.Name), nil
	case !c.measured(i):
		return c.tooSmall(i), nil
	case c.MaxKLD > 0 && c.kld(i) < c.kld(c.Chosen):
		return fmt.Sprintf("good enough, but larger than %s", chosen.Name), nil
	}
	difference, err := c.difference(i, c.Chosen)
	if err != nil {
		return "", err
	}
	smaller, further := other.Bytes < chosen.Bytes, difference.Positive(interval.Level)
	switch {
	case smaller && further:
		return fmt.Sprintf("KL %.5f > %.5f of %s", c.kld(i), c.kld(c.Chosen), chosen.Name), nil
	case smaller:
		return fmt.Sprintf("KL %.5f > %.5f of %s, but the difference may be chance", c.kld(i), c.kld(c.Chosen), chosen.Name), nil
	case further:
		return fmt.Sprintf("no smaller than %s, and further from %s", chosen.Name, c.base()), nil
	}
	return fmt.Sprintf("no smaller than %s, and not to be told from it", chosen.Name), nil
}

// tooSmall is the reason of a candidate that is smaller than one that is not good
// enough.
func (c *Choice) tooSmall(i int) string {
	return fmt.Sprintf("not measured: smaller than %s, which is not good enough", c.before(i))
}

// before returns the name of the smallest candidate that was measured and is larger
// than candidate i.
func (c *Choice) before(i int) string {
	for i--; !c.measured(i); i-- {
	}
	return c.Considered[i].Name
}

// Summary says in sentences what was chosen, how sure that is, which text is the worst, and how
// the runner-up compares. There must be a choice.
func (c *Choice) Summary() []string {
	chosen := c.Considered[c.Chosen]
	texts := chosen.Result.Texts
	here, these := "on this text", "For this text"
	if len(texts) > 1 {
		here, these = "on these texts", "For these texts"
	}
	all := within(chosen.Result.Overall.KLD)
	var sentences []string
	switch {
	case c.MaxKLD == 0:
		sentences = append(sentences, fmt.Sprintf("%s is the closest to %s of what fits: mean KL divergence %s %s.", chosen.Name, c.base(), here, all))
	case c.EveryText && len(texts) > 1:
		sentences = append(sentences, fmt.Sprintf("%s is the smallest that keeps to a mean KL divergence of %g on each of these texts; on all together it "+
			"has %s.", chosen.Name, c.MaxKLD, all))
	default:
		sentences = append(sentences, fmt.Sprintf("%s is the smallest that keeps to a mean KL divergence of %g %s: %s.", chosen.Name, c.MaxKLD, here, all))
	}
	if c.MaxKLD > 0 {
		sentences[0] += fmt.Sprintf(" %s that is %s sure.", these, percent(c.Confidence))
	}
	if len(texts) > 1 {
		sentences = append(sentences, c.worst(texts))
	}
	if c.RunnerUp < 0 {
		return append(sentences, "No other was measured that it could be compared with.")
	}
	runner := c.Considered[c.RunnerUp].Name
	place := "the runner-up"
	if c.MaxKLD > 0 {
		place = "the next smaller one"
	}
	low, high := c.Difference.Interval(interval.Level)
	paired := fmt.Sprintf("95 %% interval of the paired difference %.5f to %.5f", low, high)
	switch {
	case low > 0:
		return append(sentences, fmt.Sprintf("%s, %s, is further from %s by %.5f (%s). %s that is %s sure.", runner, place, c.base(),
			c.Difference.Value, paired, these, percent(c.Difference.Above(0))))
	case high < 0:
		return append(sentences, fmt.Sprintf("%s, %s, is closer to %s by %.5f (%s).", runner, place, c.base(), -c.Difference.Value, paired))
	case math.IsNaN(low):
		paired = "one window of a text has no interval"
	}
	return append(sentences, fmt.Sprintf("%s, %s, cannot be told from it %s (%s): more text would tell.", runner, place, here, paired))
}

// worst says on which text the chosen one is furthest from the original.
func (c *Choice) worst(texts []drift.Measures) string {
	worst := slices.MaxFunc(texts, func(a, b drift.Measures) int { return cmp.Compare(a.KLD.Value, b.KLD.Value) })
	sentence := fmt.Sprintf("It is furthest on %s: %s", worst.Text, within(worst.KLD))
	switch {
	case c.MaxKLD == 0 || worst.KLD.High <= c.MaxKLD:
		return sentence + "."
	case worst.KLD.Low > c.MaxKLD:
		return fmt.Sprintf("%s, which is above %g.", sentence, c.MaxKLD)
	}
	return fmt.Sprintf("%s, which may be above %g.", sentence, c.MaxKLD)
}

// within writes a figure with its interval.
func within(e interval.Estimate) string {
	if math.IsNaN(e.Low) {
		return fmt.Sprintf("%.5f, without an interval, since there is one window of a text", e.Value)
	}
	return fmt.Sprintf("%.5f, 95 %% interval %.5f to %.5f", e.Value, e.Low, e.High)
}

// percent writes a probability, without ever saying that something is certain.
func percent(p float64) string {
	if p > 0.999 {
		return "more than 99.9 %"
	}
	return fmt.Sprintf("%.1f %%", 100*p)
}
