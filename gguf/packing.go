package gguf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Packing says how weights are packed in a checkpoint that was quantized for other
// programs.
type Packing struct {
	// Format is its name, such as GPTQ.
	Format string
	// Layout is what else there is to say of it, such as "4-bit g128"; it may be empty.
	Layout string
	// Elements are the weights that are packed so, and Bytes is what they take in the
	// files, with scales and whatever else they are made of.
	Elements, Bytes int64
}

// String returns format and layout, such as GPTQ 4-bit g128.
func (p Packing) String() string {
	if p.Layout == "" {
		return p.Format
	}
	return p.Format + " " + p.Layout
}

// BitsPerWeight returns the mean over the elements.
func (p Packing) BitsPerWeight() float64 { return 8 * float64(p.Bytes) / float64(max(1, p.Elements)) }

// SumPackings adds up those that have format and layout in common, and sorts them: what
// most elements are in comes first.
func SumPackings(packings []Packing) []Packing {
	var sums []Packing
	for _, p := range packings {
		i := slices.IndexFunc(sums, func(sum Packing) bool { return sum.Format == p.Format && sum.Layout == p.Layout })
		if i < 0 {
			sums = append(sums, p)
			continue
		}
		sums[i].Elements += p.Elements
		sums[i].Bytes += p.Bytes
	}
	slices.SortStableFunc(sums, func(a, b Packing) int { return cmp.Compare(b.Elements, a.Elements) })
	return sums
}

// Unpacker is a Source that shows packed weights as the numbers that they stand for.
// What is made of them, such as a quantized view, is none.
type Unpacker interface {
	Source
	// Packings returns how the weights of a tensor are packed, those that are: in several
	// ways where it is made of several matrices. The caller must not change them.
	Packings(tensor int) []Packing
}

// Packings returns how the weights of a tensor of src are packed: not at all if src is no
// Unpacker.
func Packings(src Source, tensor int) []Packing {
	if src, ok := src.(Unpacker); ok {
		return src.Packings(tensor)
	}
	return nil
}

// Storage is how a model is kept.
type Storage struct {
	// Bytes is the size of its file, as Write makes it. If weights are packed it is that of
	// the files that tensors are read from.
	Bytes int64
	// BitsPerWeight is the mean over the elements of all tensors: of a GGUF file without
	// metadata and padding, of packed weights with all that is in these files.
	BitsPerWeight float64
	// QuantizedBitsPerWeight is the mean over the elements of tensors that are packed or of a
	// quantized type, 0 if none is.
	QuantizedBitsPerWeight float64
	// Packings are those of all tensors, summed.
	Packings []Packing
}

// StorageOf returns how a model is kept.
func StorageOf(src Source) (s Storage, err error) {
	var quantized Packing
	for i, t := range src.Tensors() {
		packings := Packings(src, i)
		s.Packings = append(s.Packings, packings...)
		if t.Type.Quantized() && len(packings) == 0 {
			quantized.Elements += t.Elements()
			quantized.Bytes += t.Bytes()
		}
	}
	if len(s.Packings) == 0 {
		s.BitsPerWeight, s.QuantizedBitsPerWeight = BitsPerWeight(src), quantized.BitsPerWeight()
		_, s.Bytes, err = Layout(src)
		return s, err
	}
	s.Packings = SumPackings(s.Packings)
	packed := s.Packed()
	quantized.Elements += packed.Elements
	quantized.Bytes += packed.Bytes
	s.QuantizedBitsPerWeight = quantized.BitsPerWeight()
	for _, file := range Inputs(src) {
		s.Bytes += file.Size()
	}
	s.BitsPerWeight = 8 * float64(s.Bytes) / float64(max(1, Elements(src)))
	return s, nil
}

// Packed sums up the packings, zero if nothing is packed. Where they differ, their bits per
// weight are the layout: EXL2 3.52 bpw. Formats that differ are all named.
func (s Storage) Packed() Packing {
	if len(s.Packings) == 0 {
		return Packing{}
	}
	var formats []string
	sum := Packing{Layout: s.Packings[0].Layout}
	for _, p := range s.Packings {
		sum.Elements += p.Elements
		sum.Bytes += p.Bytes
		if !slices.Contains(formats, p.Format) {
			formats = append(formats, p.Format)
		}
	}
	sum.Format = strings.Join(formats, " + ")
	if len(s.Packings) > 1 {
		sum.Layout = fmt.Sprintf("%.2f bpw", sum.BitsPerWeight())
	}
	return sum
}
