package allocate

import (
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// maxGroups is how many groups there are at most, about, and with them how long
// measuring takes: layers that follow each other share groups if there would be more.
const maxGroups = 64

// group is tensors that get the same type: those of one kind, in one layer or in
// several.
type group struct {
	layer   int // the first that the tensors have a part in: -1 before all, their number after them
	tensors []int
	types   []gguf.Type // that the tensors can have, first their own
	bytes   []int64     // that they take in a file with each of the types
	costs   []float64   // what each of the types adds to the divergence
}

// findGroups returns the groups of all tensors that a recipe can give a type.
func findGroups(base gguf.Source, importance *imatrix.Matrix, types []gguf.Type) ([]group, error) {
	tensors := base.Tensors()
	can := make([][]gguf.Type, len(tensors))
	kinds := make(map[string]bool)
	layers := 0
	for i, info := range tensors {
		can[i] = possible(info, types, importance)
		if layer, kind := gguf.SplitName(info.Name); layer >= 0 && can[i] != nil {
			layers = max(layers, layer+1)
			kinds[kind] = true
		}
	}
	band := max(1, (layers*len(kinds)+maxGroups-1)/maxGroups)

	type place struct {
		band int
		kind string
	}
	var groups []group
	index := make(map[place]int)
	for _, i := range recipe.Order(tensors) {
		if can[i] == nil {
			continue
		}
		g := group{layer: -1, types: append([]gguf.Type{tensors[i].Type}, can[i]...)}
		p := place{-1, tensors[i].Name}
		if layer, kind := gguf.SplitName(tensors[i].Name); layer >= 0 {
			g.layer, p = layer, place{layer / band, kind}
		} else if tensors[i].Name == "output.weight" {
			g.layer = layers
		}
		at, ok := index[p]
		if !ok {
			at = len(groups)
			index[p] = at
			groups = append(groups, g)
		}
		groups[at].tensors = append(groups[at].tensors, i)
		groups[at].types = slices.DeleteFunc(groups[at].types, func(t gguf.Type) bool { return !slices.Contains(g.types, t) })
	}
	if groups == nil {
		return nil, fmt.Errorf("%w: the model has no tensor that could be given another type", gguf.ErrUnsupported)
	}
	alignment, err := base.Metadata().Alignment()
	if err != nil {
		return nil, err
	}
	for i := range groups {
		groups[i].measure(tensors, alignment)
	}
	return groups, nil
}

// measure fills in how many bytes the tensors take, and that they cost nothing yet.
func (g *group) measure(tensors []gguf.TensorInfo, alignment int64) {
	for _, t := range g.types {
		var bytes int64
		for _, tensor := range g.tensors {
			info := tensors[tensor]
			info.Type = t
			bytes += (info.Bytes() + alignment - 1) / alignment * alignment
		}
		g.bytes = append(g.bytes, bytes)
	}
	g.costs = make([]float64, len(g.types))
}

// possible returns which of the types a tensor can be quantized to: nil if it is left as it
// is in every file type, since a recipe cannot change it then.
func possible(info gguf.TensorInfo, types []gguf.Type, importance *imatrix.Matrix) []gguf.Type {
	if !recipe.Quantizable(info) {
		return nil
	}
	matrices := int64(1)
	if len(info.Shape) > 2 {
		matrices = info.Shape[2]
	}
	has := importance != nil && importance.Values(info.Name) == info.RowLen()*matrices
	var possible []gguf.Type
	for _, t := range types {
		// Both llama-quantize and quant.View refuse types that need importance.
		err := recipe.CheckImatrix([]gguf.TensorInfo{info}, []gguf.Type{t}, recipe.Q8_0, func(string) bool { return has })
		if t != info.Type && info.RowLen()%int64(t.BlockSize()) == 0 && err == nil && (has || !quant.NeedsImportance(t)) {
			possible = append(possible, t)
		}
	}
	return possible
}
