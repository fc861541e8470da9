package main

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/quant/_asm/neon"
)

// A search has a sub-block in each lane of two vectors. The sums of one do not wait
// for those of the other.
const groups = 2

// maxSize is the largest number of values in a sub-block.
const maxSize = 32

// group is a vector for each group.
type group [groups]neon.Vector

// lanes is a search under construction. work is where it has, for each place in the
// sub-blocks, three groups, and after them what it has but one group of.
type lanes struct {
	*neon.Function
	work, size neon.Register
}

// The groups of a place. What the third one is depends on the search.
const (
	values  = 0
	weights = 32 * iota
	third
	placeBytes
)

// slot is the offset of what there is one group of.
func slot(i int) int { return maxSize*placeBytes + 32*i }

func (l *lanes) group() (g group) {
	for i := range g {
		g[i] = l.Vector()
	}
	return g
}

func (l *lanes) load(base neon.Register, offset int) group {
	g := l.group()
	l.LoadPair(g[0], g[1], base, offset)
	return g
}

func (l *lanes) store(g group, base neon.Register, offset int) {
	l.StorePair(g[0], g[1], base, offset)
}

// do returns what op makes of a and b.
func (l *lanes) do(op func(d, n, m neon.Vector), a, b group) group {
	g := l.group()
	for i := range g {
		op(g[i], a[i], b[i])
	}
	return g
}

// to replaces a by what op makes of it and b.
func (l *lanes) to(a group, op func(d, n, m neon.Vector), b group) {
	for i := range a {
		op(a[i], a[i], b[i])
	}
}

// to1 replaces a by what op makes of it.
func (l *lanes) to1(a group, op func(d, n neon.Vector)) {
	for i := range a {
		op(a[i], a[i])
	}
}

// both is a group that has v twice.
func both(v neon.Vector) group { return group{v, v} }

func (l *lanes) zeros() group {
	g := l.group()
	for _, v := range g {
		l.Zero(v)
	}
	return g
}

// each emits a loop over the places, the groups of which are at at+offset.
func (l *lanes) each(label string, body func(at neon.Register, offset int)) {
	l.Scope(func() {
		at, left := l.Register(), l.Register()
		l.Op("MOVD %v, %v", l.work, at)
		l.Op("MOVD %v, %v", l.size, left)
		l.Label(label)
		for offset := 0; offset < 2*placeBytes; offset += placeBytes {
			l.Scope(func() { body(at, offset) })
		}
		l.Op("ADD $%d, %v", 2*placeBytes, at)
		l.Op("SUBS $2, %v", left)
		l.Op("BNE %s", label)
	})
}

// transpose puts the sub-blocks that begin at the address in from into lanes, as
// the groups of the places that are at offset to. from moves on.
func (l *lanes) transpose(label string, from neon.Register, to int) {
	l.Comment("Put the " + strings.ReplaceAll(label, "_", " ") + " into lanes.")
	l.Scope(func() {
		at, left := l.Register(), l.Register()
		var rows [4]neon.Register
		for i := range rows {
			rows[i] = l.Register()
		}
		for g := range groups {
			l.Op("ADD $%d, %v, %v", to+16*g, l.work, at)
			l.Op("MOVD %v, %v", l.size, left)
			for _, row := range rows {
				l.Op("MOVD %v, %v", from, row)
				l.Op("ADD %v<<2, %v", l.size, from)
			}
			l.Label(fmt.Sprintf("%s%d", label, g))
			l.Scope(func() {
				for i, r := range transposed(l.Function, rows) {
					l.Store(r, at, i*placeBytes)
				}
			})
			l.Op("ADD $%d, %v", 4*placeBytes, at)
			l.Op("SUBS $4, %v", left)
			l.Op("BNE %s%d", label, g)
		}
	})
}

// transposed loads four values from each of the rows, which move on, and returns
// the first ones of all, the second ones, and so on.
func transposed(f *neon.Function, rows [4]neon.Register) []neon.Vector {
	r, t := f.Vectors(4), f.Vectors(4)
	for i, row := range rows {
		f.Op("FMOVQ.P 16(%v), F%d", row, r[i])
	}
	f.ZIP1(neon.S4, t[0], r[0], r[2])
	f.ZIP1(neon.S4, t[1], r[1], r[3])
	f.ZIP2(neon.S4, t[2], r[0], r[2])
	f.ZIP2(neon.S4, t[3], r[1], r[3])
	for i := range 2 {
		f.ZIP1(neon.S4, r[2*i], t[2*i], t[2*i+1])
		f.ZIP2(neon.S4, r[2*i+1], t[2*i], t[2*i+1])
	}
	return r
}

// magnitude puts the greatest magnitude in a and b into a. A NaN wins.
func (l *lanes) magnitude(a, b group) {
	l.to1(a, l.FABS)
	l.to1(b, l.FABS)
	l.to(a, l.FMAX, b)
}

// weighByImportance makes weights of importances in their place, with the parameter
// variances.
func (l *lanes) weighByImportance(label string) {
	l.Scope(func() {
		variance := l.load(l.Parameter("variances"), 0)
		l.each(label, func(at neon.Register, offset int) {
			root, w := l.load(at, offset+values), l.load(at, offset+weights)
			l.to(root, l.FMUL, root)
			l.to(root, l.FADD, variance)
			l.to1(root, l.FSQRT)
			l.to(w, l.FMUL, root)
			l.store(w, at, offset+weights)
		})
	})
}

// replace makes the group at offset at value where better has ones.
func (l *lanes) replace(at int, value, better group) {
	l.Scope(func() {
		old := l.load(l.work, at)
		for g := range groups {
			l.BIT(old[g], value[g], better[g])
		}
		l.store(old, l.work, at)
	})
}

// extreme makes the peaks x where the magnitude of x is greater than the largest so
// far. A NaN stays in largest.
func (l *lanes) extreme(peak, largest, x group) {
	magnitude := l.group()
	for g := range groups {
		l.FABS(magnitude[g], x[g])
	}
	larger := l.do(l.FCMGT, magnitude, largest)
	for g := range groups {
		l.BIT(peak[g], x[g], larger[g])
	}
	l.to(largest, l.FMAX, magnitude)
}

// leaveUnless jumps to label unless all of v are less than limit.
func (l *lanes) leaveUnless(v neon.Vector, limit uint32, label string) {
	l.Scope(func() {
		bits, most := l.Register(), l.Vector()
		l.FMAXV(v, v)
		l.Op("MOVD $%#x, %v", limit, bits)
		l.Op("FMOVS %v, F%d", bits, most)
		l.Op("FCMPS F%d, F%d", most, v)
		l.Op("BPL %s", label) // not less, or NaN
	})
}

// narrow makes bytes of the low bits of four vectors, in the first.
func narrow(f *neon.Function, x []neon.Vector) {
	f.UZP1(neon.H8, x[0], x[0], x[1])
	f.UZP1(neon.H8, x[2], x[2], x[3])
	f.UZP1(neon.B16, x[0], x[0], x[2])
}

// rows emits a loop over the sub-blocks, in each of which it makes 16 bytes at a
// time of the values at x. begin fills vectors with what is at the offset of the
// sub-block from state, level makes integers of four values, and end changes the
// bytes.
func (l *lanes) rows(state int, begin func(at neon.Register), level func(x neon.Vector), end func(bytes neon.Vector)) {
	l.Scope(func() {
		q, x, at, last, left := l.Parameter("q"), l.Parameter("x"), l.Register(), l.Register(), l.Register()
		l.Op("ADD $%d, %v, %v", state, l.work, at)
		l.Op("ADD $%d, %v, %v", 16*groups, at, last)
		l.Label("row")
		begin(at)
		l.Op("MOVD %v, %v", l.size, left)
		l.Label("bytes")
		v := l.Vectors(4)
		l.LoadPair(v[0], v[1], x, 0)
		l.LoadPair(v[2], v[3], x, 32)
		for _, v := range v {
			level(v)
		}
		narrow(l.Function, v)
		end(v[0])
		l.Store(v[0], q, 0)
		l.Op("ADD $64, %v", x)
		l.Op("ADD $16, %v", q)
		l.Op("SUBS $16, %v", left)
		l.Op("BNE bytes")
		l.Op("ADD $4, %v", at)
		l.Op("CMP %v, %v", last, at)
		l.Op("BNE row")
	})
}
