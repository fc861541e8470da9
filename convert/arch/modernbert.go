package arch

import (
	"maps"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// ModernBERT is an encoder with rotated heads, gated networks and a window in two of three
// layers. The first layer has no norm of what the embeddings' norm gives.
var ModernBERT = Architecture{
	Class:      "ModernBertModel",
	Name:       "modern-bert",
	Family:     "ModernBERT",
	Special:    "a window in two of three layers",
	Embeddings: true,
	Vocabulary: vocab.Rules{
		Pre:   map[string]string{"gpt-2": "modern-bert"},
		Added: []vocab.RoleFlag{{Role: "bos", Add: true}, {Role: "eos", Add: true}, {Role: "sep", Add: true}}, // ModernBertModel.set_vocab
	},
	read: readModernBERT,
	restore: func(r *restorer) {
		r.take("attention.sliding_window", "local_attention")
		r.take("attention.sliding_window_pattern", "global_attn_every_n_layers")
		r.take("hidden_activation", "hidden_activation")
		r.take("classifier.activation", "classifier_activation")
		if r.whole("classifier.pooling_type") == poolMean {
			r.set("classifier_pooling", "mean")
		}
		r.rename("rope_theta", "global_rope_theta")
		r.rename("rope_local_base_freq", "local_rope_theta")
		r.rename("rms_norm_eps", "norm_eps")
		for _, name := range []string{"hidden_act", "num_key_value_heads", "attention_bias", "is_causal"} {
			delete(r.params, name)
		}
		r.set("model_type", "modernbert")
		r.usual, r.saved = "model.", ""
	},
}

// llama.cpp's numbers for how a classifier pools.
const poolMean, poolCLS = 1, 2

type modernBERT struct {
	Config
	window                 int64
	every                  *int64 // nil if it is not said: 3
	pooling                uint32
	activation, classifier string
}

func readModernBERT(r *reader) family {
	r.setDefaults(hparams{"vocab_size": int64(50368), "hidden_size": int64(768), "intermediate_size": int64(1152), "num_hidden_layers": int64(22),
		"num_attention_heads": int64(12), "max_position_embeddings": int64(8192), "norm_eps": 1e-5, "local_attention": int64(128),
		"hidden_activation": "gelu", "classifier_pooling": "cls", "classifier_activation": "gelu"})
	r.setDefaults(hparams{"layer_norm_eps": r.hparams["norm_eps"]}) // without which llama.cpp cannot load it
	ropes := maps.Clone(r.object("rope_parameters"))
	if ropes == nil {
		ropes = make(hparams)
	}
	for layers, base := range map[string]struct {
		name  string
		value float64
	}{"full_attention": {"global_rope_theta", 160000}, "sliding_attention": {"local_rope_theta", 10000}} {
		rope := maps.Clone((&reader{hparams: ropes}).object(layers))
		if rope == nil {
			rope = hparams{"rope_type": "default"}
		}
		theta := r.hparams[base.name]
		if theta == nil {
			theta = base.value
		}
		rope.setDefaults(hparams{"rope_theta": theta})
		ropes[layers] = map[string]any(rope)
	}
	r.hparams["rope_parameters"] = map[string]any(ropes)
	r.can = layerNorms
	m := &modernBERT{Config: r.dense("gelu", "silu"), window: r.needed(1, 1<<31, "local_attention"), every: r.whole(1, 1<<16, "global_attn_every_n_layers")}
	m.refuseScaling(r)
	_, m.activation = r.text("hidden_activation")
	_, m.classifier = r.text("classifier_activation")
	switch _, pooling := r.text("classifier_pooling"); pooling {
	case "mean":
		m.pooling = poolMean
	case "cls":
		m.pooling = poolCLS
	default:
		r.fail(gguf.ErrUnsupported, "classifier_pooling is %s", show(pooling))
	}
	every := int64(3)
	if m.every != nil {
		every = *m.every
	}
	for i, t := range r.texts("layer_types") {
		if (t == "full_attention") != (int64(i)%every == 0) {
			r.fail(gguf.ErrUnsupported, "layer_types has %s for layer %d, in the architecture one of %d is full_attention", show(t), i, every)
		}
	}
	return m
}

// keys has what ModernBertModel.set_gguf_parameters adds.
func (b *modernBERT) keys(k *keys) {
	b.commonKeys(k)
	k.set("attention.causal", false)
	k.pool()
	k.set("classifier.pooling_type", b.pooling)
	k.set("classifier.activation", b.classifier)
	k.set("attention.sliding_window", uint32(b.window))
	k.count("attention.sliding_window_pattern", b.every)
	k.set("rope.scaling.type", "none")
	k.set("vocab_size", uint32(b.VocabSize))
	k.set("hidden_activation", b.activation)
}

func (b *modernBERT) tensors(m mapper) {
	m.take("model.embeddings.tok_embeddings.weight", "token_embd.weight", b.VocabSize, b.HiddenSize)
	m.take("model.embeddings.norm.weight", "token_embd_norm.weight", b.HiddenSize)
	m.take("model.final_norm.weight", "output_norm.weight", b.HiddenSize)
	for i, layer := range m.layers(b.Layers) {
		if i > 0 {
			layer.take("attn_norm.weight", "attn_norm.weight", b.HiddenSize)
		}
		layer.take("attn.Wqkv.weight", "attn_qkv.weight", 3*b.HiddenSize, b.HiddenSize)
		layer.take("attn.Wo.weight", "attn_output.weight", b.HiddenSize, b.HiddenSize)
		layer.take("mlp_norm.weight", "ffn_norm.weight", b.HiddenSize)
		layer.take("mlp.Wi.weight", "ffn_up.weight", 2*b.IntermediateSize, b.HiddenSize)
		layer.take("mlp.Wo.weight", "ffn_down.weight", b.HiddenSize, b.IntermediateSize)
	}
}
