package infer_test

import (
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/infer/graph"
)

// streams returns those that the first makes in front of the first layer, itself among them.
func (n naive) streams(x []float64) [][]float64 {
	all := [][]float64{x}
	for i := 1; i < n.AltUp.Streams; i++ {
		all = append(all, asLong(n.multiply("altup_proj", i-1, n.Width, x), x))
	}
	return all
}

// joined returns what the streams make behind the last layer.
func (n naive) joined(all [][]float64) []float64 {
	mean := make([]float64, n.Width)
	for i, x := range all {
		if i > 0 {
			x = asLong(n.multiply("altup_unembd_proj", i-1, n.Width, x), all[0])
		}
		add(mean, x, 1/float64(len(all)))
	}
	return mean
}

// asLong returns x as long as target.
func asLong(x, target []float64) []float64 {
	square := func(x []float64) (sum float64) {
		for _, v := range x {
			sum += v * v / float64(len(x))
		}
		return sum
	}
	y := make([]float64, len(x))
	add(y, x, math.Sqrt(square(target))/math.Sqrt(math.Max(square(x), 1e-5)))
	return y
}

// altUp takes streams through a layer.
func (n naive) altUp(p string, layer graph.Layer, pos int, all [][]float64) {
	count, last := len(all), layer[len(layer)-1]
	numbers := n.altUpNumbers(p, all[n.AltUp.Active])
	factors := n.factors(p+"altup_predict_coef.weight", numbers)
	predicted := make([][]float64, count)
	for to := range predicted {
		predicted[to] = append([]float64(nil), all[to]...)
		for from, x := range all {
			add(predicted[to], x, factors[to*count+from])
		}
	}
	active := append([]float64(nil), predicted[n.AltUp.Active]...)
	for _, s := range layer[:len(layer)-1] {
		n.sublayer(p, s, pos, active)
	}
	factors = n.factors(p+"altup_correct_coef.weight", n.altUpNumbers(p, active))
	add(active, predicted[n.AltUp.Active], -1)
	for i := range all {
		copy(all[i], predicted[i])
		add(all[i], active, 1+factors[i])
	}
	for i, scale := range n.get(p + "altup_correct_scale.weight") {
		active[i] = all[n.AltUp.Active][i] * float64(scale)
	}
	made := make([]float64, n.Width)
	for _, m := range last.Mixers {
		n.mix(p, m, pos, active, made)
	}
	for _, x := range all[1:] {
		add(x, n.norm(p, last.PostNorm, 0, made), 1)
	}
}

// factors are sums of numbers. Nobody is told what they are made of: they are no products of large matrices.
func (n naive) factors(name string, numbers []float64) (sums []float64) {
	for row := range slices.Chunk(n.get(name), len(numbers)) {
		sum := 0.0
		for i, coefficient := range row {
			sum += float64(coefficient) * numbers[i]
		}
		sums = append(sums, sum)
	}
	return sums
}

// altUpNumbers are what the factors of sums of streams are made of.
func (n naive) altUpNumbers(p string, active []float64) []float64 {
	numbers := n.multiply(p+"altup_router", 0, n.AltUp.Streams, n.norm(p, n.AltUp.Norm, 0, active))
	for i := range numbers {
		numbers[i] = math.Tanh(numbers[i] / float64(n.Width))
	}
	return numbers
}

func (n naive) laurel(p string, l graph.Laurel, h []float64) []float64 {
	y := n.norm(p, l.Norm, 0, n.multiply(p+"laurel_r", 0, n.Width, n.multiply(p+"laurel_l", 0, l.Rank, h)))
	add(y, h, 1)
	return y
}

// cut makes gates sparse.
func cut(net graph.Network, gate []float64) {
	if !net.Sparse {
		return
	}
	var mean, square float64
	for _, g := range gate {
		mean += g / float64(len(gate))
	}
	for _, g := range gate {
		square += (g - mean) * (g - mean) / float64(len(gate))
	}
	for i, g := range gate {
		gate[i] = math.Max(0, g-mean-float64(net.Cutoff)*math.Sqrt(square))
	}
}
