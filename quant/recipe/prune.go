package recipe

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/ggufkit/ggufkit/gguf"
)

// layerInName finds the layer anywhere in a name: encoder-decoder models put
// something before "blk.".
var layerInName = regexp.MustCompile(`blk\.(\d+)\.`)

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
		if layer, _, ok := findLayer(t.Name); ok {
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
		if layer, at, ok := findLayer(t.Name); ok {
			n, keep := number[layer]
			if !keep {
				continue
			}
			t.Name = t.Name[:at[0]] + strconv.Itoa(n) + t.Name[at[1]:]
		}
		p.Tensors = append(p.Tensors, t)
		p.Origin = append(p.Origin, i)
	}
	return p, nil
}

// findLayer returns the layer in a name and where its digits are.
func findLayer(name string) (layer int, at [2]int, ok bool) {
	m := layerInName.FindStringSubmatchIndex(name)
	if m == nil {
		return 0, at, false
	}
	layer, err := strconv.Atoi(name[m[2]:m[3]])
	return layer, [2]int{m[2], m[3]}, err == nil
}
