package choose_test

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/drift"
)

// model is a candidate with the divergence that it will turn out to have.
type model struct {
	bytes     int64
	kld       float64
	deviation float64 // standard error of kld
}

// run chooses between models called a, b, and so on, and returns who was measured,
// round after round.
func run(limits choose.Limits, models ...model) (choice *choose.Choice, rounds []string, err error) {
	var candidates []choose.Candidate
	for i, m := range models {
		candidates = append(candidates, choose.Candidate{Candidate: drift.Candidate{Name: string(rune('a' + i))}, Bytes: m.bytes})
	}
	choice, err = choose.Run(limits, choose.Memory{Cache: 7, Compute: 3}, candidates, func(asked []drift.Candidate) ([]drift.Result, error) {
		var results []drift.Result
		names := ""
		for _, c := range asked {
			names += c.Name
			results = append(results, models[c.Name[0]-'a'].result(c.Name))
		}
		rounds = append(rounds, names)
		return results, nil
	})
	return choice, rounds, err
}

// result has 101 tokens whose divergences are off the mean by as much, up and down.
func (m model) result(name string) drift.Result {
	r := drift.Result{Name: name}
	off := m.deviation * math.Sqrt(101)
	for i := range 101 {
		r.KLD = append(r.KLD, m.kld+off*[]float64{1, -1}[i%2]*min(1, float64(i)))
	}
	r.Overall.KLD, r.Overall.KLDError = m.kld, m.deviation
	return r
}

func reasons(c *choose.Choice) []string {
	var reasons []string
	for _, considered := range c.Considered {
		reasons = append(reasons, considered.Name+": "+considered.Reason)
	}
	return reasons
}

func TestTheBestThatFits(t *testing.T) {
	choice, rounds, err := run(choose.Limits{Fit: 100},
		model{bytes: 91, kld: 0.01}, model{bytes: 90, kld: 0.02, deviation: 0.001}, model{bytes: 80, kld: 0.03, deviation: 0.0012},
		model{bytes: 70, kld: 0.04}, model{bytes: 60, kld: 0.05}, model{bytes: 50, kld: 0.06})
	require.NoError(t, err)
	require.Equal(t, []string{"bcde"}, rounds)
	require.Equal(t, []string{
		"a: does not fit: 1 B over",
		"b: chosen: the closest to the original that fits",
		"c: KL 0.03000 > 0.02000 of b",
		"d: KL 0.04000 > 0.02000 of b",
		"e: KL 0.05000 > 0.02000 of b",
		"f: not measured: smaller than e, which is further from the original than b",
	}, reasons(choice))
	require.Equal(t, 1, choice.Chosen)
	require.Equal(t, 2, choice.RunnerUp)
	require.Equal(t, int64(100), choice.Considered[1].Needs)
	require.InDelta(t, 0.01, choice.Difference, 1e-12)
	require.InDelta(t, 0.0002, choice.DifferenceError, 1e-5, "paired: what both have in common cancels")
	require.InDelta(t, 1, choice.Confidence, 1e-12)
	require.Equal(t, []string{
		"b is the closest to the original of what fits: mean KL divergence 0.02000, 95 % interval 0.01804 to 0.02196.",
		"c, the runner-up, is further from the original by 0.01000 (95 % interval of the paired difference 0.00961 to 0.01039): that is more than 99.9 % sure.",
	}, choice.Summary())
}

func TestASmallerOneMayBeCloser(t *testing.T) {
	choice, rounds, err := run(choose.Limits{Fit: 1000},
		model{bytes: 90, kld: 0.05}, model{bytes: 80, kld: 0.05}, model{bytes: 70, kld: 0.05}, model{bytes: 60, kld: 0.0401, deviation: 0.001},
		model{bytes: 50, kld: 0.04}, model{bytes: 40, kld: 0.06})
	require.NoError(t, err)
	require.Equal(t, []string{"abcd", "ef"}, rounds, "the last of the first round was the best")
	require.Equal(t, "chosen: the closest to the original that fits", choice.Considered[4].Reason)
	require.Equal(t, "no smaller than e, and no better", choice.Considered[0].Reason)
	require.Equal(t, "KL 0.06000 > 0.04000 of e", choice.Considered[5].Reason)
	require.Equal(t, 3, choice.RunnerUp)
	require.InDelta(t, 0.54, choice.Confidence, 0.01, "a tenth of a standard error")
	require.Equal(t, "d, the runner-up, cannot be told from it on these texts (95 % interval of the paired difference -0.00186 to 0.00206): more text would tell.", choice.Summary()[1])

	// Of equals the smaller one.
	choice, _, err = run(choose.Limits{Fit: 1000}, model{bytes: 90, kld: 0.05}, model{bytes: 80, kld: 0.05})
	require.NoError(t, err)
	require.Equal(t, 1, choice.Chosen)
	require.Equal(t, 0.5, choice.Confidence)

	choice, _, err = run(choose.Limits{Fit: 1000}, model{bytes: 90, kld: 0.05}, model{bytes: 80, kld: 0.0502, deviation: 0.001})
	require.NoError(t, err)
	require.Equal(t, "KL 0.05020 > 0.05000 of a, but the difference may be chance", choice.Considered[1].Reason)
}

func TestTheSmallestThatIsGoodEnough(t *testing.T) {
	models := []model{{100, 0.001, 0}, {90, 0.002, 0}, {80, 0.003, 0}, {70, 0.004, 0}, {60, 0.005, 0}, {50, 0.0078, 0.0001}, {40, 0.0099, 0.0001}, {30, 0.02, 0}, {20, 0.03, 0}}
	choice, rounds, err := run(choose.Limits{MaxKLD: 0.01}, models...)
	require.NoError(t, err)
	require.Equal(t, []string{"beh", "fg"}, rounds)
	require.Equal(t, []string{
		"a: not measured: larger than f, which is good enough",
		"b: good enough, but larger than f",
		"c: not measured: larger than f, which is good enough",
		"d: not measured: larger than f, which is good enough",
		"e: good enough, but larger than f",
		"f: chosen: the smallest that is good enough",
		"g: KL 0.00990, but its 95 % interval ends at 0.01010 > 0.01",
		"h: KL 0.02000 > 0.01",
		"i: not measured: smaller than h, which is not good enough",
	}, reasons(choice))
	require.Equal(t, 6, choice.RunnerUp)
	require.InDelta(t, 1, choice.Confidence, 1e-9)
	require.Equal(t, []string{
		"f is the smallest that keeps to a mean KL divergence of 0.01: 0.00780, 95 % interval 0.00760 to 0.00800. That is more than 99.9 % sure.",
		"g, the next smaller one, is further from the original by 0.00210 (95 % interval of the paired difference 0.00210 to 0.00210): that is more than 99.9 % sure.",
	}, choice.Summary())

	// With less memory.
	choice, rounds, err = run(choose.Limits{Fit: 70, MaxKLD: 0.01}, models...)
	require.NoError(t, err)
	require.Equal(t, []string{"efghi"}, rounds)
	require.Equal(t, 5, choice.Chosen)
	require.Equal(t, "does not fit: 10 B over", choice.Considered[3].Reason)

	// The smallest of all.
	choice, _, err = run(choose.Limits{MaxKLD: 0.05}, models...)
	require.NoError(t, err)
	require.Equal(t, 8, choice.Chosen)
	require.Equal(t, -1, choice.RunnerUp)
	require.Equal(t, "No other was measured that it could be compared with.", choice.Summary()[1])

	// A larger one that is not even better; two of one size.
	choice, _, err = run(choose.Limits{MaxKLD: 0.05}, model{bytes: 90, kld: 0.02}, model{bytes: 80, kld: 0.01}, model{bytes: 80, kld: 0.02})
	require.NoError(t, err)
	require.Equal(t, []string{"a: no smaller than b, and no better", "b: chosen: the smallest that is good enough", "c: no smaller than b, and no better"}, reasons(choice))
}

func TestNothingToChoose(t *testing.T) {
	choice, rounds, err := run(choose.Limits{Fit: 25}, model{bytes: 90, kld: 0.02}, model{bytes: 80, kld: 0.02})
	require.ErrorIs(t, err, choose.ErrNone)
	require.EqualError(t, err, "nothing to choose: none of 2 candidates fits into 25 B; the nearest is b (does not fit: 65 B over)")
	require.Empty(t, rounds)
	require.Equal(t, []string{"a: does not fit: 75 B over", "b: does not fit: 65 B over"}, reasons(choice))

	choice, rounds, err = run(choose.Limits{MaxKLD: 0.005, Fit: 95}, model{90, 0.002, 0}, model{80, 0.01, 0}, model{70, 0.02, 0}, model{60, 0.02, 0}, model{50, 0.03, 0}, model{40, 0.04, 0}, model{30, 0.05, 0}, model{20, 0.06, 0})
	require.ErrorIs(t, err, choose.ErrNone)
	require.EqualError(t, err, "nothing to choose: no candidate that fits has a mean KL divergence of at most 0.005; the nearest is b (KL 0.01000 > 0.005)")
	require.Equal(t, []string{"cf", "b"}, rounds)
	require.Equal(t, -1, choice.Chosen)
	require.Equal(t, "a: does not fit: 5 B over", reasons(choice)[0])
	require.Equal(t, "d: not measured: smaller than c, which is not good enough", reasons(choice)[3])

	_, _, err = run(choose.Limits{Fit: 1})
	require.EqualError(t, err, "nothing to choose: there are no candidates")
}

// With divergences that grow as sizes shrink, measuring few chooses what measuring
// all would.
func TestMeasuringFewIsEnough(t *testing.T) {
	for n := 1; n <= 16; n++ {
		var models []model
		for i := range n {
			models = append(models, model{bytes: int64(100 - i), kld: 0.01 * float64(1+i)})
		}
		for want := range n {
			choice, rounds, err := run(choose.Limits{MaxKLD: 0.01*float64(1+want) + 0.001}, models...)
			require.NoError(t, err)
			require.Equal(t, want, choice.Chosen)
			require.LessOrEqual(t, len(rounds), 2)
			choice, rounds, err = run(choose.Limits{Fit: int64(110 - want)}, models...)
			require.NoError(t, err)
			require.Equal(t, want, choice.Chosen)
			require.Len(t, rounds, 1)
			require.LessOrEqual(t, len(rounds[0]), 4)
		}
	}
}

func TestDecideBetweenAll(t *testing.T) {
	models := []model{{90, 0.01, 0}, {80, 0.02, 0}, {70, 0.03, 0}, {60, 0.2, 0}}
	var candidates []choose.Candidate
	var results []drift.Result
	for _, i := range []int{2, 0, 3, 1} {
		name := string(rune('a' + i))
		candidates = append(candidates, choose.Candidate{Candidate: drift.Candidate{Name: name}, Bytes: models[i].bytes})
		results = append(results, models[i].result(name))
	}
	choice, err := choose.Decide(choose.Limits{MaxKLD: 0.05}, choose.Memory{}, candidates, results)
	require.NoError(t, err)
	require.Equal(t, []string{"a: good enough, but larger than c", "b: good enough, but larger than c", "c: chosen: the smallest that is good enough", "d: KL 0.20000 > 0.05"}, reasons(choice))
	require.Equal(t, 3, choice.RunnerUp)
	_, err = choose.Decide(choose.Limits{Fit: 50}, choose.Memory{}, candidates, results)
	require.ErrorIs(t, err, choose.ErrNone)
}

func TestErrorsOfMeasuringEndIt(t *testing.T) {
	broken := errors.New("broken")
	_, err := choose.Run(choose.Limits{Fit: 10}, choose.Memory{}, []choose.Candidate{{Bytes: 5}}, func([]drift.Candidate) ([]drift.Result, error) { return nil, broken })
	require.ErrorIs(t, err, broken)
}
