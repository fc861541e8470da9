package drift

import (
	"fmt"

	"github.com/ggufkit/ggufkit/infer/interval"
)

// Difference returns the mean divergence of a less that of b, window by window: much of
// what makes a window hard is common to both, and cancels. Both have to be results on
// the same windows, but not of the same Measure.
func Difference(a, b Result) (interval.Mean, error) {
	differences, err := subtract(a.KLD, b.KLD)
	if err != nil {
		return interval.Mean{}, fmt.Errorf("drift: there is no paired difference of %s and %s: %w", a.Name, b.Name, err)
	}
	return interval.Of(differences...), nil
}

// subtract returns the differences of figures of the windows of texts.
func subtract(a, b [][]float64) ([][]float64, error) {
	if len(a) != len(b) {
		return nil, fmt.Errorf("they have %d and %d texts", len(a), len(b))
	}
	differences := make([][]float64, len(a))
	for text := range a {
		if len(a[text]) != len(b[text]) {
			return nil, fmt.Errorf("of text %d, they have %d and %d windows", text, len(a[text]), len(b[text]))
		}
		for i, v := range a[text] {
			differences[text] = append(differences[text], v-b[text][i])
		}
	}
	return differences, nil
}
