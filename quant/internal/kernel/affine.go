package kernel

// MaxSize is the largest number of values in a sub-block.
const MaxSize = 32

// Affine says how FitAffine searches: see affineSearch of package quant.
type Affine struct {
	N, First, Step float32
	Steps          int
	Absolute       bool
}
