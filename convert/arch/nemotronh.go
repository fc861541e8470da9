package arch

import (
	"slices"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// NemotronH is Nemotron-H, Nemotron Nano 2 and Nemotron 3: every layer is one of Mamba 2, of
// attention without positions, a network without a gate, whose activation is the square of the
// positive part, or a mixture of such experts with a shared one. Models with a mixture are of an
// architecture of their own: here the layers tell, where convert_hf_to_gguf.py takes any that
// says num_experts_per_tok for one.
var NemotronH = Architecture{
	Family:     "Nemotron-H, Nemotron 3",
	Special:    "Mamba 2, attention, networks and experts by turns; whether there are experts is told by the layers",
	Class:      "NemotronHForCausalLM",
	Name:       "nemotron_h",
	Variants:   []string{"nemotron_h_moe"},
	Vocabulary: vocab.Rules{Pre: map[string]string{"tekken": "pixtral"}},
	read:       readNemotronH,
	restore:    (*restorer).nemotronH,
}

// nemotronHDefaults are what transformers has for parameters that are missing.
var nemotronHDefaults = map[string]any{
	"head_dim": int64(128), "num_key_value_heads": int64(8), "layer_norm_epsilon": 1e-5, "ssm_state_size": int64(128), "mamba_num_heads": int64(128),
	"mamba_head_dim": int64(64),
}

// nemotronHExperts is nemotronHDefaults for models with experts.
var nemotronHExperts = map[string]any{
	"intermediate_size": int64(21504), "n_routed_experts": int64(8), "n_shared_experts": int64(1), "moe_intermediate_size": int64(7688),
	"moe_shared_expert_intermediate_size": int64(7688), "num_experts_per_tok": int64(2), "routed_scaling_factor": 1.0, "n_group": int64(1),
	"topk_group": int64(1), "norm_topk_prob": true,
}

// The kinds of layers, as patterns of layers write them.
const (
	mambaLayer, attentionLayer, networkLayer, mixtureLayer = 'M', '*', '-', 'E'
)

var nemotronHTypes = map[string]byte{
	"mamba": mambaLayer, "linear_attention": mambaLayer, "attention": attentionLayer, "full_attention": attentionLayer, "mlp": networkLayer,
	"moe": mixtureLayer,
}

type nemotronH struct {
	Config
	mamba2
	layers []byte // their kinds
	headDim,
	experts, width, sharedWidth, sharedExperts, latent int64
	predictors int64 // layers behind the others, of attention and a mixture
	normalized bool
	factor     float64
}

func readNemotronH(r *reader) family {
	n := &nemotronH{layers: r.nemotronHLayers()}
	defaults := []map[string]any{nemotronHDefaults}
	if n.mixed() {
		defaults = append(defaults, nemotronHExperts)
	} else {
		for name := range nemotronHExperts {
			if name != "intermediate_size" {
				delete(r.hparams, name)
			}
		}
	}
	for _, values := range defaults {
		for name, v := range values {
			if !r.has(name) {
				r.hparams[name] = v
			}
		}
	}
	r.hparams["num_hidden_layers"] = int64(len(n.layers))
	n.headDim = r.needed(2, 1<<16, "head_dim", "attention_head_dim")
	delete(r.hparams, "head_dim") // but for attention it is not looked at
	r.can = layerNorms
	n.Config = r.config()
	if name, act := r.text("mlp_hidden_act"); act != "" && act != "relu2" {
		r.fail(gguf.ErrUnsupported, "%s is %s, the architecture's is relu2", name, show(act))
	}
	n.heads = r.needed(1, 1<<16, "n_heads", "num_heads", "mamba_n_heads", "mamba_num_heads")
	n.mamba2 = mamba2{
		width: n.HiddenSize, heads: n.heads, inner: n.heads * r.needed(1, 1<<16, "mamba_head_dim"), state: r.needed(1, 1<<16, "state_size", "ssm_state_size"),
		groups: r.or(8, "n_groups", "num_groups", "mamba_n_groups"), kernel: r.or(4, "conv_kernel", "d_conv", "mamba_d_conv"),
	}
	n.check(r)
	if !n.mixed() {
		return n
	}
	n.experts, n.sharedExperts = orZero(n.expertCount), r.needed(0, 1<<16, "n_shared_experts")
	n.width, n.sharedWidth = r.needed(1, 1<<24, "moe_intermediate_size"), r.needed(1, 1<<24, "moe_shared_expert_intermediate_size")
	n.latent = orZero(r.whole(1, 1<<24, "moe_latent_size"))
	n.normalized = isTrue(r.hparams["norm_topk_prob"])
	if v := r.number("routed_scaling_factor"); v != nil {
		n.factor = *v
	}
	if n.predictors = orZero(r.whole(0, 1<<10, "num_nextn_predict_layers")); n.predictors > 1 {
		r.fail(gguf.ErrUnsupported, "num_nextn_predict_layers is %d", n.predictors)
	}
	if used := orZero(n.expertsPerToken); r.err == nil && (used < 1 || used > n.experts) {
		r.fail(gguf.ErrCorrupt, "num_experts_per_tok is %d of %d experts", used, n.experts)
	}
	return n
}

// nemotronHLayers returns the kinds of all layers, of a pattern or a list.
func (r *reader) nemotronHLayers() []byte {
	var layers []byte
	if name, pattern := r.text("hybrid_override_pattern"); pattern != "" {
		for _, c := range []byte(pattern) {
			if !slices.Contains([]byte{mambaLayer, attentionLayer, networkLayer, mixtureLayer}, c) {
				r.fail(gguf.ErrUnsupported, "%s has layers %q", name, c)
			}
		}
		layers = []byte(pattern)
	} else {
		for _, name := range r.texts("layers_block_type") {
			c, ok := nemotronHTypes[name]
			if !ok {
				r.fail(gguf.ErrUnsupported, "layers_block_type has %s", show(name))
			}
			layers = append(layers, c)
		}
	}
	if len(layers) == 0 || len(layers) >= 1<<16 {
		r.fail(gguf.ErrCorrupt, "hybrid_override_pattern or layers_block_type is of %d layers", len(layers))
	}
	return layers
}

func (n *nemotronH) mixed() bool { return slices.Contains(n.layers, mixtureLayer) }

func (n *nemotronH) variant() string {
	if n.mixed() {
		return "nemotron_h_moe"
	}
	return ""
}

// are reports which layers are of one of some kinds. The layer that predicts the token after
// the next is of attention and a mixture.
func (n *nemotronH) are(kinds ...byte) []bool {
	var list []bool
	for _, c := range n.layers {
		list = append(list, slices.Contains(kinds, c))
	}
	for range n.predictors {
		list = append(list, true)
	}
	return list
}

// keys has what NemotronHModel.set_gguf_parameters adds.
func (n *nemotronH) keys(k *keys) {
	n.commonKeys(k)
	n.llamaKeys(k)
	k.set("block_count", uint32(int64(len(n.layers))+n.predictors))
	n.hybridKeys(k)
	k.set("attention.head_count_kv", onlyWhere(n.are(attentionLayer), n.KVHeads))
	k.set("rope.scaling.finetuned", false)
	k.set("context_length", uint32(endless))
	k.set("attention.key_length", uint32(n.headDim))
	k.set("attention.value_length", uint32(n.headDim))
	if !n.mixed() {
		k.set("feed_forward_length", onlyWhere(n.are(networkLayer), n.IntermediateSize))
		return
	}
	k.set("feed_forward_length", onlyWhere(n.are(mixtureLayer), n.width))
	k.set("expert_feed_forward_length", uint32(n.width))
	k.set("expert_shared_feed_forward_length", uint32(n.sharedWidth))
	k.set("expert_shared_count", uint32(n.sharedExperts))
	k.set("expert_weights_norm", n.normalized)
	k.set("expert_weights_scale", float32(n.factor))
	if n.latent > 0 {
		k.set("moe_latent_size", uint32(n.latent))
	}
	if n.predictors > 0 {
		k.set("nextn_predict_layers", uint32(n.predictors))
	}
}

func (n *nemotronH) tensors(m mapper) {
	embeddings := "backbone.embeddings.weight"
	if m.imagined == nil && m.has("backbone.embedding.weight") {
		embeddings = "backbone.embedding.weight"
	}
	m.take(embeddings, "token_embd.weight", n.VocabSize, n.HiddenSize)
	m.take("backbone.norm_f.weight", "output_norm.weight", n.HiddenSize)
	m.takeAny("lm_head.weight", "output.weight", n.VocabSize, n.HiddenSize)
	for i, layer := range m.layersOf("backbone.layers.", int64(len(n.layers))) {
		layer.take("norm.weight", "attn_norm.weight", n.HiddenSize)
		n.mixer(layer, n.layers[i])
	}
	for i, layer := range m.layersFrom("mtp.layers.", int64(len(n.layers)), n.predictors) {
		to := layer.to
		layer.take("norm.weight", "attn_norm.weight", n.HiddenSize)
		n.mixer(layer, attentionLayer)
		layer.take("eh_proj.weight", "nextn.eh_proj.weight", n.HiddenSize, 2*n.HiddenSize)
		layer.take("enorm.weight", "nextn.enorm.weight", n.HiddenSize)
		layer.take("hnorm.weight", "nextn.hnorm.weight", n.HiddenSize)
		for _, layer := range m.layersFrom("mtp.layers.", i-1, 2) { // the second of two
			if layer.to != to {
				continue
			}
			layer.take("norm.weight", "post_attention_norm.weight", n.HiddenSize)
			n.mixer(layer, mixtureLayer)
			layer.take("final_layernorm.weight", "nextn.shared_head_norm.weight", n.HiddenSize)
		}
	}
	if n.predictors == 0 {
		m.ignore("mtp.")
	}
}

// mixer maps what a layer of a kind is made of.
func (n *nemotronH) mixer(layer mapper, kind byte) {
	switch kind {
	case mambaLayer:
		n.mamba2.tensors(layer, "mixer.")
	case attentionLayer:
		queries, keys := n.Heads*n.headDim, n.KVHeads*n.headDim
		layer.put("attn_q.weight", weights.Interleave(layer.get("mixer.q_proj.weight", queries, n.HiddenSize), n.Heads))
		layer.put("attn_k.weight", weights.Interleave(layer.get("mixer.k_proj.weight", keys, n.HiddenSize), n.KVHeads))
		layer.take("mixer.v_proj.weight", "attn_v.weight", keys, n.HiddenSize)
		layer.take("mixer.o_proj.weight", "attn_output.weight", n.HiddenSize, queries)
	case networkLayer:
		n.upDown(layer, "mixer.up_proj", "mixer.down_proj")
	case mixtureLayer:
		inside := n.HiddenSize
		if n.latent > 0 {
			inside = n.latent
			layer.take("mixer.fc1_latent_proj.weight", "ffn_latent_down.weight", inside, n.HiddenSize)
			layer.take("mixer.fc2_latent_proj.weight", "ffn_latent_up.weight", n.HiddenSize, inside)
		}
		layer.take("mixer.gate.weight", "ffn_gate_inp.weight", n.experts, n.HiddenSize)
		layer.takeAny("mixer.gate.e_score_correction_bias", "exp_probs_b.bias", n.experts)
		layer.together(func() {
			layer.put("ffn_down_exps.weight", layer.stack("mixer.experts.%d.down_proj.weight", n.experts, inside, n.width))
			layer.put("ffn_up_exps.weight", layer.stack("mixer.experts.%d.up_proj.weight", n.experts, n.width, inside))
		})
		layer.take("mixer.shared_experts.up_proj.weight", "ffn_up_shexp.weight", n.sharedWidth, n.HiddenSize)
		layer.take("mixer.shared_experts.down_proj.weight", "ffn_down_shexp.weight", n.HiddenSize, n.sharedWidth)
	}
}

// nemotronH is the reverse of nemotronH.keys.
func (r *restorer) nemotronH() {
	r.set("model_type", "nemotron_h")
	delete(r.params, "hidden_act")
	r.set("mlp_hidden_act", "relu2")
	r.rename("layer_norm_eps", "layer_norm_epsilon")
	for _, p := range []struct{ key, name string }{
		{"ssm.conv_kernel", "conv_kernel"}, {"ssm.state_size", "ssm_state_size"}, {"ssm.group_count", "n_groups"},
		{"ssm.time_step_rank", "mamba_num_heads"}, {"expert_count", "n_routed_experts"}, {"expert_shared_count", "n_shared_experts"},
		{"expert_feed_forward_length", "moe_intermediate_size"}, {"expert_shared_feed_forward_length", "moe_shared_expert_intermediate_size"},
		{"expert_weights_norm", "norm_topk_prob"}, {"expert_weights_scale", "routed_scaling_factor"}, {"moe_latent_size", "moe_latent_size"},
		{"nextn_predict_layers", "num_nextn_predict_layers"},
	} {
		r.take(p.key, p.name)
	}
	r.set("mamba_head_dim", r.whole("ssm.inner_size")/max(1, r.whole("ssm.time_step_rank")))
	r.set("use_conv_bias", true)
	layers := r.whole("block_count") - r.layers("nextn_predict_layers")
	r.set("num_hidden_layers", layers)
	attention, networks := r.keysAndValues(), r.list("feed_forward_length")
	if len(attention) == 0 || len(networks) == 0 {
		return
	}
	kind := byte(networkLayer)
	if r.whole("expert_count") > 0 {
		kind = mixtureLayer
	}
	pattern := make([]byte, layers)
	for i := range pattern {
		switch {
		case attention[i] > 0:
			pattern[i] = attentionLayer
		case networks[i] > 0:
			pattern[i] = kind
			if kind == networkLayer {
				r.set("intermediate_size", networks[i])
			}
		default:
			pattern[i] = mambaLayer
		}
	}
	r.set("hybrid_override_pattern", string(pattern))
	if r.params["intermediate_size"] == nil {
		r.set("intermediate_size", r.params["moe_intermediate_size"])
	}
}
