//go:build amd64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

//go:generate go run -C ../../_asm ./ternary -pkg kernel -out ../internal/kernel/ternary_amd64.s -stubs ../internal/kernel/ternary_stubs_amd64.go

// Sort makes the weights w of x, x^2 if importance is nil, fills Rank, and puts what
// Add adds up into Sums. It returns false where there is no kernel, where no magnitude is least, and
// where results may depend on more than the order of operations: where a value is
// not finite or a weight has a sign.
func (s *IQ1S) Sort(w, x *[32]float32, importance []float32, variance, least float32, work *TernaryWork) bool {
	var weights *float32
	if importance != nil {
		weights = &importance[:32][0]
	}
	switch isa.Current() {
	case isa.AVX512:
		return ternaryPlaces32AVX512(&x[0], weights, &w[0], &s.Sums[0][0], &work[0], &s.Rank[0], variance, least) != 0
	case isa.AVX2:
		return ternaryPlaces32AVX2(&x[0], weights, &w[0], &s.Sums[0][0], &work[0], &s.Rank[0], variance, least) != 0
	}
	return false
}

// Add makes the sums of what Sort put into Sums.
func (s *IQ1S) Add() { ternarySums32AVX2(&s.Sums[0][0]) }

// LikelyCuts finds Cuts, Rows and Whole for what Sort and Add made. It returns false if
// some numbers are too large or too small to tell.
//
// A candidate is the better the larger its xq^2/qq is, of which the kernel makes
// an approximation. Both it and the definition make rounding errors, and the
// definition may prefer a candidate that is the worse by a few of these. So all
// candidates count the approximation of which is within 2^-10 of the largest, or
// 2^-9 where reciprocals have fewer bits.
//
// That is enough. Let A be the largest sum of x*w, W the total weight and u
// 2^-24. Both cuts where A is make the largest xq^2/qq at least A^2/W, and qq is
// at least W/64, so where xq^2/qq is half of the largest or more, xq is A/12 or
// more. Errors of xq are below 17*u*A and those of qq below 12*u*W, so those of
// xq^2/qq are below 2^-14 of it, besides that of the reciprocal. A candidate
// surely replaces another one where its xq^2/qq is greater by 8*u. The 1122 of
// them leave a gap of that size within 2^-10.9 of the largest one, the first one
// above which replaces whatever went before, so nothing below the gap matters.
// IQ1_M has fewer candidates, and as the values are sorted, sums of magnitudes
// that bound xq as A does here.
func (s *IQ1S) LikelyCuts(work *TernaryWork) bool {
	x, w := s.Sums[32][0], s.Sums[32][1]
	if !moderate(x, w) {
		return false
	}
	s.Cuts = [33]uint32{}
	var largest float32
	switch isa.Current() {
	case isa.AVX512:
		largest, s.Rows = ternaryCutsAVX512(&s.Sums[0][0], &work[0], &s.Cuts[0])
	case isa.AVX2:
		largest, s.Rows = ternaryCutsAVX2(&s.Sums[0][0], &work[0], &s.Cuts[0])
	}
	s.Whole = float64(x)*float64(x) > float64(largest)*float64(w)*(1-0x1p-9)
	return normal(largest, w)
}

// Sort is that of IQ1S.
func (s *IQ1M) Sort(w, x *[16]float32, importance []float32, variance, least float32, work *TernaryWork) bool {
	var weights *float32
	if importance != nil {
		weights = &importance[:16][0]
	}
	switch isa.Current() {
	case isa.AVX512:
		return ternaryPlaces16AVX512(&x[0], weights, &w[0], &s.Sums[0][0], &work[0], &s.Rank[0], variance, least) != 0
	case isa.AVX2:
		return ternaryPlaces16AVX2(&x[0], weights, &w[0], &s.Sums[0][0], &work[0], &s.Rank[0], variance, least) != 0
	}
	return false
}

// Add is that of IQ1S.
func (s *IQ1M) Add() { ternarySums16AVX2(&s.Sums[0][0]) }

// LikelyCuts is that of IQ1S.
func (s *IQ1M) LikelyCuts(work *TernaryWork) bool {
	x0, x1, w0, w1 := s.Sums[16][0], s.Sums[16][1], s.Sums[16][2], s.Sums[16][3]
	if !moderate(x0, w0+w1) || !moderate(x1, w0+w1) {
		return false
	}
	s.Cuts = [17]uint32{}
	var largest float32
	switch isa.Current() {
	case isa.AVX512:
		largest, s.Rows = ternaryPairCutsAVX512(&s.Sums[0][0], &work[0], &s.Cuts[0])
	case isa.AVX2:
		largest, s.Rows = ternaryPairCutsAVX2(&s.Sums[0][0], &work[0], &s.Cuts[0])
	}
	// xq^2/qq of any pair is at most the sum of those of both halves.
	both := float64(x0)*float64(x0)*float64(w1) + float64(x1)*float64(x1)*float64(w0)
	s.Whole = both >= float64(largest)*float64(w0)*float64(w1)*(1-0x1p-9)
	return normal(largest, w0+w1)
}

// moderate reports whether the sums of x*w and of w are.
func moderate(x, w float32) bool { return x > -0x1p100 && x < 0x1p100 && w > 0x1p-60 && w < 0x1p60 }

// normal reports whether what largest was made of is neither subnormal nor
// infinite.
func normal(largest, w float32) bool {
	return largest > 0x1p-110 && largest*w > 0x1p-105 && largest*w < 0x1p60
}

// NearestTernary returns the one of points, a multiple of 16, that is nearest to x, weighted by w: the
// first of several. The levels of a point, two bits each from the lowest up, stand
// for values. It returns false where there is no kernel.
func NearestTernary(points []uint16, x, w *[8]float32, values *[4]float32) (uint16, bool) {
	switch isa.Current() {
	case isa.AVX512:
		return points[ternaryNearestAVX512(&points[0], len(points)/16, &x[0], &w[0], &values[0])], true
	case isa.AVX2:
		return points[ternaryNearestAVX2(&points[0], len(points)/8, &x[0], &w[0], &values[0])], true
	}
	return 0, false
}

// FitTernary returns the sums of w*x*v and w*v^2, v being what a point means for
// each eight x: values[which]. It returns false where there is no kernel.
func FitTernary(points []uint16, which []uint8, values *[16][4]float32, x, w []float32) (xq, qq float32, ok bool) {
	if isa.Current() != isa.AVX512 && isa.Current() != isa.AVX2 {
		return 0, 0, false
	}
	which, x, w = which[:len(points)], x[:8*len(points)], w[:8*len(points)]
	xq, qq = ternaryFitAVX2(&points[0], &which[0], &values[0][0], &x[0], &w[0], len(points))
	return xq, qq, true
}
