package graph

import (
	"math"
	"slices"
)

// RopeSpec is a rotary embedding (RoFormer, arXiv 2104.09864).
type RopeSpec struct {
	Dims   int     `key:"rope.dimension_count"` // elements of a head
	Base   float64 `key:"rope.freq_base"`
	Factor float64 `key:"rope.scaling.factor"` // positions are divided by it
	// NeoX says that element i of a head of n is rotated together with i + n/2 (ggml's
	// "neox" layout). Otherwise neighbours are rotated together ("norm"), and converters have
	// permuted the rows of q and k.
	NeoX bool
	// Factors is the name of a tensor that may divide each frequency (Llama 3's rope_freqs).
	Factors string
}

// Rope is a RopeSpec with its frequencies.
type Rope struct {
	neox        bool
	frequencies []float64 // of each pair: radians a position
}

// rope computes the frequencies in float64: 1/Factor · Base^(-2i/d) / factor of the tensor.
func (b *Binder) rope(s RopeSpec) *Rope {
	if r := b.ropes[s]; r != nil {
		return r
	}
	factors := b.vector(s.Factors, s.Dims/2)
	r := &Rope{neox: s.NeoX, frequencies: make([]float64, s.Dims/2)}
	for i := range r.frequencies {
		r.frequencies[i] = 1 / s.Factor * math.Pow(s.Base, -float64(2*i)/float64(s.Dims))
		if factors != nil {
			r.frequencies[i] /= float64(factors[i])
		}
	}
	b.ropes[s] = r
	return r
}

// Angles are those of a Rope for some positions: pairs of cosine and sine.
type Angles struct {
	rope  *Rope
	table []float32 // positions x pairs x {cos, sin}
}

// Angles computes those of the positions below n.
func (r *Rope) Angles(n int) Angles {
	a := Angles{rope: r, table: make([]float32, 0, n*2*len(r.frequencies))}
	for pos := range n {
		for _, f := range r.frequencies {
			sin, cos := math.Sincos(float64(pos) * f)
			a.table = append(a.table, float32(cos), float32(sin))
		}
	}
	return a
}

// Are reports whether these are the angles of a Rope, or of one that is like it.
func (a Angles) Are(r *Rope) bool {
	return a.rope.neox == r.neox && slices.Equal(a.rope.frequencies, r.frequencies)
}

// rotate rotates the pairs of every head in row. Nothing is fused, so that all machines
// give the same bits.
func (a Angles) rotate(row []float32, pos int) {
	pairs := len(a.rope.frequencies)
	angles := a.table[pos*2*pairs:][:2*pairs]
	for ; len(row) > 0; row = row[len(angles):] {
		if a.rope.neox {
			rotateHalves(row[:pairs], row[pairs:][:pairs], angles)
		} else {
			rotateNeighbours(row[:len(angles)], angles)
		}
	}
}

func rotateNeighbours(head, angles []float32) {
	for i := 0; i+1 < len(head); i += 2 {
		x, y, cos, sin := head[i], head[i+1], angles[i], angles[i+1]
		head[i] = float32(x*cos) - float32(y*sin)
		head[i+1] = float32(x*sin) + float32(y*cos)
	}
}

func rotateHalves(low, high, angles []float32) {
	for i, x := range low {
		y, cos, sin := high[i], angles[2*i], angles[2*i+1]
		low[i] = float32(x*cos) - float32(y*sin)
		high[i] = float32(x*sin) + float32(y*cos)
	}
}
