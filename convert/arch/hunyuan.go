package arch

import (
	"fmt"
	"math"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// HunyuanDense is the dense model of Hunyuan: Llama with norms of each head of queries and
// keys. For long texts the base of the angles is made larger.
var HunyuanDense = Architecture{
	Class:      "HunYuanDenseV1ForCausalLM",
	Name:       "hunyuan-dense",
	Family:     "Hunyuan, dense",
	Vocabulary: vocab.Rules{Pre: map[string]string{"deepseek-v3": "hunyuan-dense"}},
	types: []modelType{{
		name: "hunyuan_v1_dense", theta: 10000,
		fields: append(denseFields(290943, 4096, 11008, 32, 32, 2048, 1e-5),
			field{"num_key_value_heads", whole | null, nil}, field{"pad_token_id", whole | null, int64(0)}, field{"bos_token_id", whole | null, int64(1)},
			field{"eos_token_id", whole | wholes | null, int64(2)}, field{"eod_token_id", whole | null, int64(3)}, field{"pretraining_tp", whole, int64(1)},
			field{"attention_bias", flag, false}, field{"attention_dropout", whole | decimal, 0.0}, field{"head_dim", whole | null, nil},
		),
	}},
	read:    readHunyuan,
	restore: restoreHunyuan,
}

type hunyuan struct {
	Config
	hunyuanRope
	eod *int64 // the token that ends a text
}

// hunyuanRope is the base of the angles of a model that is scaled for long texts, 0 for others.
type hunyuanRope struct{ base float64 }

// hunyuanContext is what models that are scaled were made for, whatever config.json says.
const hunyuanContext = 256 << 10

func readHunyuan(r *reader) family {
	h := &hunyuan{Config: r.dense("silu", "swish")}
	h.eod = r.whole(0, 1<<31, "eod_token_id")
	h.hunyuanRope = r.hunyuanRope(&h.Config, orZero(h.HeadDim), 50)
	return h
}

// hunyuanRope reads how positions are scaled, of heads of so many elements, 0 if it is not said. Alpha is the default.
func (r *reader) hunyuanRope(c *Config, head int64, alpha float64) hunyuanRope {
	c.refuseScaling(r, "llama3", "linear", "yarn")
	if c.Rope.Type != "dynamic" {
		return hunyuanRope{}
	}
	rope := reader{hparams: c.Rope.parameters}
	if v := rope.positive("alpha"); v != nil {
		alpha = *v
	}
	if head <= 2 || head != c.HeadLength() || c.Rope.Base() != 10000 || c.MaxPositions != 32<<10 && c.MaxPositions != hunyuanContext || rope.err != nil {
		r.fail(gguf.ErrUnsupported, "dynamic rope scaling of %s without head_dim, of a base of %v or for %d positions", r.class, c.Rope.Base(), c.MaxPositions)
		return hunyuanRope{}
	}
	return hunyuanRope{hunyuanBase(c.Rope.Base(), alpha, float64(head))}
}

// hunyuanBase returns the base of the angles for long texts, of heads of d elements.
func hunyuanBase(theta, alpha, d float64) float64 { return theta * math.Pow(alpha, d/(d-2)) }

// keys are set last: some were set otherwise before.
func (h hunyuanRope) keys(k *keys) {
	if h.base == 0 {
		return
	}
	k.set("rope.freq_base", float32(h.base))
	k.set("rope.scaling.type", "none")
	k.set("rope.scaling.factor", float32(1))
	k.set("rope.scaling.original_context_length", uint32(hunyuanContext))
	k.set("context_length", uint32(hunyuanContext))
}

// tokens has what HunYuanModel.set_vocab mends.
func (h *hunyuan) tokens() []vocab.RoleID {
	if h.eod == nil {
		return nil
	}
	return []vocab.RoleID{{Role: "eos", ID: uint32(*h.eod)}}
}

// keys has what HunYuanModel.set_gguf_parameters adds.
func (h *hunyuan) keys(k *keys) {
	h.commonKeys(k)
	h.hunyuanRope.keys(k)
}

func (h *hunyuan) tensors(m mapper) {
	h.outside(m)
	for _, layer := range m.layers(h.Layers) {
		h.norms(layer)
		h.attention(layer, halves)
		h.attentionBiases(layer, halves)
		layer.take("self_attn.query_layernorm.weight", "attn_q_norm.weight", h.HeadLength())
		layer.take("self_attn.key_layernorm.weight", "attn_k_norm.weight", h.HeadLength())
		h.mlp(layer)
	}
}

func restoreHunyuan(r *restorer) {
	r.set("eod_token_id", nil)
	if id, err := r.src.Metadata().Uint("tokenizer.ggml.eos_token_id"); err == nil {
		r.set("eod_token_id", id)
	}
	r.hunyuanRope(r.whole("attention.key_length"))
}

// hunyuanRope finds the parameter that a base is made larger by, of heads of so many elements.
func (r *restorer) hunyuanRope(head int64) {
	if !r.hasKey("rope.scaling.original_context_length") {
		return
	}
	base := r.number("rope.freq_base")
	const theta = 10000
	d := float64(head)
	alpha := math.Pow(base/theta, (d-2)/d)
	if !(alpha > 0) || math.IsInf(alpha, 0) {
		r.fail(fmt.Errorf("%w: rope.freq_base %v of heads of %v elements", gguf.ErrCorrupt, base, d))
		return
	}
	r.set("rope_theta", decimalOf(theta))
	r.set("rope_scaling", map[string]any{"rope_type": "dynamic", "alpha": rounded(alpha, func(v float64) bool { return float32(hunyuanBase(theta, v, d)) == float32(base) }), "factor": decimalOf(1)})
}
