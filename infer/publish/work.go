package publish

import (
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
)

// Work returns what making the files takes that are not whole: each tensor is read once, and quantized once to each type that any of them
// has it in. Of a part it is the share that its files have.
func (s *Set) Work() infer.Work {
	var w infer.Work
	w.Add(infer.Work{}) // makes the maps
	type origin struct {
		src    gguf.Source
		tensor int
	}
	read, made := make(map[origin]bool), make(map[any]bool)
	for _, f := range s.Missing() {
		bytes := int64(0)
		for _, own := range f.own {
			bytes += own.Bytes
		}
		w.Hashed += bytes
		share := float64(bytes) / float64(f.Bytes)
		for i, to := range f.View.Tensors() {
			of := f.View.Unwrap(i, 0, to.Rows())
			src, tensor := gguf.Unwrap(of.Source, of.Tensor)
			from := src.Tensors()[tensor]
			first := !read[origin{src, tensor}]
			if first {
				read[origin{src, tensor}] = true
				w.Read += int64(share * float64(from.Bytes()))
				w.Least += int64(share * float64(from.Bytes()))
			}
			id := gguf.RowsID(f.View, i)
			if of.Same || id != nil && made[id] {
				continue
			}
			made[id] = true
			w.Quantized[to.Type] += share * float64(to.Elements())
			if first {
				w.Dequantized[from.Type] += share * float64(to.Elements())
			}
		}
	}
	return w
}
