package report

import (
	"fmt"
	"math"

	"github.com/ggufkit/ggufkit/infer/interval"
)

// known returns a figure for JSON, nil if it is NaN.
func known(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

// parts returns the parts of an estimate for JSON.
func parts(e interval.Estimate) (value float64, deviation, low, high *float64) {
	return e.Value, known(e.Error), known(e.Low), known(e.High)
}

// withInterval writes a figure, and its 95 % interval if there is one, in a format for each number.
func withInterval(format string, value float64, low, high *float64) string {
	text := fmt.Sprintf(format, value)
	if low == nil || high == nil {
		return text
	}
	return fmt.Sprintf("%s ("+format+"–"+format+")", text, *low, *high)
}

// percentWithInterval is withInterval for a part of a whole.
func percentWithInterval(value float64, low, high *float64) string {
	if low == nil || high == nil {
		return fmt.Sprintf("%.2f %%", 100*value)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f) %%", 100*value, 100**low, 100**high)
}
