package quant

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// matrices returns how many rows each matrix of a tensor has, and how many
// matrices there are with an importance of their own: the experts.
func matrices(t gguf.TensorInfo) (rows, count int64) {
	rows, count = 1, 1
	if len(t.Shape) > 1 {
		rows = t.Shape[1]
	}
	if len(t.Shape) > 2 {
		count = t.Shape[2]
	}
	return rows, count
}

// hasImportance reports whether there is importance for a tensor of the source.
// The error wraps gguf.ErrCorrupt if it is for one of another size; that of
// token embeddings is ignored then, as llama-quantize does.
func (v *View) hasImportance(t gguf.TensorInfo) (bool, error) {
	if v.importance == nil {
		return false, nil
	}
	_, count := matrices(t)
	switch got, want := v.importance.Values(t.Name), t.RowLen()*count; {
	case got == 0:
		return false, nil
	case got == want:
		return true, nil
	case t.Name == "token_embd.weight" || t.Name == "per_layer_token_embd.weight":
		v.notes = append(v.notes, fmt.Sprintf("the importance matrix has %d values for tensor %q, which needs %d: they are not used", got, t.Name, want))
		return false, nil
	default:
		return false, fmt.Errorf("%w: %s has %d values for tensor %q, which needs %d", gguf.ErrCorrupt, v.importance.Name(), got, t.Name, want)
	}
}

// readImportance returns the importance of the columns of a matrix, in s.
func (v *View) readImportance(s *scratch, of importanceOf) ([]float32, error) {
	t := v.src.Tensors()[of.tensor]
	_, count := matrices(t)
	of.matrix %= count
	if s.of != of {
		s.of = importanceOf{}
		s.importance = resize(s.importance, t.RowLen())
		if err := of.importance.Read(s.importance, t.Name, of.matrix*t.RowLen()); err != nil {
			return nil, err
		}
		s.of = of
	}
	return s.importance, nil
}

// importanceNotes says what the importance matrix lacks, and what it has that
// the model does not. covered has every tensor that changes its type, and
// whether there is importance for it.
func (v *View) importanceNotes(covered map[string]bool) []string {
	var notes, without, unknown, unseen []string
	inSource := make(map[string]bool)
	for _, t := range v.src.Tensors() {
		inSource[t.Name] = true
	}
	for name, has := range covered {
		// llama-imatrix leaves these two out unless asked for them.
		if !has && name != "output.weight" && name != "token_embd.weight" {
			without = append(without, name)
		}
	}
	for _, name := range v.importance.Tensors() {
		if !inSource[name] {
			unknown = append(unknown, name)
		}
	}
	for _, u := range v.importance.Unseen() {
		if inSource[u.Tensor] {
			unseen = append(unseen, fmt.Sprintf("%s %s of %d", u.Tensor, strings.Trim(fmt.Sprint(u.Matrices), "[]"), u.Of))
		}
	}
	if without != nil {
		notes = append(notes, "the importance matrix has nothing for "+list(without))
	}
	if unknown != nil {
		notes = append(notes, "the importance matrix is for tensors that the model does not have: "+list(unknown))
	}
	if unseen != nil {
		notes = append(notes, "experts that the calibration text did not reach are quantized without importance: "+list(unseen))
	}
	return notes
}

// list joins names, the first few if there are many.
func list(names []string) string {
	const most = 8
	slices.Sort(names)
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
