package reference

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// Unstack returns a mixture as GGUF files of early 2024 had it: a tensor for each
// expert. If mixed is not nil, every second expert of ffn_down is that of mixed, the same
// model in other types.
func Unstack(src, mixed gguf.Source) gguf.Source {
	u := &unstacked{Source: src}
	for i, t := range src.Tensors() {
		name, ok := strings.CutSuffix(t.Name, "_exps.weight")
		if !ok {
			u.tensors, u.parts = append(u.tensors, t), append(u.parts, part{src, i, 0})
			continue
		}
		rows := t.Shape[1]
		for e := range t.Shape[2] {
			p := part{src, i, e * rows}
			if mixed != nil && e%2 == 1 && strings.HasSuffix(name, "ffn_down") {
				p.src = mixed
			}
			u.tensors = append(u.tensors, gguf.TensorInfo{
				Name: fmt.Sprintf("%s.%d.weight", name, e), Type: p.src.Tensors()[i].Type, Shape: []int64{t.RowLen(), rows},
			})
			u.parts = append(u.parts, p)
		}
	}
	return u
}

type unstacked struct {
	gguf.Source
	tensors []gguf.TensorInfo
	parts   []part
}

// part is where the rows of a tensor are.
type part struct {
	src    gguf.Source
	tensor int
	first  int64
}

func (u *unstacked) Tensors() []gguf.TensorInfo { return u.tensors }

func (u *unstacked) ReadRows(dst []byte, tensor int, first, n int64) error {
	p := u.parts[tensor]
	return p.src.ReadRows(dst, p.tensor, p.first+first, n)
}
