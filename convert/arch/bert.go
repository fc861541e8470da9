package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// BERT is an encoder whose stream is normalised after attention and after the network, with
// embeddings of positions and of kinds of texts. What guesses words and pairs is left out.
var BERT = Architecture{
	Class:      "BertModel",
	Others:     []string{"BertForMaskedLM"},
	Name:       "bert",
	Family:     "BERT",
	Special:    "embeddings; what guesses words is left out",
	Embeddings: true,
	read:       func(r *reader) family { return readBERT(r, "bert.", 0, false) },
	restore: func(r *restorer) {
		r.set("hidden_act", "gelu")
		r.set("model_type", "bert")
		if i, ok := r.index["token_types.weight"]; ok {
			r.set("type_vocab_size", r.src.Tensors()[i].Rows())
		} else {
			r.distilBERT()
		}
		delete(r.params, "num_key_value_heads")
		delete(r.params, "attention_bias")
		delete(r.params, "is_causal")
		r.usual, r.saved = "model.", ""
	},
}

// RoBERTa is BERT whose positions are counted from behind the number of the padding token on.
var RoBERTa = Architecture{
	Class:      "RobertaModel",
	Name:       "bert",
	Family:     "RoBERTa",
	Special:    "positions are counted from behind the padding token",
	Embeddings: true,
	read:       func(r *reader) family { return readBERT(r, "roberta.", 1, true) },
}

// CamemBERT is RoBERTa with a vocabulary of SentencePiece's Unigram. convert_hf_to_gguf.py takes it for BERT, with words
// of WordPiece and positions from the first on: what comes out is not what transformers computes.
var CamemBERT = Architecture{
	Class:      "CamembertModel",
	Name:       "bert",
	Family:     "CamemBERT",
	Special:    "RoBERTa with a Unigram vocabulary; `convert_hf_to_gguf.py` makes another of it",
	Embeddings: true,
	Vocabulary: vocab.Rules{Camembert: true, Added: []vocab.RoleFlag{{Role: "bos", Add: true}, {Role: "eos", Add: true}}},
	read:       RoBERTa.read,
}

// XLMRoBERTa is RoBERTa with a vocabulary of SentencePiece's Unigram.
var XLMRoBERTa = Architecture{
	Class:      "XLMRobertaModel",
	Name:       "bert",
	Family:     "XLM-RoBERTa",
	Special:    "RoBERTa with a Unigram vocabulary",
	Embeddings: true,
	read: func(r *reader) family {
		if r.has("lora_adaptations") {
			r.fail(gguf.ErrUnsupported, "%s with lora_adaptations (jina-embeddings-v3)", r.class)
		}
		return readBERT(r, "roberta.", 1, true)
	},
}

type bert struct {
	Config
	prefix string // of the tensors, in models that also do something else
	kinds  int64  // of texts
	offset int64  // of positions
}

// readBERT reads config.json of BERT's kind, of which the padding token is pad where it is
// not said.
func readBERT(r *reader, prefix string, pad int64, positionsBehindPad bool) family {
	r.setDefaults(hparams{"vocab_size": int64(30522), "hidden_size": int64(768), "num_hidden_layers": int64(12), "num_attention_heads": int64(12),
		"intermediate_size": int64(3072), "max_position_embeddings": int64(512), "type_vocab_size": int64(2), "layer_norm_eps": 1e-12})
	if _, act := r.text("position_embedding_type"); act != "" && act != "absolute" {
		r.fail(gguf.ErrUnsupported, "position_embedding_type is %s", show(act))
	}
	b := &bert{prefix: prefix, kinds: r.needed(1, 1<<16, "type_vocab_size")}
	if positionsBehindPad {
		if !r.has("pad_token_id") {
			r.hparams["pad_token_id"] = pad
		}
		if v := r.whole(0, 1<<16, "pad_token_id"); v != nil {
			b.offset = 1 + *v
		}
		if positions := r.needed(1, 1<<31, "max_position_embeddings"); positions <= b.offset {
			r.fail(gguf.ErrCorrupt, "max_position_embeddings is %d, the first is %d", positions, b.offset)
		} else {
			r.hparams["max_position_embeddings"] = positions - b.offset
		}
	}
	r.can = layerNorms
	b.Config = r.dense("gelu")
	if b.KVHeads != b.Heads {
		r.fail(gguf.ErrUnsupported, "%s with fewer num_key_value_heads", r.class)
	}
	return b
}

// rules has how many kinds of texts there are.
func (b *bert) rules(rules *vocab.Rules) { rules.TokenTypes = uint32(b.kinds) }

// keys has what BertModel.set_gguf_parameters adds.
func (b *bert) keys(k *keys) {
	b.commonKeys(k)
	k.set("attention.causal", false)
}

func (b *bert) tensors(m mapper) {
	body := m.below(b.prefix, "embeddings.word_embeddings.weight")
	for _, start := range []string{"pooler.", "embeddings.position_ids"} {
		body.ignore(start)
	}
	for _, start := range []string{"model.cls.", "lm_head."} {
		m.ignore(start)
	}
	body.take("embeddings.word_embeddings.weight", "token_embd.weight", b.VocabSize, b.HiddenSize)
	positions := body.get("embeddings.position_embeddings.weight", b.MaxPositions+b.offset, b.HiddenSize)
	if b.offset > 0 {
		positions = weights.Slice(positions, b.offset, b.MaxPositions)
	}
	m.put("position_embd.weight", positions)
	body.take("embeddings.token_type_embeddings.weight", "token_types.weight", b.kinds, b.HiddenSize)
	b.bertNorm(body, "embeddings.LayerNorm", "token_embd_norm")
	for _, layer := range body.layersOf("encoder.layer.", b.Layers) {
		b.block(layer, bertNames{
			query: "attention.self.query", key: "attention.self.key", value: "attention.self.value", output: "attention.output.dense",
			up: "intermediate.dense", down: "output.dense", attentionNorm: "attention.output.LayerNorm", norm: "output.LayerNorm",
		})
	}
}

// bertNames are those of what a layer has.
type bertNames struct{ query, key, value, output, up, down, attentionNorm, norm string }

// block maps a layer.
func (b *bert) block(layer mapper, names bertNames) {
	b.matrix(layer, names.query, "attn_q", b.HiddenSize, b.HiddenSize)
	b.matrix(layer, names.key, "attn_k", b.HiddenSize, b.HiddenSize)
	b.matrix(layer, names.value, "attn_v", b.HiddenSize, b.HiddenSize)
	b.matrix(layer, names.output, "attn_output", b.HiddenSize, b.HiddenSize)
	b.bertNorm(layer, names.attentionNorm, "attn_output_norm")
	b.matrix(layer, names.up, "ffn_up", b.IntermediateSize, b.HiddenSize)
	b.matrix(layer, names.down, "ffn_down", b.HiddenSize, b.IntermediateSize)
	b.bertNorm(layer, names.norm, "layer_output_norm")
}

// matrix maps a matrix with its bias.
func (b *bert) matrix(m mapper, source, name string, rows, length int64) {
	m.take(source+".weight", name+".weight", rows, length)
	m.take(source+".bias", name+".bias", rows)
}

// bertNorm maps a norm, which old models have under the names of TensorFlow.
func (b *bert) bertNorm(m mapper, source, name string) {
	weight, bias := ".weight", ".bias"
	if !m.has(source + weight) {
		weight, bias = ".gamma", ".beta"
	}
	m.take(source+weight, name+".weight", b.HiddenSize)
	m.take(source+bias, name+".bias", b.HiddenSize)
}
