package recipe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// class is the part a tensor plays, as far as the rules tell parts apart.
type class int

const (
	other class = iota
	output
	tokenEmbd
	attnV // also matrices that have V among others
	attnK
	attnQ
	attnOutput
	ffnUp
	ffnGate
	ffnDown
)

// classes tells the class from a part of the name; the first that fits counts.
var classes = []struct {
	part  string
	class class
}{
	{"attn_qkv.weight", attnV},
	{"attn_kv_b.weight", attnV},
	{"attn_v.weight", attnV},
	{"attn_k.weight", attnK},
	{"attn_q.weight", attnQ},
	{"attn_output.weight", attnOutput},
	{"ffn_up", ffnUp},
	{"ffn_gate", ffnGate},
	{"ffn_down", ffnDown},
}

func classOf(name string) class {
	switch name {
	case "output.weight":
		return output
	case "token_embd.weight", "per_layer_token_embd.weight":
		return tokenEmbd
	}
	for _, c := range classes {
		if strings.Contains(name, c.part) {
			return c.class
		}
	}
	return other
}

// position is where in the model a rule is asked about a tensor: tensor i of n
// of its class, or for the feed-forward tensors of a mixture of experts, layer i
// of n.
type position struct {
	*model
	i, n int
}

func (p position) falcon() bool       { return p.arch == "falcon" }
func (p position) eightExperts() bool { return p.experts == 8 }
func (p position) grouped() bool      { return p.groupSize >= 4 }
func (p position) noImatrix() bool    { return !p.imatrix }

func (p position) firstTwo() bool       { return p.i < 2 }
func (p position) firstFour() bool      { return p.i < 4 }
func (p position) firstEighth() bool    { return p.i < p.n/8 }
func (p position) firstSixteenth() bool { return p.i < p.n/16 }
func (p position) middle() bool         { return p.i >= p.n/8 && p.i < 7*p.n/8 }

// more picks about half of the layers: the first and last eighths and every
// third between them.
func (p position) more() bool {
	return p.i < p.n/8 || p.i >= 7*p.n/8 || (p.i-p.n/8)%3 == 2
}

func (p position) groupedOrFourExperts() bool { return p.grouped() || p.experts >= 4 }
func (p position) eightExpertsNotFalcon() bool {
	return p.eightExperts() && !p.falcon()
}
func (p position) neitherEightExpertsNorFalcon() bool {
	return !p.eightExperts() && !p.falcon()
}
func (p position) firstEighthOrMoreOfEightExperts() bool {
	return p.firstEighth() || p.eightExperts() && p.more()
}
func (p position) firstEighthNoImatrix() bool   { return p.firstEighth() && p.noImatrix() }
func (p position) firstEighthWithImatrix() bool { return p.firstEighth() && p.imatrix }
func (p position) firstEighthNotFalcon() bool   { return p.firstEighth() && !p.falcon() }
func (p position) falconFirstSixteenth() bool   { return p.falcon() && p.firstSixteenth() }
func (p position) falconMore() bool             { return p.falcon() && p.more() }

// rule gives a tensor a type other than the base type.
type rule struct {
	files []FileType          // nil: all
	when  func(position) bool // nil: always
	then  gguf.Type
}

// rules are those of most file types; the first that applies counts
// (llama_tensor_get_type_impl of llama-quant.cpp).
var rules = map[class][]rule{
	tokenEmbd: {
		{[]FileType{IQ3_XXS}, nil, gguf.IQ3_S},
		{[]FileType{TQ1_0, TQ2_0, Q2_0}, nil, gguf.Q4_K},
	},
	attnV: {
		{nil, position.eightExperts, gguf.Q8_0},
		{[]FileType{Q2_K, Q2_K_S, IQ3_XXS, IQ3_XS, IQ3_S}, position.grouped, gguf.Q4_K},
		{[]FileType{Q2_K}, nil, gguf.Q3_K},
		{[]FileType{IQ3_XXS}, position.noImatrix, gguf.IQ3_S},
		{[]FileType{IQ3_M}, nil, gguf.Q4_K},
		{[]FileType{Q3_K_M}, position.firstTwo, gguf.Q5_K},
		{[]FileType{Q3_K_M}, nil, gguf.Q4_K},
		{[]FileType{Q3_K_L}, nil, gguf.Q5_K},
		{[]FileType{IQ4_NL, IQ4_XS}, position.grouped, gguf.Q5_K},
		{[]FileType{Q4_K_M, Q5_K_M}, position.more, gguf.Q6_K},
		{[]FileType{Q4_K_S}, position.firstFour, gguf.Q5_K},
	},
	attnK: {
		{nil, position.eightExperts, gguf.Q8_0},
		{[]FileType{IQ3_XS}, nil, gguf.IQ3_XXS},
		{[]FileType{IQ3_XXS}, nil, gguf.IQ2_S},
	},
	attnQ: {
		{[]FileType{IQ3_XS}, nil, gguf.IQ3_XXS},
		{[]FileType{IQ3_XXS}, nil, gguf.IQ2_S},
	},
	attnOutput: {
		{[]FileType{Q3_K_L}, position.falcon, gguf.Q4_K},
		{[]FileType{Q2_K, Q3_K_S, Q3_K_M, Q4_K_S, Q4_K_M, IQ3_XXS, IQ3_XS, IQ3_S, IQ3_M, IQ4_NL, IQ4_XS}, position.eightExpertsNotFalcon, gguf.Q5_K},
		{[]FileType{Q2_K}, position.neitherEightExpertsNorFalcon, gguf.Q3_K},
		{[]FileType{IQ3_XXS}, position.neitherEightExpertsNorFalcon, gguf.IQ3_S},
		{[]FileType{Q3_K_M, IQ3_M}, position.neitherEightExpertsNorFalcon, gguf.Q4_K},
		{[]FileType{Q3_K_L}, position.neitherEightExpertsNorFalcon, gguf.Q5_K},
	},
	ffnDown: {
		{[]FileType{Q2_K}, nil, gguf.Q3_K},
		{[]FileType{Q2_K_S}, position.firstEighth, gguf.Q4_K},
		{[]FileType{IQ3_XXS}, position.firstEighthNoImatrix, gguf.Q4_K},
		{[]FileType{IQ3_XXS}, position.noImatrix, gguf.Q3_K},
		{[]FileType{IQ3_M}, position.firstEighthOrMoreOfEightExperts, gguf.Q4_K},
		{[]FileType{Q3_K_M}, position.firstSixteenth, gguf.Q5_K},
		{[]FileType{Q3_K_M}, position.falconMore, gguf.Q4_K},
		{[]FileType{Q3_K_M}, position.falcon, gguf.Q3_K},
		{[]FileType{Q3_K_M}, nil, gguf.Q4_K},
		{[]FileType{Q3_K_L}, position.falcon, gguf.Q4_K},
		{[]FileType{Q3_K_L}, nil, gguf.Q5_K},
		{[]FileType{IQ4_NL, IQ4_XS}, position.firstEighthNoImatrix, gguf.Q5_K},
		{[]FileType{Q4_K_S}, position.firstEighthNotFalcon, gguf.Q5_K},
		{[]FileType{Q4_K_M}, position.falconFirstSixteenth, gguf.Q6_K},
		{[]FileType{Q4_K_M}, position.falconMore, gguf.Q5_K},
		{[]FileType{Q4_K_M}, position.falcon, gguf.Q4_K},
		{[]FileType{Q4_K_M, Q5_K_M}, position.more, gguf.Q6_K},
		{[]FileType{Q4_0}, position.firstEighthWithImatrix, gguf.Q4_1},
		{[]FileType{Q5_0}, position.firstEighthWithImatrix, gguf.Q5_1},
	},
	ffnGate: {{[]FileType{IQ3_XS}, position.middle, gguf.IQ3_XXS}},
	ffnUp:   {{[]FileType{IQ3_XS}, position.middle, gguf.IQ3_XXS}},
}

// smallest are the file types that have rules of their own instead.
var smallest = []FileType{IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ2_M}

var smallestRules = map[class][]rule{
	tokenEmbd: {
		{[]FileType{IQ2_S, IQ2_M}, nil, gguf.IQ3_S},
		{nil, nil, gguf.Q2_K},
	},
	attnV: {
		{nil, position.groupedOrFourExperts, gguf.Q4_K},
		{[]FileType{IQ2_S, IQ2_M}, nil, gguf.IQ3_S},
		{nil, nil, gguf.Q2_K},
	},
	attnK: {{nil, position.eightExperts, gguf.Q4_K}},
	attnOutput: {
		{nil, position.eightExperts, gguf.Q5_K},
		{[]FileType{IQ1_S, IQ1_M}, nil, gguf.IQ2_XXS},
		{[]FileType{IQ2_S, IQ2_M}, nil, gguf.IQ3_S},
	},
	ffnDown: {
		{[]FileType{IQ2_S, IQ2_M}, position.firstEighth, gguf.IQ3_S},
		{nil, position.firstEighth, gguf.Q2_K},
	},
}

// choose returns the type of the next tensor, before its width is looked at.
func (m *model) choose(t gguf.TensorInfo) (gguf.Type, error) {
	c := classOf(t.Name)
	if c == output || c == tokenEmbd && m.tied {
		return m.outputType(t.RowLen()), nil
	}
	if m.fileType == MXFP4_MOE {
		return m.mxfp4Type(c, t), nil
	}
	p := position{m, m.seen[c], m.counts[c]}
	m.seen[c]++
	if slices.Contains(smallest, m.fileType) {
		return p.apply(smallestRules[c]), nil
	}
	if m.experts > 1 && (c == ffnUp || c == ffnGate || c == ffnDown) {
		// There may be several such tensors in a layer, so counting them does
		// not tell the layer.
		if p.i, _ = gguf.SplitName(t.Name); p.i < 0 || p.i >= m.layers {
			return 0, fmt.Errorf("%w: not in one of the %d layers", gguf.ErrCorrupt, m.layers)
		}
	}
	chosen := p.apply(rules[c])
	if c == attnV && m.is70B && (chosen == gguf.Q3_K || chosen == gguf.Q4_K) {
		chosen = gguf.Q5_K
	}
	return chosen, nil
}

func (p position) apply(rules []rule) gguf.Type {
	for _, r := range rules {
		if (r.files == nil || slices.Contains(r.files, p.fileType)) && (r.when == nil || r.when(p)) {
			return r.then
		}
	}
	return p.base
}

// outputType is the type of the output matrix, which is also that of the token
// embeddings where they are the same.
func (m *model) outputType(width int64) gguf.Type {
	switch {
	case m.outputOverride != nil:
		return *m.outputOverride
	case m.fileType == MXFP4_MOE, m.arch == "falcon", width%int64(m.base.BlockSize()) != 0:
		return gguf.Q8_0
	case m.fileType == IQ3_XXS, slices.Contains(smallest, m.fileType):
		return gguf.Q5_K
	case m.base == gguf.Q8_0:
		return gguf.Q8_0
	}
	return gguf.Q6_K
}

// mxfp4Type is MXFP4 for the matrices of experts and Q8_0 for all others.
// Experts are told by their third dimension, but for an architecture that has
// other tensors with one.
func (m *model) mxfp4Type(c class, t gguf.TensorInfo) gguf.Type {
	expert := len(t.Shape) > 2 && t.Shape[2] > 1
	if m.arch == "bailingmoe3" {
		expert = expert && (c == ffnUp || c == ffnGate || c == ffnDown)
	}
	if expert {
		return gguf.MXFP4
	}
	return gguf.Q8_0
}
