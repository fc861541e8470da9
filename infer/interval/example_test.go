package interval_test

import (
	"fmt"

	"github.com/ggufkit/ggufkit/infer/interval"
)

// One model is better than another on most windows of two texts: by more than chance?
func ExampleDifference() {
	a := [][]float64{{3.1, 2.9, 3.4, 3.0}, {1.2, 1.1, 1.4}}
	b := [][]float64{{3.0, 2.7, 3.3, 2.9}, {1.1, 1.1, 1.2}}
	mean, err := interval.Difference(a, b, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	low, high := mean.Interval(interval.Level)
	fmt.Printf("%.3f, between %.3f and %.3f: %t\n", mean.Value, low, high, mean.Positive(interval.Level))
	// Output: 0.114, between 0.038 and 0.215: true
}
