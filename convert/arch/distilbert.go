package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// DistilBERT is BERT with names of its own and without embeddings of kinds of texts. What guesses words is left out.
var DistilBERT = Architecture{
	Class:      "DistilBertModel",
	Others:     []string{"DistilBertForMaskedLM"},
	Name:       "bert",
	Family:     "DistilBERT",
	Special:    "embeddings; what guesses words is left out",
	Embeddings: true,
	read: func(r *reader) family {
		r.setDefaults(hparams{"vocab_size": int64(30522), "dim": int64(768), "n_layers": int64(6), "n_heads": int64(12), "hidden_dim": int64(3072),
			"max_position_embeddings": int64(512)})
		if _, act := r.text("activation"); act != "" && act != "gelu" {
			r.fail(gguf.ErrUnsupported, "activation is %s, the architecture's is gelu", show(act))
		}
		r.can = layerNorms
		return &distilBERT{bert{Config: r.dense()}}
	},
}

type distilBERT struct{ bert }

func (d *distilBERT) rules(rules *vocab.Rules) { rules.TokenTypes = 1 }

// keys has what DistilBertModel.set_gguf_parameters adds.
func (d *distilBERT) keys(k *keys) {
	k.set("attention.layer_norm_epsilon", float32(1e-12))
	d.bert.keys(k)
}

func (d *distilBERT) tensors(m mapper) {
	m.ignore("model.vocab_")
	body := m.below("distilbert.", "embeddings.word_embeddings.weight")
	body.ignore("embeddings.position_ids")
	body.take("embeddings.word_embeddings.weight", "token_embd.weight", d.VocabSize, d.HiddenSize)
	body.take("embeddings.position_embeddings.weight", "position_embd.weight", d.MaxPositions, d.HiddenSize)
	d.bertNorm(body, "embeddings.LayerNorm", "token_embd_norm")
	for _, layer := range body.layersOf("transformer.layer.", d.Layers) {
		d.block(layer, bertNames{
			query: "attention.q_lin", key: "attention.k_lin", value: "attention.v_lin", output: "attention.out_lin",
			up: "ffn.lin1", down: "ffn.lin2", attentionNorm: "sa_layer_norm", norm: "output_layer_norm",
		})
	}
}

// distilBERT makes config.json of a model of BERT's kind one of DistilBERT.
func (r *restorer) distilBERT() {
	r.set("architectures", []string{DistilBERT.Class})
	r.set("model_type", "distilbert")
	for _, names := range [][2]string{
		{"hidden_size", "dim"}, {"num_hidden_layers", "n_layers"}, {"num_attention_heads", "n_heads"}, {"intermediate_size", "hidden_dim"},
		{"hidden_act", "activation"},
	} {
		r.rename(names[0], names[1])
	}
	delete(r.params, "layer_norm_eps")
}
