// Package interval says how far a mean over the windows of texts may be from that of
// all text of their kind.
//
// The tokens of a window are not independent: what is hard in one place is hard in the
// next, so that an error made of tokens is two to three times too small. The windows are
// the unit here, of one length or, as conversations, of many. A mean over several texts is that of these texts: each has its own
// variance, and how much the texts differ among each other is no part of the error.
//
//	mean := interval.Of(chat, code) // a figure of each window of two texts
//	low, high := mean.Interval(interval.Level)
//	sure := mean.Above(0) // how likely the mean is above 0
//
// Divergences have long tails, and windows are few. An interval is therefore Student's,
// with the skewness of the windows taken out by Hall's transformation: the ends are not
// equally far from the mean. Windows that follow each other are taken for independent.
// Of measured windows drawn again and again, ten or more at a time, such intervals cover the
// mean in 93 to 97 of 100 cases: that is a test of this package.
package interval

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mathext"
)

// Level is the confidence of every interval that is shown.
const Level = 0.95

// mostSkew bounds the product of the skewness and Student's quantile, where Hall's
// transformation is not yet steep: the far end of an interval is not more than 1.7 times as
// far from the mean as Student's. A few windows of which one is unlike the others have more, but
// coverage does not depend on it.
const mostSkew = 7. / 8

// Mean is what windows say of the mean of a figure.
type Mean struct {
	Value float64
	// Error is the standard error of Value; NaN if a text has only one window, which says
	// nothing of how much windows differ.
	Error float64

	freedom float64 // degrees of freedom of Error
	skew    float64 // skewness of Value's distribution
}

// Of returns the mean over all windows, given a figure of each window of each text. All
// windows have as many tokens, so that it is that of the tokens too.
func Of(texts ...[]float64) Mean { return Weighted(texts, nil) }

// Weighted returns the mean over the tokens of all windows, given the mean over those of each window of each text, and how many these are: nil if
// all windows have as many.
//
// The variance is the sum of those within the texts, with the degrees of freedom of
// Satterthwaite (An approximate distribution of estimates of variance components,
// Biometrics 2, 1946); the third moment likewise. Of a text it is that of a ratio, of the sum of the figure to the number of tokens, both of
// which windows differ in, by the jackknife: of what it is without each of the windows (W. G. Cochran, Sampling Techniques, 1977, 6.17). Of 10 or 40
// conversations whose lengths are distributed exponentially, and which are hard or not whatever their length, intervals cover the mean in 92 of 100 cases; in fewer if
// the long ones are the hard ones.
func Weighted(texts [][]float64, tokens [][]int) Mean {
	weights := make([][]float64, len(texts))
	var total, all float64
	for t, values := range texts {
		weights[t] = make([]float64, len(values))
		for i, v := range values {
			weights[t][i] = 1
			if tokens != nil {
				weights[t][i] = float64(tokens[t][i])
			}
			total += float64(weights[t][i] * v) // not fused, to be the same everywhere
			all += weights[t][i]
		}
	}
	m := Mean{Value: total / all}
	var variance, third, squares float64
	for t, values := range texts {
		n, weight := float64(len(values)), sum(weights[t])
		share := weight / all
		var mean, weightSquares float64
		for i, v := range values {
			mean += float64(weights[t][i] * v)
			weightSquares += float64(weights[t][i] * weights[t][i])
		}
		mean /= weight
		count := weight * weight / weightSquares // windows of one length that say as much (L. Kish, Survey Sampling, 1965): n or fewer
		var two, three float64
		for i, v := range values {
			d := (n - 1) * weights[t][i] / (weight - weights[t][i]) * (v - mean)
			two += float64(d * d)
			three += float64(float64(d*d) * d)
		}
		part := float64(share * share * two / (n * (n - 1))) // NaN for one window
		variance += part
		squares += float64(part * part / (count - 1))
		if n > 2 {
			third += float64(share * share * share * three / (n * (n - 1) * (n - 2)))
		}
	}
	m.Error = math.Sqrt(variance)
	if variance > 0 {
		m.freedom = variance * variance / squares
		most := mostSkew / quantile(Level, m.freedom)
		m.skew = min(max(third/(variance*m.Error), -most), most)
	}
	return m
}

// Unequal returns the tokens of windows as Weighted takes them: nil if all have as many.
func Unequal(tokens [][]int) [][]int {
	first := -1
	for _, windows := range tokens {
		for _, n := range windows {
			if first < 0 {
				first = n
			}
			if n != first {
				return tokens
			}
		}
	}
	return nil
}

// Difference returns the mean of a less b, given the figures of both for each window of each
// text, and its tokens as for Weighted: much of what makes a window hard is common to both, and cancels.
func Difference(a, b [][]float64, tokens [][]int) (Mean, error) {
	if len(a) != len(b) {
		return Mean{}, fmt.Errorf("they have %d and %d texts", len(a), len(b))
	}
	differences := make([][]float64, len(a))
	for text := range a {
		if len(a[text]) != len(b[text]) {
			return Mean{}, fmt.Errorf("of text %d, they have %d and %d windows", text, len(a[text]), len(b[text]))
		}
		for i, v := range a[text] {
			differences[text] = append(differences[text], v-b[text][i])
		}
	}
	return Weighted(differences, tokens), nil
}

// Interval returns the ends of the interval that covers the mean of all text of the kind
// with a probability of level. They are NaN if Error is.
//
// The transformation is that of P. Hall, On the removal of skewness by transformation,
// J. R. Statist. Soc. B 54, 1992, with Student's quantiles in place of the normal ones.
func (m Mean) Interval(level float64) (low, high float64) {
	if !(m.Error > 0) {
		return m.Value - m.Error, m.Value + m.Error
	}
	t := quantile(level, m.freedom)
	return m.Value - m.Error*m.skewed(t), m.Value - m.Error*m.skewed(-t)
}

// Above returns how likely the mean of all text of the kind is above a limit; NaN if Error is.
func (m Mean) Above(limit float64) float64 {
	over := m.Value - limit
	if !(m.Error > 0) {
		return 0.5 + 0.5*sign(over) + m.Error // which is 0 or NaN
	}
	t, u := over/m.Error, m.skew/3
	return student(t+u*t*t+u*u*t*t*t/3+u/2, m.freedom)
}

// Positive reports whether the mean is above 0 by more than chance: whether its interval is.
func (m Mean) Positive(level float64) bool {
	low, _ := m.Interval(level)
	return low > 0
}

// skewed returns by how many standard errors a mean of the skewness is off where a
// symmetric one were off by t.
func (m Mean) skewed(t float64) float64 {
	u := m.skew / 3
	if math.Abs(u) < 1e-6 {
		return t - u/2
	}
	return (math.Cbrt(1+3*u*(t-u/2)) - 1) / u
}

// quantile returns what the absolute value of Student's t is below with probability p.
func quantile(p, freedom float64) float64 {
	x := mathext.InvRegIncBeta(freedom/2, 0.5, 1-p)
	return math.Sqrt(freedom * (1 - x) / x)
}

// student returns the distribution function of Student's t.
func student(t, freedom float64) float64 {
	tail := mathext.RegIncBeta(freedom/2, 0.5, freedom/(freedom+t*t))
	return 0.5 + 0.5*sign(t)*(1-tail)
}

func sum(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum
}

func sign(v float64) float64 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return v // 0 or NaN
}
