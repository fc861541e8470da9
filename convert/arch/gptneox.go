package arch

import (
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// GPTNeoX is GPT-NeoX and Pythia: norms of which the mean is subtracted, biases, no gates,
// part of each head is rotated. Queries, keys and values are saved head by head.
// convert_hf_to_gguf.py cannot convert what transformers 5 makes of its config.json.
var GPTNeoX = Architecture{
	Class:      "GPTNeoXForCausalLM",
	Name:       "gptneox",
	Family:     "GPT-NeoX, Pythia",
	Special:    "as published, which convert_hf_to_gguf.py with transformers 5 cannot read",
	Vocabulary: vocab.Rules{Pre: map[string]string{"gpt-2": "olmo"}},
	read:       readGPTNeoX,
	restore: func(r *restorer) {
		delete(r.params, "num_key_value_heads")
		r.rename("rope_theta", "rotary_emb_base")
		r.partial("rotary_pct", r.whole("embedding_length")/max(1, r.whole("attention.head_count")), 1)
		r.take("use_parallel_residual", "use_parallel_residual")
		r.set("attention_bias", r.has("blk.0.attn_output.bias"))
		r.set("hidden_act", "gelu")
		r.set("model_type", "gpt_neox")
		r.usual, r.saved = "model.", ""
	},
}

type gptNeoX struct {
	Config
	parallel bool
}

func readGPTNeoX(r *reader) family {
	r.setDefaults(hparams{"max_position_embeddings": int64(2048), "layer_norm_eps": 1e-5, "rotary_pct": 0.25})
	r.setDefaults(hparams{"partial_rotary_factor": r.hparams["rotary_pct"]}) // as transformers calls it now
	r.can = layerNorms | partialRotary
	g := &gptNeoX{r.dense("gelu", "gelu_fast", "gelu_new"), r.hparams["use_parallel_residual"] != false}
	if g.KVHeads != g.Heads {
		r.fail(gguf.ErrUnsupported, "%s with fewer num_key_value_heads", r.class)
	}
	g.refuseScaling(r)
	return g
}

// keys are those of GPTNeoXModel.set_gguf_parameters, and another base than llama.cpp's.
func (g *gptNeoX) keys(k *keys) {
	k.set("context_length", uint32(g.MaxPositions))
	k.set("embedding_length", uint32(g.HiddenSize))
	k.set("block_count", uint32(g.Layers))
	k.set("feed_forward_length", uint32(g.IntermediateSize))
	k.set("rope.dimension_count", uint32(g.Rotated()))
	k.set("attention.head_count", uint32(g.Heads))
	k.set("use_parallel_residual", g.parallel)
	k.number("attention.layer_norm_epsilon", g.layerNormEps)
	g.Rope.otherBase(k)
}

// otherBase adds the base of the angles' frequencies if it is not the one that llama.cpp
// takes without a key, for architectures for which convert_hf_to_gguf.py writes none.
func (p *Rope) otherBase(k *keys) {
	if p.Base() != defaultBase {
		k.number("rope.freq_base", p.Theta)
	}
}

func (g *gptNeoX) tensors(m mapper) {
	body := m.below("gpt_neox.", "embed_in.weight")
	body.take("embed_in.weight", "token_embd.weight", g.VocabSize, g.HiddenSize)
	g.output(m, "model.embed_out.weight")
	g.layerNorm(body, "final_layer_norm", "output_norm")
	for _, layer := range body.layersOf("layers.", g.Layers) {
		g.layerNorm(layer, "input_layernorm", "attn_norm")
		g.attentionByHeads(layer, "attention.query_key_value", "attention.dense")
		g.layerNorm(layer, "post_attention_layernorm", "ffn_norm")
		g.upDown(layer, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h")
	}
}

// attentionByHeads maps queries, keys and values that are one matrix, in which those of
// each head of keys and values are together, after all of queries that it is for.
func (c *Config) attentionByHeads(layer mapper, all, output string) {
	each := c.Heads/c.KVHeads + 2
	var queries, keys, values []int64
	for group := range c.KVHeads {
		first := group * each
		for i := range each - 2 {
			queries = append(queries, first+i)
		}
		keys, values = append(keys, first+each-2), append(values, first+each-1)
	}
	from := append(append(queries, keys...), values...)
	rows := c.queries() + 2*c.keysOrValues()
	layer.put("attn_qkv.weight", weights.Reorder(layer.get(all+".weight", rows, c.HiddenSize), from))
	if layer.has(all + ".bias") {
		layer.put("attn_qkv.bias", weights.Reorder(layer.get(all+".bias", rows), from))
	}
	layer.take(output+".weight", "attn_output.weight", c.HiddenSize, c.queries())
	layer.takeAny(output+".bias", "attn_output.bias", c.HiddenSize)
}
