package quant

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// StackedFile is a GGUF file of a mixture as llama.cpp wrote them until spring 2024,
// with a tensor for each expert (blk.0.ffn_up.3.weight), seen as one of today, with a
// tensor for all experts of a layer (blk.0.ffn_up_exps.weight): their rows one expert
// after another.
//
// A stack takes the type of its experts. At the beginning of 2024 llama-quantize gave
// experts of one layer different types, which no tensor can have; such a stack is F32.
type StackedFile struct {
	file    *gguf.File
	tensors []gguf.TensorInfo
	// parts has the tensors of file that each tensor is made of.
	parts [][]int
	notes []string
}

var expertTensor = regexp.MustCompile(`^(blk\.\d+\.ffn_(?:gate|down|up))\.(\d+)\.weight$`)

// StackExperts returns the file with the experts of each layer stacked, or nil if it
// has no tensors of single experts. The error wraps gguf.ErrCorrupt if experts are
// missing or differ in shape. Closing it closes the file.
func StackExperts(file *gguf.File) (*StackedFile, error) {
	s := &StackedFile{file: file}
	stacks := make(map[string]int) // index in s.tensors, by name
	found := false
	for i, t := range file.Tensors() {
		m := expertTensor.FindStringSubmatch(t.Name)
		if m == nil {
			s.tensors, s.parts = append(s.tensors, t), append(s.parts, []int{i})
			continue
		}
		found = true
		name := m[1] + "_exps.weight"
		at, ok := stacks[name]
		if !ok {
			at = len(s.tensors)
			stacks[name] = at
			t.Name = name
			s.tensors, s.parts = append(s.tensors, t), append(s.parts, nil)
		}
		s.parts[at] = append(s.parts[at], i)
	}
	if !found {
		return nil, nil
	}
	experts, err := countExperts(file.Metadata())
	if err != nil {
		return nil, err
	}
	for _, at := range slices.Sorted(maps.Values(stacks)) {
		if slices.ContainsFunc(file.Tensors(), func(t gguf.TensorInfo) bool { return t.Name == s.tensors[at].Name }) {
			return nil, fmt.Errorf("%w: tensor %q is there whole and in parts", gguf.ErrCorrupt, s.tensors[at].Name)
		}
		if err := s.stack(at, experts); err != nil {
			return nil, err
		}
	}
	s.notes = append([]string{"it has a tensor for each expert, as llama.cpp wrote them until spring 2024: they are taken as one for each layer"}, s.notes...)
	return s, nil
}

func countExperts(meta *gguf.Metadata) (uint64, error) {
	architecture, err := gguf.Value[string](meta, "general.architecture")
	if err != nil {
		return 0, err
	}
	return meta.Uint(architecture + ".expert_count")
}

// stack brings the parts of a tensor into the order of the experts, and gives it the
// shape and type of all.
func (s *StackedFile) stack(at int, experts uint64) error {
	t, parts := &s.tensors[at], s.parts[at]
	tensors := s.file.Tensors()
	if uint64(len(parts)) != experts {
		return fmt.Errorf("%w: %s has tensors of %d experts, not of %d", gguf.ErrCorrupt, t.Name, len(parts), experts)
	}
	ordered := slices.Repeat([]int{-1}, len(parts))
	mixed := false
	for _, i := range parts {
		part := tensors[i]
		expert, err := strconv.Atoi(expertTensor.FindStringSubmatch(part.Name)[2])
		if err != nil || expert >= len(parts) || ordered[expert] >= 0 {
			return fmt.Errorf("%w: tensor %q is not of one of %d experts, or there are two of it", gguf.ErrCorrupt, part.Name, experts)
		}
		ordered[expert] = i
		if part.Dims() > 2 || !slices.Equal(part.Shape, tensors[parts[0]].Shape) {
			return fmt.Errorf("%w: tensor %q has shape %v, that of another expert %v", gguf.ErrCorrupt, part.Name, part.Shape, tensors[parts[0]].Shape)
		}
		mixed = mixed || part.Type != t.Type
		if mixed && !CanDequantize(part.Type) {
			return fmt.Errorf("%w: tensor %q is %s, which cannot be read", gguf.ErrUnsupported, part.Name, part.Type)
		}
	}
	s.parts[at] = ordered
	if mixed {
		s.notes = append(s.notes, fmt.Sprintf("%s is taken as F32: its experts are %s and %s", t.Name, t.Type, otherType(tensors, ordered, t.Type)))
		t.Type = gguf.F32
	}
	t.Shape = []int64{t.RowLen(), t.Rows(), int64(len(parts))}
	return t.Check()
}

// otherType returns the type of the first part that is not of type t.
func otherType(tensors []gguf.TensorInfo, parts []int, t gguf.Type) gguf.Type {
	for _, i := range parts {
		if tensors[i].Type != t {
			return tensors[i].Type
		}
	}
	return t
}

// Notes says in sentences how the file is taken.
func (s *StackedFile) Notes() []string { return s.notes }

// File returns the file as it is.
func (s *StackedFile) File() *gguf.File { return s.file }

// Metadata implements gguf.Source.
func (s *StackedFile) Metadata() *gguf.Metadata { return s.file.Metadata() }

// Tensors implements gguf.Source.
func (s *StackedFile) Tensors() []gguf.TensorInfo { return s.tensors }

// Inputs implements gguf.FileSource.
func (s *StackedFile) Inputs() []*files.File { return s.file.Inputs() }

// Pin implements gguf.Pinned.
func (s *StackedFile) Pin() string { return s.file.Pin() }

// Close closes the file.
func (s *StackedFile) Close() error { return s.file.Close() }

// ReadRows implements gguf.Source.
func (s *StackedFile) ReadRows(dst []byte, tensor int, first, n int64) error {
	t := s.tensors[tensor]
	if err := t.CheckRows(dst, first, n); err != nil {
		return err
	}
	for n > 0 {
		o := s.Unwrap(tensor, first, n)
		rows := dst[:o.N*t.RowBytes()]
		if err := s.readPart(rows, t, o.Tensor, o.First, o.N); err != nil {
			return err
		}
		dst, first, n = dst[len(rows):], first+o.N, n-o.N
	}
	return nil
}

// readPart reads rows of one expert, as t has them.
func (s *StackedFile) readPart(dst []byte, t gguf.TensorInfo, part int, first, n int64) error {
	info := s.file.Tensors()[part]
	if info.Type == t.Type {
		return s.file.ReadRows(dst, part, first, n)
	}
	raw, values := make([]byte, n*info.RowBytes()), make([]float32, n*info.RowLen())
	if err := s.file.ReadRows(raw, part, first, n); err != nil {
		return err
	}
	if err := Dequantize(info.Type, values, raw, int(info.RowLen())); err != nil {
		return fmt.Errorf("tensor %q: %w", info.Name, err)
	}
	return Quantize(gguf.F32, dst, values, int(info.RowLen()), nil)
}

// part returns the tensor of the file that has a row, and which row of it that is.
func (s *StackedFile) part(tensor int, row int64) (part int, from int64) {
	parts := s.parts[tensor]
	rows := s.tensors[tensor].Rows() / int64(len(parts))
	return parts[row/rows], row % rows
}

// Unwrap implements gguf.Wrapper: the rows of an expert are those of a tensor of the file.
func (s *StackedFile) Unwrap(tensor int, first, n int64) gguf.Origin {
	part, from := s.part(tensor, first)
	info := s.file.Tensors()[part]
	return gguf.Origin{Source: s.file, Tensor: part, First: from, N: min(n, info.Rows()-from), Same: info.Type == s.tensors[tensor].Type}
}
