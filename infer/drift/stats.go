package drift

import (
	"math"

	"golang.org/x/exp/stats"
)

// Z95 is how many standard errors a 95 % interval reaches to either side of the mean.
const Z95 = 1.96

// Stats is how the predictions of a model differ from those of the base, over some
// scored tokens. Errors are standard errors, which take the tokens for
// independent, as those of llama-perplexity do.
type Stats struct {
	Tokens int
	// PPL is the perplexity, exp of the mean negative log-likelihood.
	PPL, PPLError float64
	// Ratio is PPL over that of the base. Its error is that of the mean
	// difference of the log-likelihoods: much of the errors of both
	// perplexities is common, and cancels.
	Ratio, RatioError float64
	// Correlation is Pearson's, of the log-likelihoods of both; NaN if those of
	// either are all equal.
	Correlation float64
	// KLD is the mean over the tokens of the Kullback-Leibler divergence
	// Σ p·(log p - log q), in nats, where p is what the base predicts.
	KLD, KLDError float64
	// Percentiles of the divergence, and the largest.
	P50, P90, P95, P99, P999, Max float64
	// SameTop is the part of the tokens for which both models give the highest
	// probability to the same one.
	SameTop, SameTopError float64
	// RMSDeltaP is the root mean square of the change of the probability that
	// the right token is given.
	RMSDeltaP, RMSDeltaPError float64
}

// token is what two models make of one token of a text.
type token struct {
	nll     float64 // negative log-likelihood, in nats
	kld     float64 // divergence of the whole distribution from the base's
	deltaP  float64 // probability less that given by the base
	sameTop bool    // whether both would have chosen the same token
}

// newStats sums up tokens in the order of the text. base has what the base
// makes of them.
func newStats(base []reference, tokens []token) Stats {
	n := float64(len(tokens))
	collect := func(of func(i int) float64) []float64 {
		values := make([]float64, len(tokens))
		for i := range values {
			values[i] = of(i)
		}
		return values
	}
	nll := collect(func(i int) float64 { return tokens[i].nll })
	baseNLL := collect(func(i int) float64 { return base[i].nll })
	logRatio := collect(func(i int) float64 { return tokens[i].nll - base[i].nll })
	kld := collect(func(i int) float64 { return tokens[i].kld })
	squaredDelta := collect(func(i int) float64 { return tokens[i].deltaP * tokens[i].deltaP })
	same := 0
	for _, t := range tokens {
		if t.sameTop {
			same++
		}
	}

	s := Stats{Tokens: len(tokens), SameTop: float64(same) / n}
	mean, deviation := meanError(nll)
	s.PPL = math.Exp(mean)
	s.PPLError = s.PPL * deviation
	mean, deviation = meanError(logRatio)
	s.Ratio = math.Exp(mean)
	s.RatioError = s.Ratio * deviation
	s.Correlation = correlation(nll, baseNLL)
	s.KLD, s.KLDError = meanError(kld)
	at := stats.Quantiles(kld, 0.5, 0.9, 0.95, 0.99, 0.999, 1)
	s.P50, s.P90, s.P95, s.P99, s.P999, s.Max = at[0], at[1], at[2], at[3], at[4], at[5]
	if n > 1 {
		s.SameTopError = math.Sqrt(s.SameTop * (1 - s.SameTop) / (n - 1))
	}
	mean, deviation = meanError(squaredDelta)
	s.RMSDeltaP = math.Sqrt(mean)
	if mean > 0 {
		s.RMSDeltaPError = 0.5 / s.RMSDeltaP * deviation
	}
	return s
}

// meanError returns the mean of the values and its standard error,
// sqrt(variance / (n - 1)), which is 0 for a single value. The variance is summed
// around the mean, so that rounding cannot make it negative.
func meanError(values []float64) (mean, deviation float64) {
	n := float64(len(values))
	for _, v := range values {
		mean += v
	}
	mean /= n
	if n < 2 {
		return mean, 0
	}
	var squares float64
	for _, v := range values {
		squares += float64((v - mean) * (v - mean)) // not fused, to be the same everywhere
	}
	return mean, math.Sqrt(squares / n / (n - 1))
}

// correlation returns Pearson's of two series.
func correlation(a, b []float64) float64 {
	meanA, _ := meanError(a)
	meanB, _ := meanError(b)
	var ab, aa, bb float64
	for i := range a {
		da, db := a[i]-meanA, b[i]-meanB
		ab += float64(da * db)
		aa += float64(da * da)
		bb += float64(db * db)
	}
	return ab / math.Sqrt(aa*bb)
}
