package interval

import "math"

// Estimate is a figure with what the windows say of it. Error, Low and High are NaN if a text
// has only one window.
type Estimate struct {
	Value     float64
	Error     float64 // standard error
	Low, High float64 // ends of the interval of Level
}

// Estimate returns the mean as a figure that is nowhere below least or above most.
func (m Mean) Estimate(least, most float64) Estimate {
	low, high := m.Interval(Level)
	return Estimate{m.Value, m.Error, clamp(low, least, m.Value), clamp(high, m.Value, most)}
}

// Exp returns the exponential of the mean.
func (m Mean) Exp() Estimate {
	low, high := m.Interval(Level)
	value := math.Exp(m.Value)
	return Estimate{value, value * m.Error, math.Exp(low), math.Exp(high)}
}

// Sqrt returns the square root of the mean of squares.
func (m Mean) Sqrt() Estimate {
	low, high := m.Interval(Level)
	value := math.Sqrt(m.Value)
	deviation := m.Error
	if value > 0 {
		deviation = 0.5 * m.Error / value
	}
	return Estimate{value, deviation, math.Sqrt(clamp(low, 0, m.Value)), math.Sqrt(high)}
}

// clamp returns v, or the limit that it exceeds; NaN stays.
func clamp(v, least, most float64) float64 { return max(min(v, most), min(least, most)) }
