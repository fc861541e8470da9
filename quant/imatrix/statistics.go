package imatrix

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// Statistics says what the mean squares of a matrix's inputs are like: one value for each column, of all
// matrices of the tensor that saw any text. The figures are those of llama-imatrix --show-statistics, of a
// file that has only squares.
type Statistics struct {
	Tensor         string
	Layer          int // -1 outside the layers
	Matrices, Seen int // of the tensor, and those that saw any text
	Moments
	Min, Max float64
	Skew     float64 // the third standardized moment
	Kurtosis float64 // the fourth, less the 3 of a normal distribution
	// Entropy is that of the values as parts of their sum, as a part of the most that is possible: 1 if all are the same.
	Entropy float64
	// Active is which part of the values is above 10⁻⁵.
	Active float64
	Likeness

	values []float64
}

// Moments are sums over values.
type Moments struct {
	Values            int
	Sum, Mean, StdDev float64
}

// Likeness compares values with those of the tensor of the same kind in the layer before. All are NaN if there is none
// of the same size, or if experts of either saw nothing.
type Likeness struct {
	Gain        float64 // the root of the ratio of the sums
	Cosine      float64
	Correlation float64 // Pearson's
	Covariance  float64
}

// LayerStatistics are those of all tensors of a layer together.
type LayerStatistics struct {
	Layer int
	Sum   float64
	Likeness
}

// active is what llama-imatrix took for active: a mean square above it.
const active = 1e-5

// Statistics returns those of each tensor, by layer and name, and those of each layer.
func (s *Sums) Statistics() ([]Statistics, []LayerStatistics) {
	var all []Statistics
	byName := make(map[string]int)
	for _, name := range slices.Sorted(maps.Keys(s.tensors)) {
		all = append(all, s.tensors[name].statistics(name))
	}
	slices.SortStableFunc(all, func(a, b Statistics) int { return a.Layer - b.Layer })
	for i, s := range all {
		byName[s.Tensor] = i
	}
	var layers []LayerStatistics
	pairs := make(map[int][][2][]float64) // of each layer, values of a tensor and of the one before
	for i := range all {
		s := &all[i]
		s.Likeness = alike(nil)
		if s.Layer < 0 {
			continue
		}
		if len(layers) == 0 || layers[len(layers)-1].Layer != s.Layer {
			layers = append(layers, LayerStatistics{Layer: s.Layer})
		}
		layers[len(layers)-1].Sum += s.Sum
		at, ok := byName[before(*s)]
		if !ok || len(all[at].values) != len(s.values) || all[at].Seen < all[at].Matrices || s.Seen < s.Matrices {
			continue
		}
		pair := [2][]float64{s.values, all[at].values}
		s.Likeness = alike([][2][]float64{pair})
		pairs[s.Layer] = append(pairs[s.Layer], pair)
	}
	for i := range layers {
		l := &layers[i]
		l.Likeness = alike(pairs[l.Layer])
	}
	return all, layers
}

// before returns the name of the tensor of the same kind in the layer before.
func before(s Statistics) string {
	_, part := gguf.SplitName(s.Tensor)
	return fmt.Sprintf("blk.%d.%s", s.Layer-1, part)
}

// statistics returns all of a tensor but what it is like.
func (t *tensorSums) statistics(name string) Statistics {
	s := Statistics{Tensor: name, Matrices: len(t.counts)}
	s.Layer, _ = gguf.SplitName(name)
	each := len(t.squares) / len(t.counts)
	for i, count := range t.counts {
		if count == 0 {
			continue
		}
		s.Seen++
		for _, v := range t.squares[i*each:][:each] {
			s.values = append(s.values, v/count)
		}
	}
	s.Values = len(s.values)
	if s.Values == 0 {
		return s
	}
	n := float64(s.Values)
	s.Min, s.Max = slices.Min(s.values), slices.Max(s.values)
	for _, v := range s.values {
		s.Sum += v
		if v > active {
			s.Active += 1 / n
		}
	}
	s.Mean = s.Sum / n
	var second, third, fourth float64
	for _, v := range s.values {
		d := v - s.Mean
		second += d * d / n
		third += d * d * d / n
		fourth += d * d * d * d / n
		if s.Sum > 0 && v > 0 {
			s.Entropy -= v / s.Sum * math.Log(v/s.Sum)
		}
	}
	s.StdDev = math.Sqrt(second)
	if second > 0 {
		s.Skew, s.Kurtosis = third/(second*s.StdDev), fourth/(second*second)-3
	}
	if n > 1 {
		s.Entropy /= math.Log(n)
	}
	return s
}

// alike compares pairs of values. What belongs to several tensors is compared around the mean of each.
func alike(pairs [][2][]float64) Likeness {
	nan := math.NaN()
	if len(pairs) == 0 {
		return Likeness{nan, nan, nan, nan}
	}
	var n, dot, covariance float64
	var sums, squares, variances [2]float64
	for _, pair := range pairs {
		var means [2]float64
		for side, values := range pair {
			for _, v := range values {
				sums[side] += v
				squares[side] += v * v
				means[side] += v / float64(len(values))
			}
		}
		for i, v := range pair[0] {
			a, b := v-means[0], pair[1][i]-means[1]
			dot += v * pair[1][i]
			covariance += a * b
			variances[0] += a * a
			variances[1] += b * b
		}
		n += float64(len(pair[0]))
	}
	l := Likeness{nan, nan, nan, covariance / n}
	if sums[0] > 0 && sums[1] > 0 {
		l.Gain, l.Cosine = math.Sqrt(sums[0]/sums[1]), dot/math.Sqrt(squares[0]*squares[1])
	}
	if variances[0] > 0 && variances[1] > 0 {
		l.Correlation = covariance / math.Sqrt(variances[0]*variances[1])
	}
	return l
}
