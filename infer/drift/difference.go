package drift

import (
	"fmt"

	"github.com/ggufkit/ggufkit/infer/interval"
)

// Difference returns the mean divergence of a less that of b, window by window. Both have to
// be results on the same windows, but not of the same Measure.
func Difference(a, b Result) (interval.Mean, error) {
	difference, err := interval.Difference(a.KLD, b.KLD, a.Scored)
	if err != nil {
		return interval.Mean{}, fmt.Errorf("drift: there is no paired difference of %s and %s: %w", a.Name, b.Name, err)
	}
	return difference, nil
}
