package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
)

// GLMDSA is GLM 5: DeepSeek V3.2 with GLM's vocabulary. Layers may share an indexer.
var GLMDSA = Architecture{
	Class:      "GlmMoeDsaForCausalLM",
	Name:       "glm-dsa",
	Family:     "GLM 5",
	Special:    "made like DeepSeek V3.2",
	Vocabulary: glmVocabulary,
	types: []modelType{{
		name: "glm_moe_dsa", theta: 10000,
		renamed: map[string]string{"num_local_experts": "n_routed_experts"},
		fields: slices.Concat(denseFields(154880, 6144, 12288, 78, 64, 202752, 1e-5), latentFields(64, 2048, 64, 256, 192, 1, 1),
			[]field{{"index_n_heads", whole, int64(32)}, {"indexer_types", texts | null, nil}}),
		derive: deriveGLMDSA,
	}},
	read:    readGLMDSA,
	experts: "n_routed_experts",
	restore: func(r *restorer) {
		r.sparse()
		full, err := gguf.Value[[]bool](r.src.Metadata(), r.prefix+"attention.indexer.types")
		if err != nil {
			return
		}
		var types []string
		for _, own := range full {
			types = append(types, map[bool]string{true: "full", false: "shared"}[own])
		}
		r.set("indexer_types", types)
	},
}

func deriveGLMDSA(h hparams) {
	deriveSparse(h)
	layers := h["num_hidden_layers"].(int64)
	if h["indexer_types"] != nil || layers < 0 || layers >= 1<<16 {
		return
	}
	types := make([]any, layers)
	every, offset := int64(1), int64(2)
	if n, ok := h["index_topk_freq"].(int64); ok {
		every = max(n, 1)
	}
	if n, ok := h["index_skip_topk_offset"].(int64); ok {
		offset = n
	}
	for i := range types {
		types[i] = "shared"
		if max(int64(i)-offset+1, 0)%every == 0 {
			types[i] = "full"
		}
	}
	switch pattern := h["index_topk_pattern"].(type) {
	case string:
		types = nil
		for _, c := range pattern {
			types = append(types, map[rune]string{'F': "full", 'S': "shared"}[c])
		}
	case []any:
		types = pattern
	}
	h["indexer_types"] = types
}

type glmDSA struct {
	sparse
	rotatedPart float64
	full        []bool // of layers, whether the indexer is their own; nil where config.json says nothing
}

func readGLMDSA(r *reader) family {
	r.can |= partialRotary
	g := &glmDSA{sparse: readSparse(r), rotatedPart: 1}
	if p := g.Rope.partial; p != nil {
		g.rotatedPart = *p
	}
	for _, name := range r.texts("indexer_types") {
		g.full = append(g.full, name == "full")
	}
	return g
}

// keys has what GlmMoeDsaModel.set_gguf_parameters adds.
func (g *glmDSA) keys(k *keys) {
	g.sparseKeys(k)
	k.set("rope.dimension_count", uint32(float64(g.rotated)*g.rotatedPart))
	if g.full != nil {
		k.set("attention.indexer.types", g.full)
	}
}
