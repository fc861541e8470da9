package infer

import "math"

// rotation holds the rotary embedding: for each position, keyLen/2 pairs of
// cosine and sine.
type rotation struct {
	pairs  int
	halves bool      // as in architecture
	table  []float32 // positions x pairs x {cos, sin}
}

// newRotation computes the angles in float64: position · scale · base^(-2i/d)
// / factor (RoFormer, arXiv 2104.09864; factors as in Llama 3's rope_freqs).
func (m *Model) newRotation(positions int) rotation {
	r := rotation{pairs: m.keyLen / 2, halves: m.halves}
	r.table = make([]float32, 0, positions*m.keyLen)
	frequencies := make([]float64, r.pairs)
	for i := range frequencies {
		frequencies[i] = m.ropeScale * math.Pow(m.ropeBase, -float64(2*i)/float64(m.keyLen))
		if m.ropeFactors != nil {
			frequencies[i] /= float64(m.ropeFactors[i])
		}
	}
	for pos := range positions {
		for _, f := range frequencies {
			sin, cos := math.Sincos(float64(pos) * f)
			r.table = append(r.table, float32(cos), float32(sin))
		}
	}
	return r
}

func (r rotation) positions() int {
	if r.pairs == 0 {
		return 0
	}
	return len(r.table) / (2 * r.pairs)
}

// apply rotates the pairs of every head in row. Nothing is fused, so that all machines
// give the same bits.
func (r rotation) apply(row []float32, pos int) {
	angles := r.table[pos*2*r.pairs:][:2*r.pairs]
	for ; len(row) > 0; row = row[len(angles):] {
		if r.halves {
			rotateHalves(row[:r.pairs], row[r.pairs:][:r.pairs], angles)
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

// place prepares a row of queries or keys for attention: each head is
// normalised, unless norm is nil, and rotated.
func (m *Model) place(r rotation, row, norm []float32, pos int) {
	if norm != nil {
		for at := 0; at < len(row); at += m.keyLen {
			head := row[at:][:m.keyLen]
			rmsNorm(head, head, norm, m.epsilon)
		}
	}
	r.apply(row, pos)
}
