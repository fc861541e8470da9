package imatrix

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// Sums is an importance matrix in the making. The zero value is empty. It takes
// 8 bytes per column of every matrix, and is not safe for concurrent use.
type Sums struct {
	// Datasets names the calibration texts.
	Datasets []string
	// Chunks is how many pieces of text were processed, of ChunkSize tokens each.
	Chunks, ChunkSize int64

	tensors map[string]*tensorSums
}

// tensorSums are those of one tensor: the squares of the matrices one after
// another, and the rows each of them has seen, one number if all see the same.
type tensorSums struct {
	squares []float64
	counts  []float64
	// legacy says that all is of .dat files, which have one count even where there are several.
	legacy bool
}

// Add adds what one matrix of a tensor was multiplied with: rows vectors, whose
// squares add up to one value for each column. The tensor has so many matrices
// of the same size, one unless it stacks experts.
func (s *Sums) Add(tensor string, matrix, matrices int, rows int64, squares []float64) error {
	return s.add(tensor, matrix, matrices, matrices, rows, squares)
}

// AddHead is Add for a tensor whose matrices all see the same rows, as those of attention
// heads do. They are counted once.
func (s *Sums) AddHead(tensor string, head, heads int, rows int64, squares []float64) error {
	return s.add(tensor, head, heads, 1, rows, squares)
}

func (s *Sums) add(tensor string, matrix, matrices, counts int, rows int64, squares []float64) error {
	sums, err := s.room(tensor, matrix, matrices, counts, rows, len(squares))
	if err != nil {
		return err
	}
	for i, v := range squares {
		sums[i] += v
	}
	return nil
}

// Room is Add, or AddHead of the matrices of heads, of rows whose squares the caller adds to what it returns: a sum for each column.
func (s *Sums) Room(tensor string, matrix, matrices int, heads bool, rows int64, cols int) ([]float64, error) {
	counts := matrices
	if heads {
		counts = 1
	}
	return s.room(tensor, matrix, matrices, counts, rows, cols)
}

func (s *Sums) room(tensor string, matrix, matrices, counts int, rows int64, cols int) ([]float64, error) {
	t, err := s.tensor(tensor, counts, cols*matrices)
	if err != nil {
		return nil, err
	}
	if matrix < counts {
		t.counts[matrix] += float64(rows)
	}
	return t.squares[matrix*cols:][:cols], nil
}

// AddSums adds what was summed elsewhere of other chunks.
func (s *Sums) AddSums(other *Sums) error {
	for name, from := range other.tensors {
		t, err := s.tensor(name, len(from.counts), len(from.squares))
		if err != nil {
			return err
		}
		for i, v := range from.squares {
			t.squares[i] += v
		}
		for i, n := range from.counts {
			t.counts[i] += n
		}
	}
	s.Chunks += other.Chunks
	return nil
}

// AddMatrix adds all that a file has, as if its text had been processed too. Files of before llama.cpp counted
// heads once have a count for each: they are the same. Those of the .dat format count chunks, which are taken to be
// of ChunkSize tokens, and all experts alike.
func (s *Sums) AddMatrix(m *Matrix) error {
	scale := 1.
	if m.legacy {
		scale = float64(max(1, s.ChunkSize))
	}
	for _, name := range m.Tensors() {
		e := m.entries[name]
		counts := e.counts
		known, ok := s.tensors[name]
		if ok && len(known.counts) != len(counts) {
			switch {
			case m.legacy:
				counts = slices.Repeat(counts, len(known.counts))
			case known.legacy:
				known.counts = slices.Repeat(known.counts, len(counts))
			}
		}
		if ok && len(known.counts) == 1 && same(counts) {
			counts = counts[:1]
		}
		t, err := s.tensor(name, len(counts), int(e.values))
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		t.legacy = m.legacy && (t.legacy || !ok)
		values := make([]float32, e.values)
		if err := m.sums(values, e, 0); err != nil {
			return fmt.Errorf("%s: tensor %q: %w", m.name, name, err)
		}
		for i, v := range values {
			t.squares[i] += scale * float64(v)
		}
		for i, n := range counts {
			t.counts[i] += scale * float64(n)
		}
	}
	for _, dataset := range m.datasets {
		if !slices.Contains(s.Datasets, dataset) {
			s.Datasets = append(s.Datasets, dataset)
		}
	}
	s.Chunks += m.chunks
	return nil
}

// tensor returns the sums of a tensor, after checking that they have this size.
func (s *Sums) tensor(name string, counts, values int) (*tensorSums, error) {
	t, ok := s.tensors[name]
	if !ok {
		t = &tensorSums{squares: make([]float64, values), counts: make([]float64, counts)}
		if s.tensors == nil {
			s.tensors = make(map[string]*tensorSums)
		}
		s.tensors[name] = t
	}
	if counts == 1 && same(t.counts) {
		t.counts = t.counts[:1]
	}
	if len(t.counts) != counts || len(t.squares) != values {
		return nil, fmt.Errorf("tensor %q has %d values for %d matrices, not %d for %d as before", name, values, counts, len(t.squares), len(t.counts))
	}
	return t, nil
}

// same reports whether all counts are equal.
func same[T comparable](counts []T) bool {
	return !slices.ContainsFunc(counts, func(n T) bool { return n != counts[0] })
}

// Source returns the sums as the GGUF file that llama-imatrix writes: for each
// tensor W, in the order of names, W.in_sum2 and W.counts. Later changes of s
// do not show. It is an error if a sum is not finite: the model has weights
// that are not, or overflows.
func (s *Sums) Source() (gguf.Source, error) {
	file := &sumsFile{meta: gguf.NewMetadata(
		gguf.KV{Key: "general.type", Value: "imatrix"},
		gguf.KV{Key: "imatrix.datasets", Value: slices.Clone(s.Datasets)},
		gguf.KV{Key: "imatrix.chunk_count", Value: uint32(s.Chunks)},
		gguf.KV{Key: "imatrix.chunk_size", Value: uint32(s.ChunkSize)},
	)}
	for _, name := range slices.Sorted(maps.Keys(s.tensors)) {
		t := s.tensors[name]
		matrices := int64(len(t.counts))
		for _, part := range []struct {
			suffix string
			values []float64
		}{{sumsSuffix, t.squares}, {countsSuffix, t.counts}} {
			shape := []int64{int64(len(part.values)) / matrices}
			if matrices > 1 {
				shape = append(shape, matrices)
			}
			data := make([]byte, 0, 4*len(part.values))
			for i, v := range part.values {
				if !(math.Abs(v) <= math.MaxFloat32) {
					return nil, fmt.Errorf("%s%s: value %d is %v", name, part.suffix, i, v)
				}
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
			}
			file.tensors = append(file.tensors, gguf.TensorInfo{Name: name + part.suffix, Type: gguf.F32, Shape: shape})
			file.data = append(file.data, data)
		}
	}
	return file, nil
}

// sumsFile is an importance matrix as a Source.
type sumsFile struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	data    [][]byte
}

func (f *sumsFile) Metadata() *gguf.Metadata   { return f.meta }
func (f *sumsFile) Tensors() []gguf.TensorInfo { return f.tensors }
func (f *sumsFile) ReadRows(dst []byte, tensor int, first, n int64) error {
	t := f.tensors[tensor]
	if err := t.CheckRows(dst, first, n); err != nil {
		return err
	}
	copy(dst, f.data[tensor][first*t.RowBytes():])
	return nil
}
