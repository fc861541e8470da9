package drift

import (
	"math"

	"golang.org/x/exp/stats"

	"github.com/ggufkit/ggufkit/infer/interval"
)

// Stats is how the predictions of a model differ from those of the base, over some
// scored tokens. Errors and intervals are made of the windows: see package interval.
type Stats struct {
	Tokens int
	// PPL is the perplexity, exp of the mean negative log-likelihood.
	PPL interval.Estimate
	// Ratio is PPL over that of the base. Its error is that of the mean
	// difference of the log-likelihoods: much of the errors of both
	// perplexities is common, and cancels.
	Ratio interval.Estimate
	// Correlation is Pearson's, of the log-likelihoods of both; NaN if those of
	// either are all equal.
	Correlation float64
	// KLD is the mean over the tokens of the Kullback-Leibler divergence
	// Σ p·(log p - log q), in nats, where p is what the base predicts.
	KLD interval.Estimate
	// Percentiles of the divergence, and the largest.
	P50, P90, P95, P99, P999, Max float64
	// SameTop is the part of the tokens for which both models give the highest
	// probability to the same one.
	SameTop interval.Estimate
	// RMSDeltaP is the root mean square of the change of the probability that
	// the right token is given.
	RMSDeltaP interval.Estimate
}

// token is what two models make of one token of a text.
type token struct {
	nll     float64 // negative log-likelihood, in nats
	kld     float64 // divergence of the whole distribution from the base's
	deltaP  float64 // probability less that given by the base
	sameTop bool    // whether both would have chosen the same token
}

// text is what a model and the base make of the windows of a text, in its order.
type text struct {
	base   []reference
	tokens []token
	scored []int // of these in each window
}

// newStats sums up texts.
func newStats(texts ...text) Stats {
	var nll, baseNLL, kld []float64
	for _, text := range texts {
		for i, token := range text.tokens {
			nll = append(nll, token.nll)
			baseNLL = append(baseNLL, text.base[i].nll)
			kld = append(kld, token.kld)
		}
	}
	mean := func(of func(t token, base reference) float64) interval.Mean {
		var windows [][]float64
		var scored [][]int
		for _, text := range texts {
			windows, scored = append(windows, text.windows(of)), append(scored, text.scored)
		}
		return interval.Weighted(windows, interval.Unequal(scored))
	}
	at := stats.Quantiles(kld, 0.5, 0.9, 0.95, 0.99, 0.999, 1)
	return Stats{
		Tokens:      len(nll),
		PPL:         mean(func(t token, _ reference) float64 { return t.nll }).Exp(),
		Ratio:       mean(func(t token, base reference) float64 { return t.nll - base.nll }).Exp(),
		Correlation: correlation(nll, baseNLL),
		KLD:         mean(divergence).Estimate(0, math.Inf(1)),
		P50:         at[0], P90: at[1], P95: at[2], P99: at[3], P999: at[4], Max: at[5],
		SameTop: mean(func(t token, _ reference) float64 {
			if t.sameTop {
				return 1
			}
			return 0
		}).Estimate(0, 1),
		RMSDeltaP: mean(func(t token, _ reference) float64 { return t.deltaP * t.deltaP }).Sqrt(),
	}
}

// divergence is the figure of a token that Result.KLD has the means of.
func divergence(t token, _ reference) float64 { return t.kld }

// windows returns the mean of a figure of the tokens of each window.
func (t text) windows(of func(t token, base reference) float64) []float64 {
	var windows []float64
	first := 0
	for _, scored := range t.scored {
		var sum float64
		for i := first; i < first+scored; i++ {
			sum += of(t.tokens[i], t.base[i])
		}
		windows = append(windows, sum/float64(scored))
		first += scored
	}
	return windows
}

// correlation returns Pearson's of two series.
func correlation(a, b []float64) float64 {
	meanA, meanB := mean(a), mean(b)
	var ab, aa, bb float64
	for i := range a {
		da, db := a[i]-meanA, b[i]-meanB
		ab += float64(da * db) // not fused, to be the same everywhere
		aa += float64(da * da)
		bb += float64(db * db)
	}
	return ab / math.Sqrt(aa*bb)
}

func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
