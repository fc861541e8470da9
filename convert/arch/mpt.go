package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// MPT has a bias of the scores (ALiBi) instead of positions, or embeddings of these, norms
// of which the mean is subtracted, and no gates. It may limit queries, keys and values.
var MPT = Architecture{
	Class:      "MPTForCausalLM",
	Others:     []string{"MptForCausalLM"}, // transformers' own
	Name:       "mpt",
	Family:     "MPT",
	Special:    "a bias of scores instead of positions, or embeddings of these",
	Vocabulary: vocab.Rules{Pre: map[string]string{"gpt-2": "mpt"}},
	read:       readMPT,
	restore: func(r *restorer) {
		attention := &restorer{src: r.src, prefix: r.prefix, params: make(map[string]any)}
		attention.take("attention.head_count_kv", "kv_n_heads")
		attention.take("attention.clamp_kqv", "clip_qkv")
		bias, _ := r.src.Metadata().Float(r.prefix + "attention.max_alibi_bias")
		attention.set("alibi", bias > 0)
		if bias > 0 {
			attention.take("attention.max_alibi_bias", "alibi_bias_max")
		}
		r.fail(attention.err)
		for _, names := range [][2]string{
			{"hidden_size", "d_model"}, {"num_hidden_layers", "n_layers"}, {"num_attention_heads", "n_heads"}, {"max_position_embeddings", "max_seq_len"},
			{"layer_norm_eps", "layer_norm_epsilon"},
		} {
			r.rename(names[0], names[1])
		}
		for _, name := range []string{"num_key_value_heads", "intermediate_size", "attention_bias", "hidden_act"} {
			delete(r.params, name)
		}
		r.set("attn_config", attention.params)
		r.set("expansion_ratio", 4)
		r.set("no_bias", !r.has("blk.0.attn_qkv.bias"))
		r.set("model_type", "mpt")
		r.usual, r.saved = "model.", ""
	},
}

type mpt struct {
	Config
	clip      *float64
	alibiBias float64
}

func readMPT(r *reader) family {
	attention := reader{hparams: r.object("attn_config"), class: r.class}
	for _, names := range [][2]string{
		{"hidden_size", "d_model"}, {"num_hidden_layers", "n_layers"}, {"num_attention_heads", "n_heads"}, {"max_position_embeddings", "max_seq_len"},
	} {
		if v := r.hparams[names[1]]; v != nil {
			r.hparams[names[0]] = v
		}
	}
	r.setDefaults(hparams{"vocab_size": int64(50368), "hidden_size": int64(2048), "num_attention_heads": int64(16), "num_hidden_layers": int64(24),
		"max_position_embeddings": int64(2048), "layer_norm_epsilon": 1e-5, "expansion_ratio": int64(4), "tie_word_embeddings": true})
	r.hparams["intermediate_size"] = 4 * r.needed(1, 1<<24, "hidden_size")
	if n := attention.whole(1, 1<<16, "kv_n_heads"); n != nil {
		r.hparams["num_key_value_heads"] = *n
	}
	r.can = layerNorms
	m := &mpt{Config: r.dense(), clip: attention.number("clip_qkv")}
	if v := attention.flag("alibi"); v == nil || *v {
		m.alibiBias = 8
		if v := attention.positive("alibi_bias_max"); v != nil {
			m.alibiBias = *v
		}
	}
	if attention.err != nil && r.err == nil {
		r.err = attention.err
	}
	ratio, eps := r.number("expansion_ratio"), m.layerNormEps
	if ratio != nil && *ratio != 4 || eps != nil && *eps != mptEpsilon {
		r.fail(gguf.ErrUnsupported, "%s with an expansion_ratio that is not 4, or a layer_norm_epsilon that is not %v", r.class, mptEpsilon)
	}
	if attention.hparams["softmax_scale"] != nil || r.hparams["logit_scale"] != nil || isTrue(attention.hparams["prefix_lm"]) {
		r.fail(gguf.ErrUnsupported, "%s with softmax_scale, prefix_lm or logit_scale", r.class)
	}
	return m
}

// mptEpsilon is what MPTModel.set_gguf_parameters writes for all.
const mptEpsilon = 1e-5

// keys are those of MPTModel.set_gguf_parameters.
func (p *mpt) keys(k *keys) {
	k.set("context_length", uint32(p.MaxPositions))
	k.set("embedding_length", uint32(p.HiddenSize))
	k.set("block_count", uint32(p.Layers))
	k.set("feed_forward_length", uint32(p.IntermediateSize))
	k.set("attention.head_count", uint32(p.Heads))
	k.count("attention.head_count_kv", p.kvHeads)
	k.set("attention.layer_norm_epsilon", float32(mptEpsilon))
	k.number("attention.clamp_kqv", p.clip)
	k.set("attention.max_alibi_bias", float32(p.alibiBias))
}

func (p *mpt) tensors(m mapper) {
	body := m.below("transformer.", "wte.weight")
	body.take("wte.weight", "token_embd.weight", p.VocabSize, p.HiddenSize)
	if p.alibiBias == 0 {
		body.take("wpe.weight", "position_embd.weight", p.MaxPositions, p.HiddenSize)
	}
	p.output(m, "lm_head.weight")
	p.layerNorm(body, "norm_f", "output_norm")
	all := p.queries() + 2*p.keysOrValues()
	for _, layer := range body.layersOf("blocks.", p.Layers) {
		p.layerNorm(layer, "norm_1", "attn_norm")
		layer.take("attn.Wqkv.weight", "attn_qkv.weight", all, p.HiddenSize)
		layer.takeAny("attn.Wqkv.bias", "attn_qkv.bias", all)
		layer.take("attn.out_proj.weight", "attn_output.weight", p.HiddenSize, p.queries())
		layer.takeAny("attn.out_proj.bias", "attn_output.bias", p.HiddenSize)
		p.layerNorm(layer, "norm_2", "ffn_norm")
		p.upDown(layer, "ffn.up_proj", "ffn.down_proj")
	}
}
