package quant

import (
	"bytes"
	"context"

	"github.com/ggufkit/ggufkit/gguf"
)

// Match says whether a tensor is what quantizing that of another model gives.
type Match struct {
	Name string
	// Tensor or Original is nil if only the other one has it.
	Tensor, Original *gguf.TensorInfo
	// Shape says that the shapes are others, so that nothing was compared.
	Shape bool
	// Same says that the bytes are those that quantizing the original gives, without importance matrix.
	Same bool
	// Values are the tensor's compared with the original's, if they were, and NMSE what quantizing the original
	// to the type costs, without importance matrix.
	Values *ValueDiff
	NMSE   float64
}

// imatrixLoss is how many times the NMSE of blocks may be what it is without importance matrix: with one, columns
// that matter little are given up for others. It is 1.18 at most on the mini mixture.
const imatrixLoss = 3

// LastBits is the NMSE of numbers whose last bits are off: the square of four times half of one.
const LastBits = 0x1p-44

// Within reports whether a tensor is no further from the original than its type is by itself.
func (m Match) Within() bool {
	switch {
	case m.Tensor == nil, m.Original == nil, m.Shape:
		return false
	case m.Same:
		return true
	}
	return m.Values != nil && m.Values.NonFiniteA == m.Values.NonFiniteB && m.Values.NMSE <= imatrixLoss*m.NMSE+LastBits
}

// Against compares every tensor of src with what quantizing that of the original to its type gives, and returns them in
// the order of src, then those that only the original has. Progress, if not nil, is called with the elements done
// and in all, possibly by several goroutines at the same time.
func Against(ctx context.Context, src, original gguf.Source, progress func(done, total int64)) ([]Match, error) {
	index := byName(original.Tensors())
	var total int64
	for _, t := range src.Tensors() {
		total += t.Elements()
	}
	step := counter(total, progress)
	var all []Match
	for i, t := range src.Tensors() {
		j, ok := index[t.Name]
		delete(index, t.Name)
		m := Match{Name: t.Name, Tensor: &src.Tensors()[i]}
		if ok {
			m.Original = &original.Tensors()[j]
			m.Shape = !t.SameShape(*m.Original)
		}
		if !ok || m.Shape {
			step(t.Elements())
		} else if err := m.look(ctx, src, i, original, j, step); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	for i, t := range original.Tensors() {
		if _, only := index[t.Name]; only {
			all = append(all, Match{Name: t.Name, Original: &original.Tensors()[i]})
		}
	}
	return all, nil
}

// look compares two tensors of the same shape.
func (m *Match) look(ctx context.Context, src gguf.Source, si int, original gguf.Source, oi int, step func(elements int64)) error {
	t, o := *m.Tensor, *m.Original
	type chunk struct {
		same      bool
		is, would tally
	}
	numbers := CanDequantize(t.Type) && CanDequantize(o.Type)
	var importance []float32
	if NeedsImportance(t.Type) {
		importance = make([]float32, t.RowLen())
		for i := range importance {
			importance[i] = 1
		}
	}
	chunks, err := inChunks(ctx, t, func(v *pair, first, n int64) (c chunk, err error) {
		defer step(n * t.RowLen())
		same, err := v.sameBytes(src, si, original, oi, first, n)
		if err != nil || same && t.Type == o.Type || !numbers {
			return chunk{same: same && t.Type == o.Type}, err
		}
		for k, info := range []gguf.TensorInfo{t, o} {
			if err := v[k].dequantize(info); err != nil {
				return c, err
			}
		}
		c.is = tallyOf(v[1].x, v[0].x)
		if find(t.Type).quantize == nil {
			return c, nil
		}
		again := values{raw: make([]byte, len(v[0].raw))}
		if err := Quantize(t.Type, again.raw, v[1].x, int(t.RowLen()), importance); err != nil {
			return c, err
		}
		if c.same = bytes.Equal(again.raw, v[0].raw); c.same {
			c.would = c.is
			return c, nil
		}
		if err := again.dequantize(t); err != nil {
			return c, err
		}
		c.would = tallyOf(v[1].x, again.x)
		return c, nil
	})
	if err != nil {
		return err
	}
	m.Same = true
	var is, would tally
	for _, c := range chunks {
		m.Same = m.Same && c.same
		is.add(c.is)
		would.add(c.would)
	}
	if numbers {
		m.Values, m.NMSE = is.values(), would.values().NMSE
	}
	return nil
}
