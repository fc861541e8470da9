package report

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/perplexity"
)

// onText is what a mixture and donors make of a text, given the likelihoods of its windows.
func onText(file string, mixture []float64, donors ...[]float64) DoctorText {
	result := func(windows []float64) perplexity.Result {
		return perplexity.Result{PPL: perplexityOf([][]float64{windows}), Low: math.NaN(), High: math.NaN(), ChunkNLL: [][]float64{windows}}
	}
	text := DoctorText{File: file, Score: newScore(result(mixture)), windows: mixture}
	for i, windows := range donors {
		donor := Donor{Name: string(rune('a' + i)), Score: newScore(result(windows)), windows: windows}
		donor.compare([][]float64{mixture}, [][]float64{windows})
		text.Donors = append(text.Donors, donor)
	}
	return text
}

func verdicts(answers []Answer) (all []string) {
	for _, a := range answers {
		all = append(all, strings.TrimSpace(a.File+" "+a.Best.Name+" "+a.Verdict))
	}
	return all
}

func TestIsTheMixtureBetter(t *testing.T) {
	// Windows differ much from each other, but the same for all: differences are paired.
	better := onText("x.txt", []float64{1, 2, 3, 4}, []float64{1.5, 2.51, 3.49, 4.5}, []float64{1.1, 2.11, 3.09, 4.1})
	worse := onText("y.txt", []float64{3, 2, 1}, []float64{2.9, 1.91, 0.92}, []float64{4, 3, 2})
	unclear := onText("z.txt", []float64{3, 2, 1}, []float64{3.1, 1.9, 1}, []float64{4, 3, 2})
	require.Equal(t, []string{"x.txt b better", "y.txt a worse", "z.txt a unclear", "a better"}, verdicts(answers([]DoctorText{better, worse, unclear})))
	r := Doctor{Texts: []DoctorText{better, worse}, Answers: answers([]DoctorText{better, worse})}
	lines := r.AnswerLines()
	require.Equal(t, "Is the mixture better than the best of what it was made of? By text: better on 1 of 2, worse on 1 of 2.", lines[0])
	require.Contains(t, lines[1], "On x the mixture is better than its best donor, b: perplexity 12.1825 against 13.4637, -9.5 % (95 % interval -1")
	require.InDelta(t, math.Exp(-0.1), *r.Answers[0].Best.Ratio, 1e-9)

	// One window says nothing, and neither do other tokens.
	one := answers([]DoctorText{onText("x.txt", []float64{1}, []float64{2})})
	require.Equal(t, []string{"x.txt a unclear"}, verdicts(one))
	require.Contains(t, one[0].Answer, "nothing can be said")
	other := onText("x.txt", []float64{1, 2}, []float64{2, 3})
	other.Donors[0].Ratio = nil
	require.Empty(t, answers([]DoctorText{other, other}))
	require.Empty(t, answers([]DoctorText{onText("x.txt", []float64{1, 2})}), "no donors")
}
