package kernel

// MaxSize is the largest number of values in a sub-block.
const MaxSize = 32

// Affine says how FitAffines searches: see affineSearch of package quant.
type Affine struct {
	N, First, Step float32
	Steps          int
	Absolute       bool
	Weighing       Weighing
}

// Weighing is where weights of values come from.
type Weighing int

// The weights of package quant.
const (
	ByMagnitude  Weighing = iota // the magnitude
	ByRMS                        // the magnitude plus the root mean square of the sub-block
	ByImportance                 // the importance times the root of the variance plus the square
)
