package kernel

// TernaryWork is what the searches of IQ1S and IQ1M work in.
type TernaryWork [912]float32

// IQ1S has what is known of a sub-block of IQ1_S, 32 values x with weights w.
type IQ1S struct {
	Rank [32]uint8      // the place of a value in their order, equal ones as they come
	Sums [33][2]float32 // of x*w and of w, over the first values in order
	// Bit i2 - 1 of Cuts[i1] is set if the best cuts may be i1 and i2, and the
	// bits of Rows for those of Cuts that are not 0. Both cuts may be 0 if Whole
	// is set.
	Cuts  [33]uint32
	Rows  uint64
	Whole bool
}

// IQ1M has what is known of a sub-block of IQ1_M, 16 values, as IQ1S.
type IQ1M struct {
	Rank  [16]uint8
	Sums  [17][4]float32 // of x*w for each half, and then of w
	Cuts  [17]uint32
	Rows  uint64
	Whole bool
}
