package drift

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/interval"
	"github.com/ggufkit/ggufkit/infer/perplexity"
)

// random returns logits of a spread.
func random(rng *rand.Rand, n int, spread float64) []float32 {
	logits := make([]float32, n)
	for i := range logits {
		logits[i] = float32(rng.NormFloat64() * spread)
	}
	return logits
}

// probabilities is softmax by the book.
func probabilities(logits []float32) []float64 {
	var sum float64
	p := make([]float64, len(logits))
	for i, v := range logits {
		p[i] = math.Exp(float64(v))
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

func TestCompareByTheBook(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 0))
	for range 50 {
		base, logits := random(rng, 300, 3), random(rng, 300, 3)
		next := rng.IntN(300)
		r, err := newReference(base, int32(next))
		require.NoError(t, err)
		got, err := compare(base, r, logits, int32(next))
		require.NoError(t, err)

		p, q := probabilities(base), probabilities(logits)
		var kld float64
		for i := range p {
			kld += p[i] * math.Log(p[i]/q[i])
		}
		require.InDelta(t, -math.Log(p[next]), r.nll, 1e-12)
		require.InDelta(t, -math.Log(q[next]), got.nll, 1e-12)
		require.InDelta(t, kld, got.kld, 1e-12)
		require.InDelta(t, q[next]-p[next], got.deltaP, 1e-12)
		require.Equal(t, slices.Index(p, slices.Max(p)) == slices.Index(q, slices.Max(q)), got.sameTop)
	}
}

// Tokens that the base thinks less likely than e⁻¹⁶ count too.
func TestUnlikelyTokensCount(t *testing.T) {
	base, logits := []float32{0, -20}, []float32{0, -2000}
	r, err := newReference(base, 0)
	require.NoError(t, err)
	got, err := compare(base, r, logits, 0)
	require.NoError(t, err)
	require.InEpsilon(t, math.Exp(-20)*1980, got.kld, 1e-2)
}

func TestEqualLogitsHaveNoDivergence(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 0))
	for range 50 {
		logits := random(rng, 1000, 10)
		r, err := newReference(logits, 3)
		require.NoError(t, err)
		got, err := compare(logits, r, slices.Clone(logits), 3)
		require.NoError(t, err)
		require.Equal(t, token{nll: r.nll, sameTop: true}, got)
	}
}

func TestTopOfEqualsIsTheLowerID(t *testing.T) {
	base := []float32{1, 5, 5, 0}
	r, err := newReference(base, 0)
	require.NoError(t, err)
	for _, c := range []struct {
		logits []float32
		same   bool
	}{{[]float32{0, 2, 1, 0}, true}, {[]float32{0, 2, 2, 0}, true}, {[]float32{0, 1, 2, 0}, false}, {[]float32{2, 2, 2, 2}, false}} {
		got, err := compare(base, r, c.logits, 0)
		require.NoError(t, err)
		require.Equal(t, c.same, got.sameTop, "%v", c.logits)
	}
}

func TestStatsByHand(t *testing.T) {
	// Three windows of two tokens.
	base := []reference{{nll: 1}, {nll: 2}, {nll: 4}, {nll: 1}, {nll: 2}, {nll: 1}}
	tokens := []token{
		{nll: 1.5, kld: 0.1, deltaP: 0.3, sameTop: true},
		{nll: 2, kld: 0, deltaP: -0.1, sameTop: true},
		{nll: 5, kld: 0.4, deltaP: 0.1, sameTop: false},
		{nll: 1.5, kld: 0.3, deltaP: 0, sameTop: true},
		{nll: 2, kld: 0, deltaP: 0, sameTop: false},
		{nll: 1, kld: 0.1, deltaP: 0, sameTop: false},
	}
	s := newStats(text{base, tokens, []int{2, 2, 2}})
	require.Equal(t, 6, s.Tokens)
	require.Equal(t, interval.Of([]float64{1.75, 3.25, 1.5}).Exp(), s.PPL)
	require.Equal(t, interval.Of([]float64{0.25, 0.75, 0}).Exp(), s.Ratio)
	require.InDelta(t, math.Exp(1./3), s.Ratio.Value, 1e-12)
	require.InDelta(t, correlationByHand([]float64{1.5, 2, 5, 1.5, 2, 1}, []float64{1, 2, 4, 1, 2, 1}), s.Correlation, 1e-12)
	require.InDelta(t, 0.15, s.KLD.Value, 1e-12)
	require.InDelta(t, 0.1, s.KLD.Error, 1e-12, "the windows have 0.05, 0.35 and 0.05")
	require.InDelta(t, 0.1, s.P50, 1e-12)
	require.InDelta(t, 0.35, s.P90, 1e-12, "half of the way from 0.3 to 0.4")
	require.InDelta(t, 0.375, s.P95, 1e-12)
	require.InDelta(t, 0.395, s.P99, 1e-12)
	require.InDelta(t, 0.3995, s.P999, 1e-12)
	require.Equal(t, 0.4, s.Max)
	require.Equal(t, interval.Of([]float64{1, 0.5, 0}).Estimate(0, 1), s.SameTop)
	require.Equal(t, 0.5, s.SameTop.Value)
	require.InDelta(t, math.Sqrt(0.11/6), s.RMSDeltaP.Value, 1e-12)
	require.InDelta(t, 0.5/math.Sqrt(0.11/6)*interval.Of([]float64{0.05, 0.005, 0}).Error, s.RMSDeltaP.Error, 1e-12)

	// The same windows as two texts: what they differ by is no part of the error.
	apart := newStats(text{base[:4], tokens[:4], []int{2, 2}}, text{base[4:], tokens[4:], []int{2}})
	require.True(t, math.IsNaN(apart.KLD.Error), "one window")
	apart.KLD = s.KLD
	require.Equal(t, []float64{s.P90, s.PPL.Value, s.SameTop.Value}, []float64{apart.P90, apart.PPL.Value, apart.SameTop.Value})
}

func correlationByHand(a, b []float64) float64 {
	n := float64(len(a))
	var sa, sb, aa, bb, ab float64
	for i := range a {
		sa, sb = sa+a[i], sb+b[i]
		aa, bb, ab = aa+a[i]*a[i], bb+b[i]*b[i], ab+a[i]*b[i]
	}
	return (n*ab - sa*sb) / math.Sqrt((n*aa-sa*sa)*(n*bb-sb*sb))
}

// Much of what makes a window hard is common to a model and the base.
func TestRatioIsPaired(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 0))
	text := text{scored: slices.Repeat([]int{10}, 100)}
	for range 1000 {
		nll := rng.ExpFloat64() * 3
		text.base = append(text.base, reference{nll: nll})
		text.tokens = append(text.tokens, token{nll: nll + 0.1*rng.NormFloat64()})
	}
	s := newStats(text)
	require.Less(t, s.Ratio.Error/s.Ratio.Value, s.PPL.Error/s.PPL.Value/10)
}

func TestOneWindowHasNoInterval(t *testing.T) {
	s := newStats(text{[]reference{{nll: 2}}, []token{{nll: 1, kld: 0.5, deltaP: 0.25}}, []int{1}})
	require.InDelta(t, math.Exp(1), s.PPL.Value, 1e-12)
	for _, e := range []interval.Estimate{s.PPL, s.Ratio, s.KLD, s.SameTop, s.RMSDeltaP} {
		for _, v := range []float64{e.Error, e.Low, e.High} {
			require.True(t, math.IsNaN(v), "%+v", e)
		}
	}
	require.Equal(t, []float64{0.5, 0.5, 0.5}, []float64{s.P50, s.P999, s.Max})
	require.True(t, math.IsNaN(s.Correlation))
}

func TestBadLogits(t *testing.T) {
	for name, bad := range map[string]float32{"NaN": float32(math.NaN()), "+Inf": float32(math.Inf(1)), "-Inf": float32(math.Inf(-1))} {
		logits := []float32{1, 2, bad, 0}
		_, err := newReference(logits, 0)
		require.ErrorContains(t, err, "the logit of token 2 is "+name)
		r, err := newReference([]float32{0, 0, 0, 0}, 0)
		require.NoError(t, err)
		_, err = compare(make([]float32, 4), r, logits, 0)
		require.ErrorContains(t, err, "the logit of token 2 is "+name)
	}
}

func TestPartsComeFromTheTextsInTurn(t *testing.T) {
	text := func(i, n int) []part {
		var parts []part
		for c := range n {
			parts = append(parts, part{i, perplexity.Window{Tokens: []int32{int32(c)}}})
		}
		return parts
	}
	require.Equal(t, []part{{0, perplexity.Window{Tokens: []int32{0}}}, {1, perplexity.Window{Tokens: []int32{0}}}, {2, perplexity.Window{Tokens: []int32{0}}}, {0, perplexity.Window{Tokens: []int32{1}}}, {2, perplexity.Window{Tokens: []int32{1}}}, {2, perplexity.Window{Tokens: []int32{2}}}},
		inTurn([][]part{text(0, 2), text(1, 1), text(2, 3)}))
}
