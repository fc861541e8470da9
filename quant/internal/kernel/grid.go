package kernel

import "unsafe"

// Grid is what FitGrid knows of a grid: eight elements of three levels, or four
// of eight. A combination of levels is known by its bits, two or three for each
// level, the first one being the lowest.
type Grid struct {
	Levels int
	// Points has 16 bytes for each point: for each element, eight times the place of
	// its level, of four or eight for an element; at 8, the bits, and the highest bit
	// set.
	Points []uint8
	// Lists has the neighbours of combinations that are no points, as offsets in
	// Points. By the bits of a combination, All says how many there are, in bits 23
	// and up, and where they start; for a point, bits 23 and up are 0, and the
	// others are its number. Starts leaves out those that cannot be the closest
	// where no element is near to where its level changes.
	// Packed has the bits of those in Lists, and 16 more places.
	Lists, Packed []uint16
	Starts, All   []uint32
	// Moves is as long as Packed. Where Starts has the bit GridMoves set, there are
	// at most 16 neighbours and each has one level moved by one: Moves has eight times
	// the places of the level that it is moved to and, in the high byte, from. The
	// first element's fourth level of three is farther away than any other. There
	// are none for searches with EvenSigns or FitPeak.
	Moves []uint16
}

// GridMoves is a bit of Starts.
const GridMoves = 1 << 22

// GridStep is what Lists has for each combination a multiple of: the first one
// stands again for what lacks.
const GridStep = 4

// GridSearch says how FitGrid searches: see gridSearch of package quant.
type GridSearch struct {
	Size      int // elements in a sub-block
	EvenSigns bool
	Zero      float32
	// Numerators are what over the peak is the inverse of a candidate scale, the
	// greatest one last of Candidates. The others are the same as that.
	Numerators [32]float32
	Candidates int
	// RestNumerators has each of the candidates 16 to 19 four times.
	RestNumerators [16]float32
	// FitPeak, for sub-blocks of 32, lets fitPositive say what the peak is.
	// PeakNumerators has its candidates, after the largest level.
	FitPeak        bool
	PeakNumerators [9]float32
	// All groups of a sub-block are rounded again if one was moved, or always.
	AgainIfMoved, AgainAlways bool
}

// GridWork is what a search finds, and room to search. It can be used again.
type GridWork struct {
	Points [64]uint16  // the first of them: one for each group
	Signs  [32]uint8   // bit i of byte j: element 8*j + i is negative
	Scales [16]float32 // the first of them: one for each sub-block

	room [unsafe.Sizeof(gridRoom{}) + cacheLine]byte // for a gridRoom where a cache line begins
}

const cacheLine = 64

// gridRoom is what FitGrid works with. Vectors are in whole cache lines.
type gridRoom struct {
	// Magnitudes, weights, the square roots of these, and products of the first
	// two: of the elements, and of eight sub-blocks side by side.
	values   [4 * 256]float32
	rootSums [256]float32 // of values: at the first of eight, the sum of their roots
	lanes    [4 * 256]float32
	// For all groups with the first 8 or 16 candidates, then with the next: the
	// bits of points, the highest one set where a neighbour was taken. For each 8
	// or 16 candidates, the two sums that scales are fitted by, what they make a
	// candidate worth, and the square of the first, which is -Inf if there is no
	// scale.
	chosen [256]uint32
	sums   [128]float32
	// The same for candidates 16 to 19 of the sub-blocks 0 to 3 of eight, those of
	// a candidate side by side; and of the others.
	chosenRest [2][128]uint32
	sumsRest   [2][64]float32
	// The bits of the best candidate for eight sub-blocks side by side, with the
	// highest one set in groups to round again.
	chosenAgain [64]uint32
	sumsAgain   [16]float32
	// For each group, the terms that the levels of its elements add to distances,
	// and what else the kernels have for themselves.
	work [4560]float32

	// By sub-block: the greatest and least magnitudes, which may be negative, the
	// greatest without signs, and whether it counts as zero.
	peaks, lows, magnitudes [16]float32
	zero                    [16]bool
	bits                    [64]uint32 // as chosenAgain, but of all groups one after another
}
