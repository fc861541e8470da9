package report

import (
	"cmp"
	"math"
	"slices"
)

// box is a rectangle of a chart, from its left upper to its right lower corner.
type box struct{ x0, y0, x1, y1 float64 }

func (a box) overlaps(b box) bool {
	return a.x0 < b.x1 && b.x0 < a.x1 && a.y0 < b.y1 && b.y0 < a.y1
}

func (a box) contains(b box) bool {
	return a.x0 <= b.x0 && b.x1 <= a.x1 && a.y0 <= b.y0 && b.y1 <= a.y1
}

// nearest returns the point of the box that is nearest to p.
func (a box) nearest(p point) point {
	return point{max(a.x0, min(a.x1, p.x)), max(a.y0, min(a.y1, p.y))}
}

func (a box) distance(p point) float64 { return distance(a.nearest(p), p) }

func distance(a, b point) float64 { return math.Hypot(a.x-b.x, a.y-b.y) }

// segment is a line between two points.
type segment struct{ from, to point }

// distance returns how far a point is from the segment.
func (s segment) distance(p point) float64 {
	dx, dy := s.to.x-s.from.x, s.to.y-s.from.y
	length := dx*dx + dy*dy
	if length == 0 {
		return distance(s.from, p)
	}
	t := max(0, min(1, ((p.x-s.from.x)*dx+(p.y-s.from.y)*dy)/length))
	return distance(point{s.from.x + t*dx, s.from.y + t*dy}, p)
}

func (s segment) crosses(o segment) bool {
	side := func(a, b, c point) float64 { return (b.x-a.x)*(c.y-a.y) - (b.y-a.y)*(c.x-a.x) }
	return side(s.from, s.to, o.from)*side(s.from, s.to, o.to) < 0 && side(o.from, o.to, s.from)*side(o.from, o.to, s.to) < 0
}

func (s segment) crossesBox(b box) bool {
	corners := [4]point{{b.x0, b.y0}, {b.x1, b.y0}, {b.x1, b.y1}, {b.x0, b.y1}}
	for i, corner := range corners {
		if s.crosses(segment{corner, corners[(i+1)%4]}) {
			return true
		}
	}
	return b.distance(s.from) == 0 || b.distance(s.to) == 0
}

// label is the name of a dot.
type label struct {
	dot   point
	width float64
}

// place is where a label is written, if there is room for it.
type place struct {
	box
	leader *segment // from the dot, if the label is not beside it
	found  bool
}

const (
	labelHeight = 14. // of a line of text
	dotRadius   = 6.  // of a dot with some room around it
	besideDot   = 8.  // from the middle of a dot to a label beside it
)

// labelling places the labels of a chart.
type labelling struct {
	labels []label
	within box
	// taken is covered by no label, and crossed by no leader. lines are covered only if there
	// is no other room nearby.
	taken []box
	lines []segment
}

// places returns where the labels are written: on no other label, no dot and nothing that is
// taken; nearer to its own dot than to any other, or with a leader to it, which crosses no other
// label or dot, but for dots that overlap with its own, and no other leader if that is
// possible. Of such places each label gets one that is near.
//
// Labels are placed one after the other, each where there is room. One that finds none drives out those
// where the fewest are in its way, of which those that were driven out often count more; they are placed
// again.
func (l labelling) places() []place {
	tries := make([][]try, len(l.labels))
	var queue []int
	for i := range l.labels {
		tries[i] = l.tries(i)
		queue = append(queue, i)
	}
	places := make([]place, len(l.labels))
	driven := make([]int, len(l.labels))
	const rounds = 15
	for n := 0; len(queue) > 0; n++ {
		i := queue[0]
		queue = queue[1:]
		places[i] = best(tries[i], places)
		if places[i].found || n > rounds*len(l.labels) {
			continue
		}
		least := math.Inf(1)
		var inTheWay []int
		for _, try := range tries[i] {
			cost := try.cost / 1000
			var conflicts []int
			for j, other := range places {
				if try.conflicts(other) {
					conflicts = append(conflicts, j)
					cost += 1 + float64(driven[j])
				}
			}
			if cost < least {
				places[i], least, inTheWay = try.place, cost, conflicts
			}
		}
		for _, j := range inTheWay {
			places[j] = place{}
			driven[j]++
			queue = append(queue, j)
		}
	}
	for range 3 { // what was placed early may have a nearer place now
		for i := range places {
			places[i].found = false
			if p := best(tries[i], places); p.found {
				places[i] = p
			}
		}
	}
	return places
}

// best returns the first of the places to try that is in conflict with none of the others, or
// whose leader crosses only other leaders.
func best(tries []try, places []place) place {
	for _, crossing := range []bool{false, true} {
		for _, try := range tries {
			if !slices.ContainsFunc(places, func(other place) bool { return try.conflicts(other) || !crossing && try.crosses(other) }) {
				return try.place
			}
		}
	}
	return place{}
}

// conflicts reports whether two labels cannot be where they are together.
func (p place) conflicts(other place) bool {
	return other.found && (p.overlaps(other.box) || p.leader != nil && p.leader.crossesBox(other.box) || other.leader != nil && other.leader.crossesBox(p.box))
}

// crosses reports whether the leaders of two labels cross.
func (p place) crosses(other place) bool {
	return other.found && p.leader != nil && other.leader != nil && p.leader.crosses(*other.leader)
}

type try struct {
	place
	cost float64
}

// tries returns the places for a label that are free as far as other labels go, the best first.
func (l labelling) tries(i int) []try {
	dot, w := l.labels[i].dot, l.labels[i].width
	at := func(left, top float64) box { return box{left, top, left + w, top + labelHeight} }
	var tries []try
	add := func(p place, cost float64) {
		if l.free(i, p) {
			tries = append(tries, try{p, cost + l.covers(i, p)})
		}
	}
	middle := dot.y - labelHeight/2
	for n, b := range []box{
		at(dot.x+besideDot, middle), at(dot.x-besideDot-w, middle),
		at(dot.x+besideDot-2, dot.y-labelHeight-2), at(dot.x-besideDot+2-w, dot.y+2),
		at(dot.x-w/2, dot.y-labelHeight-besideDot+1), at(dot.x-w/2, dot.y+besideDot-1),
		at(dot.x+besideDot-2, dot.y+2), at(dot.x-besideDot+2-w, dot.y-labelHeight-2),
	} {
		add(place{b, nil, true}, float64(n))
	}
	const directions, nearest, furthest, step = 24, 16., 184., 8.
	for r := nearest; r <= furthest; r += step {
		for d := range directions {
			sin, cos := math.Sincos(2 * math.Pi * float64(d) / directions)
			end := point{dot.x + r*cos, dot.y + r*sin}
			top := end.y - labelHeight*(1-sin)/2
			for _, left := range []float64{end.x - w*(1-cos)/2, end.x, end.x - w} {
				b := at(left, top)
				if to := b.nearest(dot); distance(dot, to) >= nearest-2 {
					add(place{b, &segment{dot, to}, true}, 10+distance(dot, to))
				}
			}
		}
	}
	slices.SortStableFunc(tries, func(a, b try) int { return cmp.Compare(a.cost, b.cost) })
	return tries
}

// free reports whether a place for a label is on no dot and nothing that is taken, and no other
// dot is nearer.
func (l labelling) free(i int, p place) bool {
	if !l.within.contains(p.box) {
		return false
	}
	for _, taken := range l.taken {
		if p.overlaps(taken) || p.leader != nil && p.leader.crossesBox(taken) {
			return false
		}
	}
	own := l.labels[i].dot
	for j, other := range l.labels {
		if j == i {
			continue
		}
		away := p.distance(other.dot)
		switch {
		case away < dotRadius:
			return false
		case p.leader == nil && away < p.distance(own)+4:
			return false
		case p.leader != nil && !overlap(own, other.dot) && p.leader.distance(other.dot) < dotRadius:
			return false
		}
	}
	return true
}

// overlap reports whether two dots do, so that no leader of one can pass by the other.
func overlap(a, b point) bool { return distance(a, b) < 2*dotRadius }

// covers returns the cost of what a label at a place covers, lines or dots that overlap with its own.
func (l labelling) covers(i int, p place) (cost float64) {
	for _, line := range l.lines {
		if line.crossesBox(p.box) {
			cost += 12
		}
	}
	for j, other := range l.labels {
		if j != i && p.leader != nil && p.leader.distance(other.dot) < min(dotRadius, 0.8*distance(l.labels[i].dot, other.dot)) {
			cost += 8
		}
	}
	return cost
}

// spread moves values apart that are closer than a gap, as little as possible, between two ends.
// Their order stays.
func spread(values []float64, gap, low, high float64) []float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	// With i gaps taken off the value in place i, they only have to rise: neighbours that
	// do not are pooled to their mean.
	type pool struct {
		sum float64
		n   int
	}
	var pools []pool
	for i, at := range order {
		pools = append(pools, pool{values[at] - gap*float64(i), 1})
		for n := len(pools) - 1; n > 0 && pools[n-1].sum/float64(pools[n-1].n) > pools[n].sum/float64(pools[n].n); n-- {
			pools[n-1].sum += pools[n].sum
			pools[n-1].n += pools[n].n
			pools = pools[:n]
		}
	}
	apart := make([]float64, len(values))
	last := high - gap*float64(len(values)-1)
	i := 0
	for _, p := range pools {
		v := max(low, min(last, p.sum/float64(p.n)))
		for range p.n {
			apart[order[i]] = v + gap*float64(i)
			i++
		}
	}
	return apart
}
