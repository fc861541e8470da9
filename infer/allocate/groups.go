package allocate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// part is a tensor that gets a type of its own.
type part struct {
	tensor int         // of the source
	types  []gguf.Type // that it can have, first its own
	bytes  []int64     // that it takes in a file with each of the types
	errors []float64   // what each of the types changes of its output: the part of the squares
	costs  []float64   // what each of the types adds to the divergence
	// swap is the type that it is given to see what an error costs.
	swap      gguf.Type
	swapError float64
}

// group is parts of one kind, in one layer or in several that follow each other, that are
// swapped together.
type group struct {
	layer    int  // the first that the parts have a part in: -1 before all, their number after them
	entrance bool // the parts have a part in what enters the first layer
	parts    []int
}

// maxGroups is how many groups there are at most, about, however much text there is.
const maxGroups = 64

// findParts returns all tensors that a recipe can give a type, in the order of a file.
func findParts(base gguf.Source, importance *imatrix.Matrix, types []gguf.Type) ([]part, error) {
	tensors := base.Tensors()
	alignment, err := base.Metadata().Alignment()
	if err != nil {
		return nil, err
	}
	var parts []part
	for _, i := range recipe.Order(tensors) {
		if !recipe.Quantizable(tensors[i]) {
			continue
		}
		p := part{tensor: i, types: []gguf.Type{tensors[i].Type}}
		for _, t := range types {
			if canBe(tensors[i], t, importance) {
				p.types = append(p.types, t)
			}
		}
		if len(p.types) == 1 {
			continue
		}
		for _, t := range p.types {
			info := tensors[i]
			info.Type = t
			p.bytes = append(p.bytes, (info.Bytes()+alignment-1)/alignment*alignment)
		}
		p.errors, p.costs = make([]float64, len(p.types)), make([]float64, len(p.types))
		parts = append(parts, p)
	}
	if parts == nil {
		return nil, fmt.Errorf("%w: the model has no tensor that could be given another type", gguf.ErrUnsupported)
	}
	return parts, nil
}

// canBe reports whether a tensor can be quantized to a type.
func canBe(info gguf.TensorInfo, t gguf.Type, importance *imatrix.Matrix) bool {
	matrices := int64(1)
	if len(info.Shape) > 2 {
		matrices = info.Shape[2]
	}
	has := importance != nil && importance.Values(info.Name) == info.RowLen()*matrices
	// Both llama-quantize and quant.View refuse types that need importance.
	err := recipe.CheckImatrix([]gguf.TensorInfo{info}, []gguf.Type{t}, recipe.Q8_0, func(string) bool { return has })
	return t != info.Type && info.RowLen()%int64(t.BlockSize()) == 0 && err == nil && (has || !quant.NeedsImportance(t))
}

// swaps are the types that parts are given to see what an error costs: quicker to make than some of those that are sought, and some for narrow rows.
// quickSwaps are for matrices that few tokens are multiplied with: these take less time to make than the products do.
var (
	swaps      = []gguf.Type{gguf.Q2_K, gguf.Q3_K, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K, gguf.Q4_0, gguf.Q5_0, gguf.Q8_0}
	quickSwaps = []gguf.Type{gguf.Q4_0, gguf.Q5_0, gguf.Q8_0}
)

// fewTokens is below how many tokens the other swaps would take too long: each matrix is quantized twice, at up to seven times what
// it takes to read it for a product.
const fewTokens = 1024

// chooseSwaps gives each part the swap whose bits per weight are closest to the given. tokens is how many there are, used which part of them goes
// through an expert, in the mean.
func chooseSwaps(tensors []gguf.TensorInfo, parts []part, importance *imatrix.Matrix, bits float64, tokens int, used float64) {
	for i := range parts {
		p := &parts[i]
		seen := float64(tokens)
		if strings.Contains(tensors[p.tensor].Name, "_exps.") {
			seen *= used
		}
		possible := swaps
		if seen < fewTokens {
			possible = quickSwaps
		}
		p.swap = p.types[1]
		nearest := math.Inf(1)
		for _, t := range possible {
			if !canBe(tensors[p.tensor], t, importance) {
				continue
			}
			if d := math.Abs(bitsOf(t) - bits); d < nearest {
				p.swap, nearest = t, d
			}
		}
	}
}

// expertsUsed returns the least part of its experts that a layer of a model uses for a token, 1 if there are none.
func expertsUsed(spec *graph.Spec) float64 {
	used := 1.
	for mixer := range spec.Mixers {
		if m, ok := mixer.(graph.Mixture); ok {
			used = min(used, float64(m.Used)/float64(m.Experts))
		}
	}
	return used
}

// bitsOf returns the bits per weight of a type.
func bitsOf(t gguf.Type) float64 { return 8 * float64(t.BlockBytes()) / float64(t.BlockSize()) }

// findGroups puts parts together, so that there are not many more groups than most.
func findGroups(tensors []gguf.TensorInfo, parts []part, most int) []group {
	layers := 0
	kinds := make(map[string]bool)
	for _, p := range parts {
		if layer, kind := gguf.SplitName(tensors[p.tensor].Name); layer >= 0 {
			layers = max(layers, layer+1)
			kinds[kind] = true
		}
	}
	band := max(1, (layers*len(kinds)+most-1)/most)

	type place struct {
		band int
		kind string
	}
	var groups []group
	index := make(map[place]int)
	for i, p := range parts {
		name := tensors[p.tensor].Name
		g, at := group{layer: -1, entrance: true}, place{-1, name}
		if layer, kind := gguf.SplitName(name); layer >= 0 {
			g, at = group{layer: layer}, place{layer / band, kind}
		} else if name == "output.weight" {
			g = group{layer: layers}
		}
		n, ok := index[at]
		if !ok {
			n = len(groups)
			index[at] = n
			groups = append(groups, g)
		}
		groups[n].parts = append(groups[n].parts, i)
		groups[n].layer = min(groups[n].layer, g.layer)
	}
	return slices.Clip(groups)
}
