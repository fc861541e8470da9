package quant

import "github.com/ggufkit/ggufkit/quant/internal/kernel"

// What blocks and sub-blocks get their scales from: simple extremes for the
// 32-element types, and three searches for the K types. Sums run in ggml's
// order.

// extreme returns the value of largest magnitude, the first of several.
func extreme(x []float32) float32 {
	var largest, value float32
	for _, v := range x {
		if a := abs(v); largest < a {
			largest, value = a, v
		}
	}
	return value
}

// magnitude returns the largest magnitude.
func magnitude(x []float32) float32 {
	var largest float32
	for _, v := range x {
		if a := abs(v); !(largest > a) {
			largest = a
		}
	}
	return largest
}

// limits returns the least and the greatest value.
func limits(x []float32) (low, high float32) {
	low, high = maxFloat32, -maxFloat32
	for _, v := range x {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
	}
	return low, high
}

// reciprocal returns 1/d, or 0 for 0.
func reciprocal(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

const maxFloat32 = 0x1p127 * (1 + (1 - 0x1p-23))

// subBlock is the largest number of elements that share a scale in a K type.
const subBlock = 32

// negligible is the magnitude below which a sub-block counts as zero
// (GROUP_MAX_EPS of ggml-quants.c).
const negligible = 1e-15

// sumSquares returns the sum of x^2.
func sumSquares(x []float32) float32 {
	var sum float32
	for _, v := range x {
		sum += float32(v * v)
	}
	return sum
}

// sumSquares4 returns sumSquares of each 256 values. They do not wait for each
// other's additions.
func sumSquares4(x *[4 * 256]float32) (sums [4]float32) {
	var s0, s1, s2, s3 float32
	for i, v := range x[:256] {
		s0 += float32(v * v)
		s1 += float32(x[i+256] * x[i+256])
		s2 += float32(x[i+512] * x[i+512])
		s3 += float32(x[i+768] * x[i+768])
	}
	return [4]float32{s0, s1, s2, s3}
}

// weighSquares makes x^2 the weights w: what errors count by where there are no
// importances.
func weighSquares(w, x []float32) {
	for i, v := range x {
		w[i] = v * v
	}
}

// meanSquare returns the mean of x^2, or 0 if there are no importances to go
// with it.
func meanSquare(x, importance []float32) float32 {
	if importance == nil {
		return 0
	}
	return sumSquares(x) / float32(len(x))
}

// weigh makes the weights w those of errors in x with the given importances.
// variance, of a row or a super-block, keeps small values from counting
// nothing.
func weigh(w, x, importance []float32, variance float32) {
	w, importance = w[:len(x)], importance[:len(x)]
	for i, v := range x {
		w[i] = importance[i] * sqrt(variance+float32(v*v))
	}
}

// weighAll does weigh for any number of values.
func weighAll(w, x, importance []float32, variance float32) {
	done := kernel.WeighValues(w, x, importance, variance)
	weigh(w[done:], x[done:], importance[done:], variance)
}

// total returns the sum of w.
func total(w []float32) float32 {
	var s float32
	for _, v := range w {
		s += v
	}
	return s
}

// fitSymmetric finds a scale s and integers q in [-n, n) such that x is about
// s*q, and stores q+n, or 0 if x is zero.
//
// It minimizes the sum of w*(x - s*q)^2. For a given q the best scale is s = sum(w*x*q) / sum(w*q^2), and the error is smaller the larger
// sum(w*x*q)^2 / sum(w*q^2) is. The candidates for q are x rounded with the
// scales that send the extreme value to -n and 18 positions around it, up to 0.9
// away. It is make_qx_quants of ggml-quants.c.
func fitSymmetric(q []uint8, x, w []float32, n int32) float32 {
	peak := extreme(x)
	if abs(peak) < negligible {
		clear(q)
		return 0
	}
	w = w[:len(x)]
	var wxArray [subBlock]float32
	wx := wxArray[:len(x)]
	for i, v := range x {
		wx[i] = w[i] * v
	}
	sums := func(inverse float32) (xq, qq float32) {
		for i, v := range x {
			f := float32(clamp(nearestInt(inverse*v), -n, n-1))
			xq += float32(wx[i] * f)
			qq += float32(float32(w[i]*f) * f)
		}
		return xq, qq
	}

	inverse := -float32(n) / peak
	var scale float32
	xq, qq := sums(inverse)
	if qq != 0 {
		scale = xq / qq
	}
	best := scale * xq
	for step := -9; step <= 9; step++ {
		if step == 0 {
			continue
		}
		candidate := -(float32(n) + float32(float32(0.1)*float32(step))) / peak
		xq, qq := sums(candidate)
		if qq > 0 && xq*xq > best*qq {
			inverse = candidate
			scale = xq / qq
			best = scale * xq
		}
	}
	for i, v := range x {
		q[i] = uint8(n + clamp(nearestInt(inverse*v), -n, n-1))
	}
	return scale
}

// fitSymmetrics does fitSymmetric for the sub-blocks of x, which are as many as
// scales, with the weights x^2 if w is nil. totals, if it is not nil, gets the
// sums of their weights.
func fitSymmetrics(q []uint8, x, w, scales, totals []float32, n int32) {
	size := len(x) / len(scales)
	for s := 0; s < len(scales); {
		q, x := q[s*size:], x[s*size:]
		var weights, sums []float32
		if w != nil {
			weights = w[s*size:]
		}
		if totals != nil {
			sums = totals[s:]
		}
		if done := kernel.FitSymmetric(q, x, weights, scales[s:], sums, size, float32(n)); done > 0 {
			s += done
			continue
		}
		q, x = q[:size], x[:size]
		var squares [subBlock]float32
		if w == nil {
			weights = squares[:]
			weighSquares(weights, x)
		}
		scales[s] = fitSymmetric(q, x, weights, n)
		if totals != nil {
			sums[0] = total(weights[:size])
		}
		s++
	}
}

// fitByDescent minimizes the same error as fitSymmetric by another path: from
// the rounding that sends the extreme value to -n, it moves one integer at a
// time to where the scale of all others wants it, as long as that helps, at
// most five times through the block. It is make_q3_quants of ggml-quants.c.
func fitByDescent(q []uint8, x []float32, n int32) float32 {
	peak := extreme(x)
	if abs(peak) < negligible {
		clear(q)
		return 0
	}
	var level [subBlock]float32
	inverse := -float32(n) / peak
	var xq, qq float32
	for i, v := range x {
		l := float32(clamp(nearestInt(inverse*v), -n, n-1))
		level[i] = l
		w := v * v
		xq += float32(float32(w*v) * l)
		qq += float32(float32(w*l) * l)
	}
	for range 5 {
		changed := false
		for i, v := range x {
			w := v * v
			l := level[i]
			otherXQ := xq - float32(float32(w*v)*l)
			if !(otherXQ > 0) {
				continue
			}
			otherQQ := qq - float32(float32(w*l)*l)
			moved := float32(clamp(nearestInt(v*otherQQ/otherXQ), -n, n-1))
			if moved == l {
				continue
			}
			otherXQ += float32(float32(w*v) * moved)
			otherQQ += float32(float32(w*moved) * moved)
			if otherQQ > 0 && float32(otherXQ*otherXQ)*qq > float32(xq*xq)*otherQQ {
				level[i], xq, qq = moved, otherXQ, otherQQ
				changed = true
			}
		}
		if !changed {
			break
		}
	}
	for i := range x {
		q[i] = uint8(int32(level[i]) + n)
	}
	if qq > 0 {
		return xq / qq
	}
	return 0
}

// fitByDescents does fitByDescent for sub-blocks of 16 values, which are as many
// as scales.
func fitByDescents(q []uint8, x, scales []float32, n int32) {
	for s := 0; s < len(scales); {
		q, x := q[16*s:], x[16*s:]
		if done := kernel.FitByDescent(q, x, scales[s:], float32(n)); done > 0 {
			s += done
			continue
		}
		scales[s] = fitByDescent(q[:16], x[:16], n)
		s++
	}
}

// affineSearch says how fitAffine searches: with scales that spread the range
// of the values over n + first, n + first + step, ... instead of n levels.
type affineSearch struct {
	n           int32 // the largest integer
	first, step float32
	steps       int
	// absolute makes the error the sum of w*|x - s*q - min| instead of that of
	// the squares.
	absolute bool
	weighing kernel.Weighing
	// In a super-block, variance is what the mean square is taken times for
	// kernel.ByImportance.
	variance float32
}

func (s affineSearch) lanes() kernel.Affine {
	return kernel.Affine{N: float32(s.n), First: s.first, Step: s.step, Steps: s.steps, Absolute: s.absolute, Weighing: s.weighing}
}

// weigh makes the weights w those of the values of a sub-block.
func (s affineSearch) weigh(w, x, importance []float32, variance float32) {
	switch s.weighing {
	case kernel.ByMagnitude:
		for i, v := range x {
			w[i] = abs(v)
		}
	case kernel.ByRMS:
		rms := sqrt(sumSquares(x) / float32(len(x)))
		for i, v := range x {
			w[i] = rms + abs(v)
		}
	case kernel.ByImportance:
		weigh(w, x, importance, variance)
	}
}

// fitAffine finds a scale s, a minimum m >= 0 and integers q in [0, n] such that
// x is about s*q - m, weighted by w. For given q, s and m are those of the
// weighted least squares line through (q, x), but for m < 0, where m is 0 and s
// that of the line through the origin. It is make_qkx2_quants and
// make_qkx3_quants of ggml-quants.c, including that the range of the values counts
// from the best minimum so far.
func fitAffine(q []uint8, x, w []float32, search affineSearch) (scale, minimum float32) {
	q, w = q[:len(x)], w[:len(x)]
	low, high := x[0], x[0]
	sumW := w[0]
	sumX := float32(sumW * x[0])
	for i := 1; i < len(x); i++ {
		v := x[i]
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
		sumW += w[i]
		sumX += float32(w[i] * v)
	}
	if low > 0 {
		low = 0
	}
	if high == low {
		clear(q)
		return 0, -low
	}

	var levelArray [subBlock]float32
	level := levelArray[:len(x)]
	fitError := func(scale, low float32) float32 {
		var sum float32
		for i, v := range x {
			d := float32(scale*level[i]) + low - v
			if search.absolute {
				d = abs(d)
			} else {
				d *= d
			}
			sum += float32(w[i] * d)
		}
		return sum
	}
	store := func() {
		for i, l := range level {
			q[i] = uint8(l)
		}
	}

	n := float32(search.n)
	inverse := n / (high - low)
	scale = 1 / inverse
	for i, v := range x {
		level[i] = float32(clamp(nearestInt(inverse*(v-low)), 0, search.n))
	}
	best := fitError(scale, low)
	store()
	for step := range search.steps + 1 {
		inverse := (search.first + float32(search.step*float32(step)) + n) / (high - low)
		var sumQ, sumQQ, sumXQ float32
		for i, v := range x {
			l := float32(clamp(nearestInt(inverse*(v-low)), 0, search.n))
			level[i] = l
			wl := float32(w[i] * l)
			sumQ += wl
			sumQQ += float32(wl * l)
			sumXQ += float32(wl * v)
		}
		determinant := float32(sumW*sumQQ) - float32(sumQ*sumQ)
		if !(determinant > 0) {
			continue
		}
		newScale := (float32(sumW*sumXQ) - float32(sumX*sumQ)) / determinant
		newLow := (float32(sumQQ*sumX) - float32(sumQ*sumXQ)) / determinant
		if newLow > 0 {
			newLow = 0
			newScale = sumXQ / sumQQ
		}
		if e := fitError(newScale, newLow); e < best {
			best, scale, low = e, newScale, newLow
			store()
		}
	}
	return scale, -low
}

// affineBatch is how many values are searched for scales and minima together:
// enough to fill vectors.
const affineBatch = 4 * 256

// affineFits is what a search finds for up to affineBatch values.
type affineFits struct {
	q              [affineBatch]uint8
	scales, minima [affineBatch / 16]float32 // of the sub-blocks
	sums           [affineBatch / 16]float32 // of the weights of the sub-blocks
	work           kernel.AffineWork
}

// fit does fitAffine for the sub-blocks of size values that x consists of. With
// importances, there is a variance for each sub-block.
func (f *affineFits) fit(x, importance, variances []float32, size int, search affineSearch) {
	count := len(x) / size
	done := kernel.FitAffines(&f.work, f.q[:], x, importance, variances, f.scales[:count], f.minima[:count], f.sums[:count], size, search.lanes())
	for s := done; s < count; s++ {
		var weights [subBlock]float32
		w, x := weights[:size], x[s*size:][:size]
		if importance == nil {
			search.weigh(w, x, nil, 0)
		} else {
			search.weigh(w, x, importance[s*size:], variances[s])
		}
		f.sums[s] = total(w)
		f.scales[s], f.minima[s] = fitAffine(f.q[s*size:][:size], x, w, search)
	}
}

// round rounds the values again, with the scales and minima that f has.
func (f *affineFits) round(x []float32, size int, n int32) {
	count := len(x) / size
	if kernel.RoundAffines(f.q[:], x, f.scales[:count], f.minima[:count], size, n) {
		return
	}
	for s := range count {
		round(f.q[s*size:][:size], x[s*size:][:size], f.scales[s], f.minima[s], 0, n)
	}
}

// fitPositive finds a scale s and integers q in [0, n] such that x, which is not
// negative, is about s*q, weighted by w: from the best of nine scales around the
// one that sends the largest value to n, it moves one integer at a time as
// fitByDescent does. It is make_qp_quants of ggml-quants.c, including that
// negative values wrap around in q.
func fitPositive(q []uint8, x, w []float32, n int32) float32 {
	q, w = q[:len(x)], w[:len(x)]
	var peak float32
	for _, v := range x {
		if !(peak > v) {
			peak = v
		}
	}
	if peak < negligible {
		clear(q)
		return 0
	}

	inverse := float32(n) / peak
	scale := 1 / inverse
	var best float32
	for i, v := range x {
		d := v - float32(scale*float32(uint8(nearestInt(inverse*v))))
		best += float32(float32(w[i]*d) * d)
	}
	var candidates, errors [8]float32
	for k, step := range [...]float32{-4, -3, -2, -1, 1, 2, 3, 4} {
		candidates[k] = (float32(float32(0.1)*step) + float32(n)) / peak
	}
	if !kernel.PositiveErrors(&errors, &candidates, x, w, n) {
		for k, candidate := range candidates {
			scale := 1 / candidate
			for i, v := range x {
				d := v - float32(scale*float32(min(n, nearestInt(candidate*v))))
				errors[k] += float32(float32(w[i]*d) * d)
			}
		}
	}
	for k, e := range errors {
		if e < best {
			best, inverse = e, candidates[k]
		}
	}

	var xq, qq float32
	for i, v := range x {
		l := min(n, nearestInt(inverse*v))
		q[i] = uint8(l)
		xq += float32(float32(w[i]*v) * float32(l))
		qq += float32(float32(w[i]*float32(l)) * float32(l))
	}
	for range 5 {
		changed := false
		for i, v := range x {
			l := float32(q[i])
			otherXQ := xq - float32(float32(w[i]*v)*l)
			otherQQ := qq - float32(float32(w[i]*l)*l)
			if !(otherXQ > 0 && otherQQ > 0) {
				continue
			}
			level := min(n, nearestInt(v*otherQQ/otherXQ))
			if level == int32(q[i]) {
				continue
			}
			moved := float32(level)
			otherXQ += float32(float32(w[i]*v) * moved)
			otherQQ += float32(float32(w[i]*moved) * moved)
			if float32(otherXQ*otherXQ)*qq > float32(xq*xq)*otherQQ {
				q[i], xq, qq = uint8(level), otherXQ, otherQQ
				changed = true
			}
		}
		if !changed {
			break
		}
	}
	if qq > 0 {
		return xq / qq
	}
	return 0
}

func clamp(v, low, high int32) int32 { return max(low, min(high, v)) }
