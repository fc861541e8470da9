package quant

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// ScaledFile is a GGUF file with scales of matrices beside their blocks, as those of NVFP4
// have them (blk.0.ffn_up.scale of blk.0.ffn_up.weight), seen as one whose matrices are
// multiplied with them, and F32. Scales of inputs, which say how to round these, are left
// out as well.
type ScaledFile struct {
	file    *gguf.File
	tensors []gguf.TensorInfo
	origin  []int       // of each tensor in file
	scales  [][]float32 // one for each matrix, nil if there are none
}

// ApplyScales returns the file with its matrices multiplied with their scales, or nil if
// there are none. The error wraps gguf.ErrCorrupt if there are not as many as a tensor
// has matrices. Closing it closes the file.
func ApplyScales(file *gguf.File) (*ScaledFile, error) {
	index := byName(file.Tensors())
	s := &ScaledFile{file: file}
	found := false
	for i, t := range file.Tensors() {
		base, isScale := strings.CutSuffix(t.Name, ".scale")
		if !isScale {
			base, isScale = strings.CutSuffix(t.Name, ".input_scale")
		}
		if weight, ok := index[base+".weight"]; isScale && ok && file.Tensors()[weight].Type.Quantized() {
			found = true
			continue
		}
		var scales []float32
		base, isWeight := strings.CutSuffix(t.Name, ".weight")
		if at, ok := index[base+".scale"]; ok && isWeight && CanDequantize(t.Type) && t.Type.Quantized() {
			var err error
			if scales, err = s.readScales(at, t); err != nil {
				return nil, err
			}
			t.Type = gguf.F32
		}
		s.tensors, s.origin, s.scales = append(s.tensors, t), append(s.origin, i), append(s.scales, scales)
	}
	if !found {
		return nil, nil
	}
	return s, nil
}

// readScales reads those of a tensor's matrices.
func (s *ScaledFile) readScales(at int, of gguf.TensorInfo) ([]float32, error) {
	t := s.file.Tensors()[at]
	if _, count := matrices(of); t.Type != gguf.F32 || t.Rows() != 1 || t.Elements() != count && t.Elements() != 1 {
		return nil, fmt.Errorf("%w: tensor %q is %s and of shape %v, tensor %q has %d matrices", gguf.ErrCorrupt, t.Name, t.Type, t.Shape, of.Name, count)
	}
	raw, scales := make([]byte, t.RowBytes()), make([]float32, t.Elements())
	if err := s.file.ReadRows(raw, at, 0, 1); err != nil {
		return nil, err
	}
	if err := validateRows(t, raw, 0); err != nil {
		return nil, err
	}
	return scales, Dequantize(gguf.F32, scales, raw, len(scales))
}

// Notes says in sentences how the file is taken.
func (s *ScaledFile) Notes() []string {
	return []string{fmt.Sprintf("%d of its tensors have scales of their own: they are taken as F32, multiplied with these", s.scaled())}
}

func (s *ScaledFile) scaled() (n int) {
	for _, scales := range s.scales {
		if scales != nil {
			n++
		}
	}
	return n
}

// File returns the file as it is.
func (s *ScaledFile) File() *gguf.File { return s.file }

// Metadata implements gguf.Source.
func (s *ScaledFile) Metadata() *gguf.Metadata { return s.file.Metadata() }

// Tensors implements gguf.Source.
func (s *ScaledFile) Tensors() []gguf.TensorInfo { return s.tensors }

// Packings implements gguf.Unpacker, for the tensors that have scales.
func (s *ScaledFile) Packings(tensor int) []gguf.Packing {
	if s.scales[tensor] == nil {
		return nil
	}
	t := s.file.Tensors()[s.origin[tensor]]
	return []gguf.Packing{{Format: "GGUF", Layout: t.Type.String(), Elements: t.Elements(), Bytes: t.Bytes() + 4*int64(len(s.scales[tensor]))}}
}

// Inputs implements gguf.FileSource.
func (s *ScaledFile) Inputs() []*files.File { return s.file.Inputs() }

// Pin implements gguf.Pinned.
func (s *ScaledFile) Pin() string { return s.file.Pin() }

// Close closes the file.
func (s *ScaledFile) Close() error { return s.file.Close() }

// ReadRows implements gguf.Source.
func (s *ScaledFile) ReadRows(dst []byte, tensor int, first, n int64) error {
	t, scales := s.tensors[tensor], s.scales[tensor]
	if scales == nil {
		return s.file.ReadRows(dst, s.origin[tensor], first, n)
	}
	if err := t.CheckRows(dst, first, n); err != nil {
		return err
	}
	from := s.file.Tensors()[s.origin[tensor]]
	raw, values := make([]byte, from.RowBytes()), make([]float32, t.RowLen())
	perMatrix, _ := matrices(t)
	for row := first; row < first+n; row++ {
		if err := s.file.ReadRows(raw, s.origin[tensor], row, 1); err != nil {
			return err
		}
		if err := Dequantize(from.Type, values, raw, len(values)); err != nil {
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		scale := scales[min(row/perMatrix, int64(len(scales))-1)]
		for i := range values {
			values[i] *= scale
		}
		if err := Quantize(gguf.F32, dst[:t.RowBytes()], values, len(values), nil); err != nil {
			return err
		}
		dst = dst[t.RowBytes():]
	}
	return nil
}

// Unwrap implements gguf.Wrapper.
func (s *ScaledFile) Unwrap(tensor int, first, n int64) gguf.Origin {
	return gguf.Origin{Source: s.file, Tensor: s.origin[tensor], First: first, N: n, Same: s.scales[tensor] == nil}
}
