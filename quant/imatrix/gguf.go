package imatrix

import (
	"fmt"
	"math"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

const (
	sumsSuffix   = ".in_sum2"
	countsSuffix = ".counts"
	// maxMatrices is far more than the experts of any model; it bounds what is
	// read at once.
	maxMatrices = 1 << 16
)

// readGGUF lists the tensors of a GGUF file as llama-imatrix writes it
// (imatrix.cpp): for tensor W of n matrices with rows of width elements,
// W.in_sum2 is [width, n] and W.counts [1, n], both F32. Only the numbers of
// elements are looked at, since files converted from .dat have another shape.
func (m *Matrix) readGGUF(size int64) error {
	f, err := gguf.New(m.r, size, m.name)
	if err != nil {
		return err
	}
	m.order = f.ByteOrder()
	if err := m.readMetadata(f.Metadata()); err != nil {
		return fmt.Errorf("%s: not an importance matrix: %w", m.name, err)
	}
	index := make(map[string]int)
	for i, t := range f.Tensors() {
		index[t.Name] = i
	}
	for i, t := range f.Tensors() {
		tensor, ok := strings.CutSuffix(t.Name, sumsSuffix)
		if !ok {
			if tensor, ok = strings.CutSuffix(t.Name, countsSuffix); ok {
				if _, ok := index[tensor+sumsSuffix]; !ok {
					return fmt.Errorf("%w: %s has %q but no %q", gguf.ErrCorrupt, m.name, t.Name, tensor+sumsSuffix)
				}
			}
			continue
		}
		c, ok := index[tensor+countsSuffix]
		if !ok {
			return fmt.Errorf("%w: %s has %q but no %q", gguf.ErrCorrupt, m.name, t.Name, tensor+countsSuffix)
		}
		counts := f.Tensors()[c]
		if t.Type != gguf.F32 || counts.Type != gguf.F32 {
			return fmt.Errorf("%w: %s: tensor %q is %s with counts in %s, F32 is needed", gguf.ErrUnsupported, m.name, tensor, t.Type, counts.Type)
		}
		n := counts.Elements()
		if n > maxMatrices || t.Elements()%n != 0 {
			return fmt.Errorf("%w: %s: tensor %q has %d values for %d matrices", gguf.ErrCorrupt, m.name, tensor, t.Elements(), n)
		}
		e := entry{offset: f.Offset(i), values: t.Elements(), counts: make([]float32, n)}
		if err := m.sums(e.counts, entry{offset: f.Offset(c)}, 0); err != nil {
			return fmt.Errorf("%s: counts of tensor %q: %w", m.name, tensor, err)
		}
		for j, count := range e.counts {
			if !(count >= 0 && count <= math.MaxFloat32) {
				return fmt.Errorf("%w: %s: tensor %q: count of matrix %d is %v", gguf.ErrCorrupt, m.name, tensor, j, count)
			}
			// The peer keeps counts as integers.
			e.counts[j] = float32(math.Round(float64(count)))
		}
		m.entries[tensor] = e
	}
	if len(m.entries) == 0 {
		return fmt.Errorf("%w: %s has values for no tensor", gguf.ErrCorrupt, m.name)
	}
	return nil
}

func (m *Matrix) readMetadata(meta *gguf.Metadata) error {
	var err error
	if m.datasets, err = gguf.Value[[]string](meta, "imatrix.datasets"); err != nil {
		return err
	}
	size, err := meta.Uint("imatrix.chunk_size")
	if err != nil {
		return err
	}
	m.chunk = int64(min(size, math.MaxUint32))
	chunks, err := meta.Uint("imatrix.chunk_count")
	if err != nil {
		return err
	}
	if chunks > math.MaxUint32 {
		return fmt.Errorf("%w: imatrix.chunk_count is %d", gguf.ErrCorrupt, chunks)
	}
	m.chunks = int64(chunks)
	return nil
}
