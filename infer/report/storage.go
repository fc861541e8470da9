package report

import (
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// Storage is how a model is kept: gguf.Storage.
type Storage struct {
	// Type is the file type, of packed weights that of the GGUF file of what they stand for.
	Type string `json:"type"`
	// Format is GGUF, safetensors, or that of packed weights, such as GPTQ. Layout is what else there is
	// to say of these, such as "4-bit g128".
	Format string  `json:"format"`
	Layout string  `json:"layout,omitempty"`
	Bytes  int64   `json:"bytes"`
	BPW    float64 `json:"bpw"`
	// QuantizedBPW are the bits per weight of what is packed or quantized, scales included; null if
	// nothing is.
	QuantizedBPW *float64 `json:"packed_bpw"`
}

func newStorage(src gguf.Source) (Storage, error) {
	stored, err := gguf.StorageOf(src)
	packed := stored.Packed()
	s := Storage{
		Type: recipe.NameOf(src.Metadata()), Format: packed.Format, Layout: packed.Layout,
		Bytes: stored.Bytes, BPW: stored.BitsPerWeight,
	}
	if stored.QuantizedBitsPerWeight > 0 {
		s.QuantizedBPW = &stored.QuantizedBitsPerWeight
	}
	if s.Format == "" {
		s.Format = formatOf(src)
	}
	return s, err
}

// The formats of files whose weights are not packed.
const (
	ggufFormat  = "GGUF"
	safetensors = "safetensors"
)

// formatOf returns that of a model whose weights are not packed.
func formatOf(src gguf.Source) string {
	if _, view := src.(*quant.View); view {
		return ggufFormat
	}
	for i, t := range src.Tensors() {
		inner, _ := gguf.Unwrap(src, i)
		if _, file := inner.(*gguf.File); file || t.Type.Quantized() {
			return ggufFormat
		}
	}
	return safetensors
}

// IsPacked reports whether weights are packed in another format than GGUF's.
func (s Storage) IsPacked() bool {
	return !slices.Contains([]string{"", ggufFormat, safetensors}, s.Format)
}

// What says in which form the weights are: GPTQ 4-bit g128, or a file type.
func (s Storage) What() string {
	if s.IsPacked() {
		return gguf.Packing{Format: s.Format, Layout: s.Layout}.String()
	}
	return s.Type
}

// form is the format with what there is to say of it: GGUF Q4_K_M, or What.
func (s Storage) form() string {
	if s.IsPacked() {
		return s.What()
	}
	return s.Format + " " + s.Type
}

// packedBits writes QuantizedBPW, nothing if there is none.
func (s Storage) packedBits() string {
	if s.QuantizedBPW == nil {
		return ""
	}
	return fmt.Sprintf("%.2f", *s.QuantizedBPW)
}

// noun is what the base is called: only one that was not quantized may be an original.
func (b Base) noun() string {
	if b.Quantized {
		return "reference"
	}
	return "original"
}

// caution says what is not known where the base is quantized itself, or nothing.
func (b Base) caution() []string {
	if !b.Quantized {
		return nil
	}
	return []string{fmt.Sprintf("The reference, %s, is quantized itself: what that cost is in none of these figures. They say how far each candidate is from the "+
		"reference, not how good it is, and what was made of the reference, or as it was, looks closer than it is.", b.What())}
}

// mixed reports whether candidates are of several formats, or of another one than GGUF.
func (r *Drift) mixed() bool {
	return slices.ContainsFunc(r.Candidates, func(c Candidate) bool { return c.Format != r.Candidates[0].Format || c.IsPacked() })
}
