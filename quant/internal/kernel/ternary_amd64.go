//go:build amd64 && !purego

package kernel

import "github.com/ggufkit/ggufkit/quant/isa"

//go:generate go run -C ../../_asm ./ternary -pkg kernel -out ../internal/kernel/ternary_amd64.s -stubs ../internal/kernel/ternary_stubs_amd64.go

// Sums fills Rank, X and W. It returns false where there is no kernel, where no
// magnitude is least, and where results may depend on more than the order of
// operations: where a value is not finite or a weight has a sign.
func (f *IQ1S) Sums(x, w *[32]float32, least float32) bool {
	switch isa.Current() {
	case isa.AVX512:
		return ternarySums32AVX512(&x[0], &w[0], &f.X[0], &f.W[0], &f.work[0], &f.Rank[0], least) != 0
	case isa.AVX2:
		return ternarySums32AVX2(&x[0], &w[0], &f.X[0], &f.W[0], &f.work[0], &f.Rank[0], least) != 0
	}
	return false
}

// LikelyCuts sets the bits of Cuts for X and W as Sums makes them.
func (f *IQ1S) LikelyCuts() bool {
	if !moderate(f.X[32], f.W[32]) {
		return false
	}
	f.Cuts = [33]uint32{}
	var largest float32
	switch isa.Current() {
	case isa.AVX512:
		largest = ternaryCutsAVX512(&f.X[0], &f.W[0], &f.work[0], &f.Cuts[0])
	case isa.AVX2:
		largest = ternaryCutsAVX2(&f.X[0], &f.W[0], &f.work[0], &f.Cuts[0])
	}
	return normal(largest, f.W[32])
}

// Sums is that of IQ1S.
func (f *IQ1M) Sums(x, w *[16]float32, least float32) bool {
	switch isa.Current() {
	case isa.AVX512:
		return ternarySums16AVX512(&x[0], &w[0], &f.X[0][0], &f.W[0][0], &f.work[0], &f.Rank[0], least) != 0
	case isa.AVX2:
		return ternarySums16AVX2(&x[0], &w[0], &f.X[0][0], &f.W[0][0], &f.work[0], &f.Rank[0], least) != 0
	}
	return false
}

// LikelyCuts is that of IQ1S.
func (f *IQ1M) LikelyCuts() bool {
	totalW := f.W[0][16] + f.W[1][16]
	if !moderate(f.X[0][16], totalW) || !moderate(f.X[1][16], totalW) {
		return false
	}
	f.Cuts = [17]uint16{}
	var largest float32
	switch isa.Current() {
	case isa.AVX512:
		largest = ternaryPairCutsAVX512(&f.X[0][0], &f.W[0][0], &f.work[0], &f.Cuts[0])
	case isa.AVX2:
		largest = ternaryPairCutsAVX2(&f.X[0][0], &f.W[0][0], &f.work[0], &f.Cuts[0])
	}
	return normal(largest, totalW)
}

func moderate(x, w float32) bool { return x > -0x1p100 && x < 0x1p100 && w > 0x1p-60 && w < 0x1p60 }

func normal(largest, w float32) bool {
	return largest > 0x1p-110 && largest*w > 0x1p-105 && largest*w < 0x1p60
}

// NearestTernary returns which of points is nearest to x, weighted by w: the
// first of several.
func NearestTernary(points []uint16, x, w *[8]float32, values *[4]float32) int {
	switch isa.Current() {
	case isa.AVX512:
		return ternaryNearestAVX512(&points[0], len(points)/16, &x[0], &w[0], &values[0])
	case isa.AVX2:
		return ternaryNearestAVX2(&points[0], len(points)/8, &x[0], &w[0], &values[0])
	}
	return -1
}
