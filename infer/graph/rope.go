package graph

import (
	"math"
	"slices"
)

// RopeSpec is a rotary embedding (RoFormer, arXiv 2104.09864). The zero value is none.
type RopeSpec struct {
	Dims   int     `key:"rope.dimension_count"` // elements of a head, the first so many
	Base   float64 `key:"rope.freq_base"`
	Factor float64 `key:"rope.scaling.factor"` // positions are divided by it
	// NeoX says that element i is rotated together with i + Dims/2 (ggml's "neox" layout).
	// Otherwise neighbours are rotated together ("norm"), and many converters have permuted
	// the rows of q and k.
	NeoX bool
	// Factors is the name of a tensor that may divide each frequency (Llama 3's rope_freqs).
	Factors string
	// LongFactors is the name of one that does so instead in a context of more than Original
	// tokens (LongRoPE, arXiv 2402.13753).
	LongFactors string
	Original    int     `key:"rope.scaling.original_context_length"` // tokens that the model was first made for
	Magnitude   float64 `key:"rope.scaling.attn_factor"`             // factor of cosine and sine; 0: none
	Yarn        Yarn
}

// Yarn says which frequencies Factor divides (YaRN, arXiv 2309.00071): not those that turn
// Fast times or more in Original tokens, those that turn Slow times or less wholly, others in
// part. The zero value divides all.
type Yarn struct {
	Fast float64 `key:"rope.scaling.yarn_beta_fast"`
	Slow float64 `key:"rope.scaling.yarn_beta_slow"`
	// Fractional says that the bounds between these are not moved outwards to whole pairs.
	Fractional bool `key:"rope.scaling.yarn_truncate"`
}

// extended returns which part of the frequency of a pair Factor divides.
func (s RopeSpec) extended(pair int) float64 {
	if s.Yarn == (Yarn{}) {
		return 1
	}
	bound := func(turns float64) float64 {
		return float64(s.Dims) * math.Log(float64(s.Original)/(turns*2*math.Pi)) / (2 * math.Log(s.Base))
	}
	low, high := bound(s.Yarn.Fast), bound(s.Yarn.Slow)
	if !s.Yarn.Fractional {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(s.Dims-1))
	return min(max((float64(pair)-low)/max(high-low, 0.001), 0), 1)
}

// Rope is a RopeSpec with its frequencies.
type Rope struct {
	neox        bool
	magnitude   float32
	original    int
	frequencies []float64 // of each pair: radians a position
	long        []float64 // in a context of more than original tokens, or nil
}

// rope computes the frequencies in float64: Base^(-2i/d) / factor of the tensor, divided by Factor
// as far as it is extended. It returns nil if there is no rotary embedding.
func (b *Binder) rope(s RopeSpec) *Rope {
	if s == (RopeSpec{}) {
		return nil
	}
	if r := b.ropes[s]; r != nil {
		return r
	}
	r := &Rope{neox: s.NeoX, magnitude: 1, original: s.Original, frequencies: s.frequencies(b.vector(s.Factors, s.Dims/2))}
	if s.Magnitude != 0 {
		r.magnitude = float32(s.Magnitude)
	}
	if s.LongFactors != "" {
		r.long = s.frequencies(b.vector(s.LongFactors, s.Dims/2))
	}
	b.ropes[s] = r
	return r
}

// frequencies divides each by a factor, unless there are none.
func (s RopeSpec) frequencies(factors []float32) []float64 {
	frequencies := make([]float64, s.Dims/2)
	for i := range frequencies {
		extended := s.extended(i)
		frequencies[i] = (extended/s.Factor + (1 - extended)) * math.Pow(s.Base, -float64(2*i)/float64(s.Dims))
		if factors != nil {
			frequencies[i] /= float64(factors[i])
		}
	}
	return frequencies
}

// Angles are those of a Rope for some positions: pairs of cosine and sine.
type Angles struct {
	rope  *Rope
	pairs int
	table []float32 // positions x pairs x {cos, sin}
}

// Angles computes those of the first n positions in a context of so many tokens.
func (r *Rope) Angles(n, context int) Angles {
	frequencies := r.frequencies
	if r.long != nil && context > r.original {
		frequencies = r.long
	}
	a := Angles{rope: r, pairs: len(frequencies), table: make([]float32, 0, n*2*len(frequencies))}
	for pos := range n {
		for _, f := range frequencies {
			sin, cos := math.Sincos(float64(pos) * f)
			a.table = append(a.table, float32(cos)*r.magnitude, float32(sin)*r.magnitude)
		}
	}
	return a
}

// Are reports whether these are the angles of a Rope, or of one that is like it.
func (a Angles) Are(r *Rope) bool {
	return a.rope == r || a.rope.neox == r.neox && a.rope.magnitude == r.magnitude && a.rope.original == r.original &&
		slices.Equal(a.rope.frequencies, r.frequencies) && slices.Equal(a.rope.long, r.long)
}

// rotate rotates the first pairs of every head in row, of so many elements each. Nothing is
// fused, so that all machines give the same bits.
func (a Angles) rotate(row []float32, head, pos int) {
	angles := a.table[pos*2*a.pairs:][:2*a.pairs]
	for ; len(row) > 0; row = row[head:] {
		if a.rope.neox {
			rotateHalves(row[:a.pairs], row[a.pairs:][:a.pairs], angles)
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
