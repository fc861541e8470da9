package drift

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
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
	base := []reference{{nll: 1}, {nll: 2}, {nll: 4}, {nll: 1}}
	tokens := []token{
		{nll: 1.5, kld: 0.1, deltaP: 0.3, sameTop: true},
		{nll: 2, kld: 0, deltaP: -0.1, sameTop: true},
		{nll: 5, kld: 0.4, deltaP: 0.1, sameTop: false},
		{nll: 1.5, kld: 0.3, deltaP: 0, sameTop: true},
	}
	s := newStats(base, tokens)
	// Standard errors: sqrt((mean of squares - square of mean) / 3).
	deviation := func(values ...float64) float64 {
		var sum, squares float64
		for _, v := range values {
			sum += v / 4
			squares += v * v / 4
		}
		return math.Sqrt((squares - sum*sum) / 3)
	}
	require.Equal(t, 4, s.Tokens)
	require.InDelta(t, math.Exp(2.5), s.PPL, 1e-12)
	require.InDelta(t, math.Exp(2.5)*deviation(1.5, 2, 5, 1.5), s.PPLError, 1e-12)
	require.InDelta(t, math.Exp(0.5), s.Ratio, 1e-12)
	require.InDelta(t, math.Exp(0.5)*deviation(0.5, 0, 1, 0.5), s.RatioError, 1e-12)
	require.InDelta(t, 7./math.Sqrt(6*8.5), s.Correlation, 1e-12)
	require.InDelta(t, 0.2, s.KLD, 1e-12)
	require.InDelta(t, deviation(0.1, 0, 0.4, 0.3), s.KLDError, 1e-12)
	require.InDelta(t, 0.2, s.P50, 1e-12, "between 0.1 and 0.3")
	require.InDelta(t, 0.37, s.P90, 1e-12, "0.7 of the way from 0.3 to 0.4")
	require.InDelta(t, 0.385, s.P95, 1e-12)
	require.InDelta(t, 0.397, s.P99, 1e-12)
	require.InDelta(t, 0.3997, s.P999, 1e-12)
	require.Equal(t, 0.4, s.Max)
	require.Equal(t, 0.75, s.SameTop)
	require.InDelta(t, math.Sqrt(0.75*0.25/3), s.SameTopError, 1e-12)
	rms := math.Sqrt(0.11 / 4)
	require.InDelta(t, rms, s.RMSDeltaP, 1e-12)
	require.InDelta(t, 0.5/rms*deviation(0.09, 0.01, 0.01, 0), s.RMSDeltaPError, 1e-12)
}

// The error of the ratio is that of the covariances: var(a) + var(b) - 2 cov(a, b).
func TestRatioErrorIsPaired(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 0))
	var base []reference
	var tokens []token
	for range 1000 {
		nll := rng.ExpFloat64() * 3
		base = append(base, reference{nll: nll})
		tokens = append(tokens, token{nll: nll + 0.1*rng.NormFloat64()})
	}
	s := newStats(base, tokens)
	var meanA, meanB, aa, bb, ab float64
	for i := range base {
		meanA += tokens[i].nll / 1000
		meanB += base[i].nll / 1000
	}
	for i := range base {
		a, b := tokens[i].nll-meanA, base[i].nll-meanB
		aa += a * a / 1000
		bb += b * b / 1000
		ab += a * b / 1000
	}
	require.InEpsilon(t, s.Ratio*math.Sqrt((aa+bb-2*ab)/999), s.RatioError, 1e-9)
	require.InEpsilon(t, ab/math.Sqrt(aa*bb), s.Correlation, 1e-9)
	require.Less(t, s.RatioError/s.Ratio, s.PPLError/s.PPL/10)
}

func TestOneTokenHasNoError(t *testing.T) {
	s := newStats([]reference{{nll: 2}}, []token{{nll: 1, kld: 0.5, deltaP: 0.25}})
	require.InDelta(t, math.Exp(1), s.PPL, 1e-12)
	require.Equal(t, []float64{0, 0, 0, 0, 0}, []float64{s.PPLError, s.RatioError, s.KLDError, s.SameTopError, s.RMSDeltaPError})
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
			parts = append(parts, part{i, []int32{int32(c)}})
		}
		return parts
	}
	require.Equal(t, []part{{0, []int32{0}}, {1, []int32{0}}, {2, []int32{0}}, {0, []int32{1}}, {2, []int32{1}}, {2, []int32{2}}},
		inTurn([][]part{text(0, 2), text(1, 1), text(2, 3)}))
}
