package arch

import (
	"math"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// MiniCPM is MiniCPM 1, 2 and 4, with the code that comes with them: Llama with numbers that embeddings, what layers add
// and logits are scaled by.
var MiniCPM = Architecture{
	Class:   "MiniCPMForCausalLM",
	Name:    "minicpm",
	Family:  "MiniCPM 1, 2 and 4",
	Special: "multipliers of embeddings, residuals and logits; `sparse_config` is left out: all tokens are seen",
	read:    readMiniCPM,
	restore: func(r *restorer) {
		r.longRope(r.whole("context_length"))
		r.take("embedding_scale", "scale_emb")
		residual, root := r.number("residual_scale"), math.Sqrt(float64(r.whole("block_count")))
		r.set("scale_depth", rounded(residual*root, func(v float64) bool { return float32(v/root) == float32(residual) }))
		logits, width := r.number("logit_scale"), float64(r.whole("embedding_length"))
		if !(logits > 0) || math.IsInf(logits, 0) {
			r.fail(gguf.ErrCorrupt)
			return
		}
		r.set("dim_model_base", rounded(width/logits, func(v float64) bool { return v > 0 && float32(width/v) == float32(logits) }))
		const published = "openbmb/MiniCPM-2B-sft-bf16--" // the code that comes with it
		r.set("model_type", "minicpm")
		r.set("auto_map", map[string]string{
			"AutoConfig": published + "configuration_minicpm.MiniCPMConfig", "AutoModel": published + "modeling_minicpm.MiniCPMModel",
			"AutoModelForCausalLM": published + "modeling_minicpm.MiniCPMForCausalLM",
		})
	},
}

type miniCPM struct {
	Config
	ofEmbedding, ofResidual, ofLogits float64 // what each is multiplied by, logits divided
}

func readMiniCPM(r *reader) family {
	r.can = longRope
	r.setDefaults(hparams{"tie_word_embeddings": true})
	m := &miniCPM{Config: r.dense("silu", "swish")}
	m.refuseScaling(r, "llama3")
	m.Rope.checkFactors(r, m.HeadLength()/2)
	number := func(name string) float64 {
		v := r.positive(name)
		if v == nil {
			r.fail(gguf.ErrCorrupt, "%s is missing", name)
			return 1
		}
		return *v
	}
	m.ofEmbedding = number("scale_emb")
	m.ofResidual = number("scale_depth") / math.Sqrt(float64(max(1, m.Layers)))
	m.ofLogits = float64(m.HiddenSize) / number("dim_model_base")
	return m
}

// keys has what MiniCPMModel.set_gguf_parameters adds.
func (c *miniCPM) keys(k *keys) {
	c.commonKeys(k)
	k.set("embedding_scale", float32(c.ofEmbedding))
	k.set("residual_scale", float32(c.ofResidual))
	k.set("logit_scale", float32(c.ofLogits))
}

func (c *miniCPM) tensors(m mapper) {
	c.Rope.longFactors(m)
	c.outside(m)
	for _, layer := range m.layers(c.Layers) {
		c.norms(layer)
		c.attention(layer, weights.Interleave)
		c.mlp(layer)
	}
}
