package choose_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/drift"
)

// offer chooses between a, b and c, and then offers d.
func offer(t *testing.T, limits choose.Limits, d model) *choose.Choice {
	t.Helper()
	choice, _, err := run(limits, model{bytes: 91, kld: 0.01}, model{bytes: 80, kld: 0.02, deviation: 0.001}, model{bytes: 60, kld: 0.03})
	require.NoError(t, err)
	require.Equal(t, "b", choice.Considered[choice.Chosen].Name)
	result := d.result("d")
	require.NoError(t, choice.Offer(choose.Candidate{Candidate: drift.Candidate{Name: "d"}, Bytes: d.bytes}, &result))
	return choice
}

func TestOfferTheBetter(t *testing.T) {
	choice := offer(t, choose.Limits{Fit: 100}, model{bytes: 79, kld: 0.015, deviation: 0.001})
	require.Equal(t, []string{
		"a: does not fit: 1 B over",
		"b: no smaller than d, and further from the original",
		"d: chosen: the closest to the original that fits",
		"c: KL 0.03000 > 0.01500 of d",
	}, reasons(choice))
	require.Equal(t, 2, choice.Chosen)
	require.Equal(t, 1, choice.RunnerUp)
	require.InDelta(t, 0.005, choice.Difference.Value, 1e-12)
	require.Equal(t, int64(89), choice.Considered[2].Needs)

	choice = offer(t, choose.Limits{Fit: 100, MaxKLD: 0.025}, model{bytes: 79, kld: 0.015, deviation: 0.001})
	require.Equal(t, "d: chosen: the smallest that is good enough", reasons(choice)[2])
	require.Equal(t, 2, choice.Chosen)
}

func TestDoNotOfferWhatMayBeChance(t *testing.T) {
	// Of the difference, the standard error is 0.0001.
	for bytes, at := range map[int64]int{85: 1, 79: 2, 10: 3} {
		choice := offer(t, choose.Limits{Fit: 100}, model{bytes: bytes, kld: 0.0199, deviation: 0.0011})
		require.Equal(t, "d: not offered: KL 0.01990, the paired difference to b is 0.00010 (95 % interval -0.00010 to 0.00030)", reasons(choice)[at])
		require.Equal(t, "b", choice.Considered[choice.Chosen].Name)
		require.Equal(t, "c", choice.Considered[choice.RunnerUp].Name)
	}
}

func TestOfferNeedsTheSameWindows(t *testing.T) {
	choice, _, err := run(choose.Limits{Fit: 100}, model{bytes: 80, kld: 0.02})
	require.NoError(t, err)
	require.ErrorContains(t, choice.Offer(choose.Candidate{}, &drift.Result{KLD: [][]float64{{1}}}), "they have 101 and 1 windows")
}
