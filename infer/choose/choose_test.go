package choose_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/interval"
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

// result has 101 windows whose divergences are off the mean by as much, up and down.
func (m model) result(name string) drift.Result {
	return onTexts(name, m)
}

// onTexts is a result on texts called t1, t2 and so on.
func onTexts(name string, texts ...model) drift.Result {
	r := drift.Result{Name: name}
	for t, m := range texts {
		off := m.deviation * math.Sqrt(101)
		var windows []float64
		for i := range 101 {
			windows = append(windows, m.kld+off*[]float64{1, -1}[i%2]*min(1, float64(i)))
		}
		r.KLD = append(r.KLD, windows)
		measures := drift.Measures{Text: fmt.Sprint("t", 1+t)}
		measures.KLD = interval.Of(windows).Estimate(0, math.Inf(1))
		r.Texts = append(r.Texts, measures)
	}
	r.Overall.KLD = interval.Of(r.KLD...).Estimate(0, math.Inf(1))
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
	require.InDelta(t, 0.01, choice.Difference.Value, 1e-12)
	require.InDelta(t, 0.0002, choice.Difference.Error, 1e-5, "paired: what both have in common cancels")
	require.InDelta(t, 1, choice.Confidence, 1e-12)
	require.Equal(t, []string{
		"b is the closest to the original of what fits: mean KL divergence on this text 0.02000, 95 % interval 0.01802 to 0.02198.",
		"c, the runner-up, is further from the original by 0.01000 (95 % interval of the paired difference 0.00960 to 0.01040). For this text that is more than 99.9 % sure.",
	}, choice.Summary())
}

func TestASmallerOneMayBeCloser(t *testing.T) {
	choice, rounds, err := run(choose.Limits{Fit: 1000},
		model{bytes: 90, kld: 0.05}, model{bytes: 80, kld: 0.05}, model{bytes: 70, kld: 0.05}, model{bytes: 60, kld: 0.0401, deviation: 0.001},
		model{bytes: 50, kld: 0.04}, model{bytes: 40, kld: 0.06})
	require.NoError(t, err)
	require.Equal(t, []string{"abcd", "ef"}, rounds, "the last of the first round was the best")
	require.Equal(t, "chosen: the closest to the original that fits", choice.Considered[4].Reason)
	require.Equal(t, "no smaller than e, and further from the original", choice.Considered[0].Reason)
	require.Equal(t, "KL 0.06000 > 0.04000 of e", choice.Considered[5].Reason)
	require.Equal(t, 3, choice.RunnerUp)
	require.InDelta(t, 0.54, choice.Confidence, 0.01, "a tenth of a standard error")
	require.Equal(t, "d, the runner-up, cannot be told from it on this text (95 % interval of the paired difference -0.00188 to 0.00208): more text would "+
		"tell.", choice.Summary()[1])

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
	models := []model{{100, 0.001, 0}, {90, 0.002, 0}, {80, 0.003, 0}, {70, 0.004, 0}, {60, 0.005, 0}, {50, 0.0078, 0.0001}, {40, 0.0099, 0.0001},
		{30, 0.02, 0}, {20, 0.03, 0}}
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
		"f is the smallest that keeps to a mean KL divergence of 0.01 on this text: 0.00780, 95 % interval 0.00760 to 0.00800. For this text that is more than 99.9 % sure.",
		"g, the next smaller one, is further from the original by 0.00210 (95 % interval of the paired difference 0.00210 to 0.00210). For this text that is more than 99.9 % sure.",
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
	require.Equal(t, []string{"a: no smaller than b, and further from the original", "b: chosen: the smallest that is good enough",
		"c: no smaller than b, and further from the original"}, reasons(choice))
}

func TestNothingToChoose(t *testing.T) {
	choice, rounds, err := run(choose.Limits{Fit: 25}, model{bytes: 90, kld: 0.02}, model{bytes: 80, kld: 0.02})
	require.ErrorIs(t, err, choose.ErrNone)
	require.EqualError(t, err, "nothing to choose: none of 2 candidates fits into 25 B; the nearest is b (does not fit: 65 B over)")
	require.Empty(t, rounds)
	require.Equal(t, []string{"a: does not fit: 75 B over", "b: does not fit: 65 B over"}, reasons(choice))

	choice, rounds, err = run(choose.Limits{MaxKLD: 0.005, Fit: 95}, model{90, 0.002, 0}, model{80, 0.01, 0}, model{70, 0.02, 0}, model{60, 0.02, 0},
		model{50, 0.03, 0}, model{40, 0.04, 0}, model{30, 0.05, 0}, model{20, 0.06, 0})
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

// TestNoClaimRestsOnChance has models that hardly differ from each other.
func TestNoClaimRestsOnChance(t *testing.T) {
	choice, rounds, err := run(choose.Limits{Fit: 1000},
		model{90, 0.0403, 0.001}, model{80, 0.0402, 0.002}, model{70, 0.04, 0.001}, model{60, 0.0401, 0.002},
		model{50, 0.05, 0.001}, model{40, 0.06, 0.001})
	require.NoError(t, err)
	require.Equal(t, []string{"abcd", "ef"}, rounds, "the smallest of the first round may be the best")
	require.Equal(t, []string{
		"a: no smaller than c, and further from the original", // by as much in every window
		"b: no smaller than c, and not to be told from it",
		"c: chosen: the closest to the original that fits",
		"d: KL 0.04010 > 0.04000 of c, but the difference may be chance",
		"e: KL 0.05000 > 0.04000 of c",
		"f: KL 0.06000 > 0.04000 of c",
	}, reasons(choice))
	require.Equal(t, 3, choice.RunnerUp)
	require.Less(t, choice.Confidence, 0.975)
	require.Contains(t, choice.Summary()[1], "d, the runner-up, cannot be told from it on this text (95 % interval of the paired difference -0.00")
}

// onThree chooses between a, b and c, that were measured on three texts.
func onThree(t *testing.T, limits choose.Limits) (*choose.Choice, error) {
	t.Helper()
	var candidates []choose.Candidate
	var results []drift.Result
	for i, texts := range [][]model{
		{{kld: 0.001}, {kld: 0.002}, {kld: 0.003}},
		{{kld: 0.002, deviation: 0.0001}, {kld: 0.004, deviation: 0.0001}, {kld: 0.006, deviation: 0.0001}},
		{{kld: 0.004, deviation: 0.0001}, {kld: 0.008, deviation: 0.0001}, {kld: 0.0105, deviation: 0.0001}},
	} {
		name := string(rune('a' + i))
		candidates = append(candidates, choose.Candidate{Candidate: drift.Candidate{Name: name}, Bytes: int64(90 - i)})
		results = append(results, onTexts(name, texts...))
	}
	return choose.Decide(limits, choose.Memory{}, candidates, results)
}

func TestTheWorstTextIsNamed(t *testing.T) {
	choice, err := onThree(t, choose.Limits{MaxKLD: 0.01})
	require.NoError(t, err)
	require.Equal(t, 2, choice.Chosen)
	require.Equal(t, []string{
		"c is the smallest that keeps to a mean KL divergence of 0.01 on these texts: 0.00750, 95 % interval 0.00739 to 0.00761. For these texts that is more than 99.9 % sure.",
		"It is furthest on t3: 0.01050, 95 % interval 0.01030 to 0.01070, which is above 0.01.",
		"No other was measured that it could be compared with.",
	}, choice.Summary())
	choice, err = onThree(t, choose.Limits{MaxKLD: 0.0104})
	require.NoError(t, err)
	require.Equal(t, "It is furthest on t3: 0.01050, 95 % interval 0.01030 to 0.01070, which may be above 0.0104.", choice.Summary()[1])
	choice, err = onThree(t, choose.Limits{Fit: 100})
	require.NoError(t, err)
	require.Equal(t, "It is furthest on t3: 0.00300, 95 % interval 0.00300 to 0.00300.", choice.Summary()[1])
}

func TestALimitOnEveryText(t *testing.T) {
	choice, err := onThree(t, choose.Limits{MaxKLD: 0.01, EveryText: true})
	require.NoError(t, err)
	require.Equal(t, 1, choice.Chosen)
	require.InDelta(t, 1, choice.Confidence, 1e-9)
	require.Equal(t, "c: KL 0.01050 on t3 > 0.01", reasons(choice)[2])
	require.Equal(t, []string{
		"b is the smallest that keeps to a mean KL divergence of 0.01 on each of these texts; on all together it has 0.00400, 95 % interval 0.00389 to 0.00411. For these texts that is more than 99.9 % sure.",
		"It is furthest on t3: 0.00600, 95 % interval 0.00580 to 0.00620.",
	}, choice.Summary()[:2])
	choice, err = onThree(t, choose.Limits{MaxKLD: 0.0106, EveryText: true})
	require.NoError(t, err)
	require.Equal(t, "c: KL 0.01050 on t3, but its 95 % interval ends at 0.01070 > 0.0106", reasons(choice)[2])
	choice, err = onThree(t, choose.Limits{MaxKLD: 0.01075, EveryText: true})
	require.NoError(t, err)
	require.Equal(t, 2, choice.Chosen)
	require.InDelta(t, 0.993, choice.Confidence, 0.002, "that of the worst text")
}

func TestOneWindowDecidesNothing(t *testing.T) {
	one := func(name string, kld float64) drift.Result {
		r := drift.Result{Name: name, KLD: [][]float64{{kld}}}
		r.Overall.KLD = interval.Of(r.KLD...).Estimate(0, 1)
		r.Texts = []drift.Measures{r.Overall}
		return r
	}
	candidates := []choose.Candidate{{Candidate: drift.Candidate{Name: "a"}, Bytes: 9}, {Candidate: drift.Candidate{Name: "b"}, Bytes: 8}}
	results := []drift.Result{one("a", 0.01), one("b", 0.02)}
	choice, err := choose.Decide(choose.Limits{MaxKLD: 0.1}, choose.Memory{}, candidates, results)
	require.ErrorIs(t, err, choose.ErrNone)
	require.Equal(t, []string{"a: KL 0.01000, but one window of a text has no interval", "b: KL 0.02000, but one window of a text has no interval"},
		reasons(choice))
	choice, err = choose.Decide(choose.Limits{Fit: 10}, choose.Memory{}, candidates, results)
	require.NoError(t, err)
	require.Equal(t, "b: KL 0.02000 > 0.01000 of a, but the difference may be chance", reasons(choice)[1])
	require.Equal(t, []string{
		"a is the closest to the original of what fits: mean KL divergence on this text 0.01000, without an interval, since there is one window of a text.",
		"b, the runner-up, cannot be told from it on this text (one window of a text has no interval): more text would tell.",
	}, choice.Summary())
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
	require.Equal(t, []string{"a: good enough, but larger than c", "b: good enough, but larger than c", "c: chosen: the smallest that is good enough",
		"d: KL 0.20000 > 0.05"}, reasons(choice))
	require.Equal(t, 3, choice.RunnerUp)
	_, err = choose.Decide(choose.Limits{Fit: 50}, choose.Memory{}, candidates, results)
	require.ErrorIs(t, err, choose.ErrNone)
}

func TestErrorsOfMeasuringEndIt(t *testing.T) {
	broken := errors.New("broken")
	_, err := choose.Run(choose.Limits{Fit: 10}, choose.Memory{}, []choose.Candidate{{Bytes: 5}},
		func([]drift.Candidate) ([]drift.Result, error) { return nil, broken })
	require.ErrorIs(t, err, broken)
}
