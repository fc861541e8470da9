package sampling_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/sampling"
)

// next is a token of logits that are numbers.
func next(t *testing.T, s *sampling.Sampler, logits []float32, text []int32) int32 {
	token, err := s.Next(logits, text)
	require.NoError(t, err)
	return token
}

// shares draws many tokens and returns the part that each id has.
func shares(t *testing.T, opts sampling.Options, logits []float32, text ...int32) []float64 {
	s, err := sampling.New(opts)
	require.NoError(t, err)
	const n = 40000
	out := make([]float64, len(logits))
	for range n {
		out[next(t, s, logits, text)] += 1.0 / n
	}
	return out
}

// logs returns logits for probabilities.
func logs(p ...float64) []float32 {
	out := make([]float32, len(p))
	for i, v := range p {
		out[i] = float32(math.Log(v))
	}
	return out
}

func TestDistributions(t *testing.T) {
	for name, c := range map[string]struct {
		opts   sampling.Options
		logits []float32
		text   []int32
		want   []float64
	}{
		"temperature 1":     {sampling.Options{Temperature: 1}, logs(.5, .3, .2), nil, []float64{.5, .3, .2}},
		"temperature 0.5":   {sampling.Options{Temperature: 0.5}, logs(.5, .3, .2), nil, []float64{.25 / .38, .09 / .38, .04 / .38}},
		"greedy":            {sampling.Options{}, logs(.2, .4, .4), nil, []float64{0, 1, 0}},
		"top-k":             {sampling.Options{Temperature: 1, TopK: 2}, logs(.5, .2, .3), nil, []float64{.625, 0, .375}},
		"top-k with ties":   {sampling.Options{Temperature: 1, TopK: 2}, logs(.4, .2, .2, .2), nil, []float64{.4, .2, .2, .2}},
		"top-p":             {sampling.Options{Temperature: 1, TopP: 0.7}, logs(.5, .2, .3), nil, []float64{.625, 0, .375}},
		"top-p keeps one":   {sampling.Options{Temperature: 1, TopP: 0.01}, logs(.5, .2, .3), nil, []float64{1, 0, 0}},
		"top-p of equals":   {sampling.Options{Temperature: 1, TopP: 0.5}, logs(.25, .25, .25, .25), nil, []float64{0, 0, .5, .5}},
		"top-k before p":    {sampling.Options{Temperature: 1, TopK: 2, TopP: 0.6}, logs(.5, .2, .3), nil, []float64{1, 0, 0}},
		"temperature first": {sampling.Options{Temperature: 0.5, TopP: 0.65}, logs(.5, .3, .2), nil, []float64{1, 0, 0}},
		"min-p":             {sampling.Options{Temperature: 1, MinP: 0.5}, logs(.5, .2, .3), nil, []float64{.625, 0, .375}},
		"penalty": {
			sampling.Options{Temperature: 1, RepetitionPenalty: 2}, []float32{2, -1, 1}, []int32{0, 0, 1},
			[]float64{math.E / (2*math.E + math.Exp(-2)), math.Exp(-2) / (2*math.E + math.Exp(-2)), math.E / (2*math.E + math.Exp(-2))},
		},
		"greedy penalty": {sampling.Options{RepetitionPenalty: 3}, []float32{2, 1, -1}, []int32{0}, []float64{0, 1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			for id, share := range shares(t, c.opts, c.logits, c.text...) {
				if c.want[id] == 0 {
					require.Zero(t, share, "token %d", id)
				}
				// Five standard deviations of 40,000 draws.
				require.InDelta(t, c.want[id], share, 5*math.Sqrt(.25/40000), "token %d", id)
			}
		})
	}
}

func TestSeeds(t *testing.T) {
	draw := func(seed uint64) []int32 {
		s, err := sampling.New(sampling.Options{Temperature: 1, Seed: seed})
		require.NoError(t, err)
		var out []int32
		for range 20 {
			out = append(out, next(t, s, make([]float32, 1000), nil))
		}
		return out
	}
	require.Equal(t, draw(1), draw(1))
	require.NotEqual(t, draw(1), draw(2))
}

func TestOptionsOutOfRange(t *testing.T) {
	for _, opts := range []sampling.Options{
		{Temperature: -1}, {Temperature: math.NaN()}, {TopK: -1}, {TopP: 1.5}, {MinP: -0.1}, {RepetitionPenalty: math.Inf(1)},
	} {
		_, err := sampling.New(opts)
		require.ErrorContains(t, err, "not within")
	}
}

// TestBrokenModel is what a broken model comes to: an error, as scoring has it.
func TestBrokenModel(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, temperature := range []float64{0, 1} {
			s, err := sampling.New(sampling.Options{Temperature: temperature})
			require.NoError(t, err)
			_, err = s.Next([]float32{0, float32(v), 1}, nil)
			require.ErrorContains(t, err, "the logit of token 1 is")
		}
	}
}
