package kernel

// TernaryPoints is what numbers of points for NearestTernary are multiples of.
const TernaryPoints = 16

// TernaryWork is what the searches of IQ1S and IQ1M work in.
type TernaryWork [912]float32

// IQ1S has what fitIQ1S of package quant knows of 32 values x with weights w.
type IQ1S struct {
	Rank [32]uint8   // the place of a value in their order, equal ones as they come
	X, W [33]float32 // sums of x*w and of w over the first values in order
	// Bit i2 - 1 of Cuts[i1] is set if the best cuts may be i1 and i2, and the
	// bits of Rows for those of Cuts that are not 0. Both cuts may be 0 if Whole
	// is set.
	Cuts  [33]uint32
	Rows  uint64
	Whole bool
}

// IQ1M has what fitIQ1M of package quant knows of 16 values: as IQ1S, but sums of
// the values of each half.
type IQ1M struct {
	Rank  [16]uint8
	X, W  [2][17]float32
	Cuts  [17]uint32
	Rows  uint64
	Whole bool
}
