package recipe

import (
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// Pruned is what Prune leaves of a model.
type Pruned struct {
	// Tensors are those that are left, in the same order, with the layers in
	// their names numbered anew from 0.
	Tensors []gguf.TensorInfo
	// Origin has the index of each of them among the tensors there were.
	Origin []int
	// Layers is how many there are now.
	Layers int
	// Absent are the layers that were to be taken out but do not exist.
	Absent []int
}

// Prune takes layers out of a model (--prune-layers). The error says that none
// would be left.
func Prune(tensors []gguf.TensorInfo, layers []int) (*Pruned, error) {
	var present []int
	for _, t := range tensors {
		if _, layer, _ := splitName(t.Name); layer >= 0 {
			present = append(present, layer)
		}
	}
	slices.Sort(present)
	present = slices.Compact(present)
	p := &Pruned{}
	for _, layer := range layers {
		if !slices.Contains(present, layer) {
			p.Absent = append(p.Absent, layer)
		}
	}
	number := make(map[int]int)
	for _, layer := range present {
		if !slices.Contains(layers, layer) {
			number[layer] = p.Layers
			p.Layers++
		}
	}
	if p.Layers == 0 {
		return nil, fmt.Errorf("none of %d layers would be left", len(present))
	}
	for i, t := range tensors {
		if prefix, layer, part := splitName(t.Name); layer >= 0 {
			n, keep := number[layer]
			if !keep {
				continue
			}
			t.Name = fmt.Sprintf("%sblk.%d.%s", prefix, n, part)
		}
		p.Tensors = append(p.Tensors, t)
		p.Origin = append(p.Origin, i)
	}
	return p, nil
}

// splitName is gguf.SplitName for names with anything before "blk.", as encoder-decoder
// models have them.
func splitName(name string) (prefix string, layer int, part string) {
	for at := range name {
		if layer, part := gguf.SplitName(name[at:]); layer >= 0 {
			return name[:at], layer, part
		}
	}
	return "", -1, name
}
