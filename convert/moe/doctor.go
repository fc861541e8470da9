package moe

import (
	"errors"
	"fmt"
	"math"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// Diagnosis is what the rows of a model's routers tell about how they were made.
type Diagnosis struct {
	Experts int
	Width   int
	// Mode is the gate mode that probably made the routers, or Trained.
	Mode GateMode
	// Reason says why.
	Reason string
	// Faults are what is wrong with the routers, a sentence each.
	Faults []string
	Layers []RouterRows
}

// Trained is what Diagnosis.Mode says of routers that no gate mode makes.
const Trained GateMode = "trained"

// RouterRows describes the router of one layer.
type RouterRows struct {
	Layer int
	// Norms has the length of each expert's row.
	Norms []float64
	// Cosines has the cosine of each pair of rows.
	Cosines [][]float64
	// Condition is the ratio of the largest to the smallest singular value of the
	// rows: infinite if one is a combination of the others.
	Condition float64

	rows [][]float64
}

// ErrNoRouters means that a model is not a mixture of experts.
var ErrNoRouters = errors.New("the model has no routers")

// Diagnose looks at the routers of a model: the tensors blk.N.ffn_gate_inp.weight. The
// error wraps ErrNoRouters if there are none.
func Diagnose(src gguf.Source) (*Diagnosis, error) {
	d := &Diagnosis{}
	for i, t := range src.Tensors() {
		layer, part := gguf.SplitName(t.Name)
		if layer < 0 || part != "ffn_gate_inp.weight" {
			continue
		}
		raw, values := make([]byte, t.Bytes()), make([]float32, t.Elements())
		if err := src.ReadRows(raw, i, 0, t.Rows()); err != nil {
			return nil, err
		}
		if err := quant.Dequantize(t.Type, values, raw, int(t.RowLen())); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		if d.Experts == 0 {
			d.Experts, d.Width = int(t.Rows()), int(t.RowLen())
		}
		if d.Experts != int(t.Rows()) || d.Width != int(t.RowLen()) {
			return nil, fmt.Errorf("%w: tensor %q has shape %v, others have %d experts of %d", gguf.ErrCorrupt, t.Name, t.Shape, d.Experts, d.Width)
		}
		d.Layers = append(d.Layers, newRouterRows(layer, values, d.Width))
	}
	if len(d.Layers) == 0 {
		return nil, ErrNoRouters
	}
	d.judge()
	return d, nil
}

func newRouterRows(layer int, values []float32, width int) RouterRows {
	r := RouterRows{Layer: layer}
	for first := 0; first < len(values); first += width {
		row := make([]float64, width)
		for i, v := range values[first:][:width] {
			row[i] = float64(v)
		}
		r.rows = append(r.rows, row)
		r.Norms = append(r.Norms, math.Sqrt(dot(row, row)))
	}
	gram := make([][]float64, len(r.rows))
	for a, x := range r.rows {
		r.Cosines = append(r.Cosines, make([]float64, len(r.rows)))
		gram[a] = make([]float64, len(r.rows))
		for b, y := range r.rows {
			gram[a][b] = dot(x, y)
			r.Cosines[a][b] = cosine(gram[a][b], r.Norms[a], r.Norms[b])
		}
	}
	r.Condition = condition(gram)
	return r
}

func dot(a, b []float64) float64 {
	var sum float64
	for i, v := range a {
		sum += v * b[i]
	}
	return sum
}

// cosine is 0 for a row of zeros.
func cosine(product, a, b float64) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	return product / (a * b)
}

// condition returns the square root of the ratio of the largest to the smallest
// eigenvalue of a symmetric matrix, which it overwrites: by Jacobi's rotations.
func condition(m [][]float64) float64 {
	n := len(m)
	for range 50 {
		var off, total float64
		for p := range n {
			for q := range n {
				total += m[p][q] * m[p][q]
				if p != q {
					off += m[p][q] * m[p][q]
				}
			}
		}
		if off <= 1e-24*total {
			break
		}
		for p := range n {
			for q := p + 1; q < n; q++ {
				if m[p][q] == 0 {
					continue
				}
				theta := (m[q][q] - m[p][p]) / (2 * m[p][q])
				t := math.Copysign(1, theta) / (math.Abs(theta) + math.Sqrt(theta*theta+1))
				c := 1 / math.Sqrt(t*t+1)
				s := t * c
				for k := range n {
					m[k][p], m[k][q] = c*m[k][p]-s*m[k][q], s*m[k][p]+c*m[k][q]
				}
				for k := range n {
					m[p][k], m[q][k] = c*m[p][k]-s*m[q][k], s*m[p][k]+c*m[q][k]
				}
			}
		}
	}
	least, largest := math.Inf(1), 0.0
	for i := range n {
		least, largest = min(least, m[i][i]), max(largest, m[i][i])
	}
	if least <= 1e-12*largest {
		return math.Inf(1)
	}
	return math.Sqrt(largest / least)
}

// Two rows are the same if their cosine is this near to 1: bfloat16 rounds to
// 2^-9, which leaves 1 - 2^-18.
const sameCosine = 1 - 1e-5

// judge finds out the mode and the faults.
func (d *Diagnosis) judge() {
	unit, constant := true, len(d.Layers) > 1
	var norms, squares, cosines, largest, count, pairs float64
	for _, l := range d.Layers {
		for e, norm := range l.Norms {
			unit = unit && math.Abs(norm-1) < 0.01
			norms += norm
			squares += norm * norm
			count++
			first := d.Layers[0]
			constant = constant && cosine(dot(l.rows[e], first.rows[e]), norm, first.Norms[e]) > sameCosine
			for _, v := range l.rows[e] {
				largest = max(largest, math.Abs(v))
			}
			for other := range e {
				cosines += math.Abs(l.Cosines[e][other])
				pairs++
			}
		}
	}
	d.findSameRows()
	mean := norms / count
	spread := math.Sqrt(max(0, squares/count-mean*mean)) / mean
	width := float64(d.Width)
	// Rows of independent numbers have cosines around 1/sqrt(width).
	independent := cosines/max(1, pairs) < 2/math.Sqrt(width)
	switch {
	case unit && constant:
		d.Mode, d.Reason = CheapEmbed, "rows have the length 1 and are the same in every layer"
		d.Faults = append(d.Faults, "The routers are the same in every layer: they know the words of the prompts, not what the model makes of them. Gate "+
			"mode hidden asks the model.")
	case unit:
		d.Mode, d.Reason = Hidden, "rows have the length 1 and differ from layer to layer"
	case independent && spread < 0.2 && math.Abs(mean/math.Sqrt(width)-1) < 0.1:
		d.Mode, d.Reason = Random, fmt.Sprintf("rows have the length %.3g, the square root of their %d numbers, and nothing in common", mean, d.Width)
		d.Faults = append(d.Faults, "The routers are random: which expert gets a token has nothing to do with what it knows. They need training.")
	case independent && spread < 0.2 && math.Abs(mean*math.Sqrt(3)-1) < 0.1 && largest <= 1.01/math.Sqrt(width):
		d.Mode, d.Reason = UniformRandom, fmt.Sprintf("numbers are evenly distributed up to %.3g", largest)
		d.Faults = append(d.Faults, "The routers are random: which expert gets a token has nothing to do with what it knows. They need training.")
	default:
		d.Mode, d.Reason = Trained, fmt.Sprintf("rows have lengths around %.3g that no gate mode makes", mean)
	}
}

// findSameRows tells of experts that routers cannot tell apart.
func (d *Diagnosis) findSameRows() {
	all := true
	type pair struct{ a, b int }
	layers := make(map[pair][]int)
	var order []pair
	for _, l := range d.Layers {
		for b := range l.rows {
			if l.Norms[b] == 0 {
				d.Faults = append(d.Faults, fmt.Sprintf("The row of expert %d in layer %d is zero.", b, l.Layer))
			}
			for a := range b {
				if l.Cosines[a][b] <= sameCosine || math.Abs(l.Norms[a]/l.Norms[b]-1) > 0.01 {
					all = false
					continue
				}
				p := pair{a, b}
				if layers[p] == nil {
					order = append(order, p)
				}
				layers[p] = append(layers[p], l.Layer)
			}
		}
	}
	if all && d.Experts > 1 {
		d.Faults = append(d.Faults, "All experts have the same rows, so the same experts get every token: the text of the prompts was dropped, as "+
			"mergekit did between 24 February and 18 March 2024, or the prompts are the same.")
		return
	}
	for _, p := range order {
		where := fmt.Sprintf("in %d of %d layers", len(layers[p]), len(d.Layers))
		if len(layers[p]) == len(d.Layers) {
			where = "in every layer"
		}
		d.Faults = append(d.Faults, fmt.Sprintf("Experts %d and %d have the same rows %s: the router cannot tell them apart.", p.a, p.b, where))
	}
}
