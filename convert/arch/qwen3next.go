package arch

import (
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Qwen3Next is Qwen 3 Next: a mixture of experts with a shared one, where three of four layers
// have linear attention, the gated delta rule, and what the others attend to goes through a
// gate. Norms multiply by 1 + weight, which GGUF has as the weight. Layers that predict the
// tokens after the next (mtp) come behind the others.
var Qwen3Next = Architecture{
	Class:   "Qwen3NextForCausalLM",
	Name:    "qwen3next",
	Family:  "Qwen 3 Next",
	Special: "gated delta rule in most layers; layers that predict more tokens (`mtp.`) come last",
	types: []modelType{{
		name: "qwen3_next", theta: 10000, partial: 0.25, derive: linearAttentionTypes,
		renamed: map[string]string{"num_experts": "num_local_experts"},
		fields: append(linearAttentionFields(denseFields(151936, 2048, 5632, 48, 16, 32768, 1e-6)),
			field{"num_key_value_heads", whole, int64(2)}, field{"decoder_sparse_step", whole, int64(1)}, field{"moe_intermediate_size", whole, int64(512)},
			field{"shared_expert_intermediate_size", whole, int64(512)}, field{"num_experts_per_tok", whole, int64(10)},
			field{"num_experts", whole, int64(512)}, field{"norm_topk_prob", flag, true}, field{"output_router_logits", flag, false},
			field{"router_aux_loss_coef", decimal, 0.001}, field{"mlp_only_layers", wholes | null, nil},
		),
	}},
	read: func(r *reader) family {
		r.can = partialRotary
		q := &qwen3Next{qwenMixture: readQwenMixture(r)}
		q.linearAttention = r.linearAttention(&q.Config)
		return q
	},
	experts: "num_experts",
	restore: func(r *restorer) {
		r.qwenMixture(true)
		r.linearAttention()
	},
}

// linearAttentionFields adds what classes with linear attention have.
func linearAttentionFields(fields []field) []field {
	return append(fields,
		field{"attention_bias", flag, false}, field{"attention_dropout", whole | decimal, 0.0}, field{"head_dim", whole, int64(256)},
		field{"linear_conv_kernel_dim", whole, int64(4)}, field{"linear_key_head_dim", whole, int64(128)}, field{"linear_value_head_dim", whole, int64(128)},
		field{"linear_num_key_heads", whole, int64(16)}, field{"linear_num_value_heads", whole, int64(32)}, field{"layer_types", texts | null, nil})
}

// linearAttentionTypes sets layer_types where they are not said.
func linearAttentionTypes(h hparams) {
	layers := h["num_hidden_layers"].(int64)
	if h["layer_types"] != nil || layers >= 1<<16 {
		return
	}
	every := int64(4)
	if n, ok := h["full_attention_interval"].(int64); ok && n > 0 {
		every = n
	}
	delete(h, "full_attention_interval")
	var types []any
	for i := range layers {
		name := "linear_attention"
		if (i+1)%every == 0 {
			name = "full_attention"
		}
		types = append(types, name)
	}
	h["layer_types"] = types
}

// linearAttention is what models of which some layers have the gated delta rule say of it,
// and of the layers that predict the tokens after the next.
type linearAttention struct {
	kernel, keyHead, valueHead, keyHeads, valueHeads int64

	linear   []bool // which layers have it
	types    bool   // config.json says so layer by layer
	interval int64  // or of how many layers one has not
	rotated  int64

	saidPredictors int64 // layers behind the others, 0 where it is the tensors that tell
	predictors     int64 // how many there are
	noPredictors   bool  // they are left out
}

func (r *reader) linearAttention(c *Config) linearAttention {
	l := linearAttention{
		kernel: r.needed(1, 1<<16, "linear_conv_kernel_dim"), keyHead: r.needed(1, 1<<16, "linear_key_head_dim"),
		valueHead: r.needed(1, 1<<16, "linear_value_head_dim"), keyHeads: r.needed(1, 1<<16, "linear_num_key_heads"),
		valueHeads: r.needed(1, 1<<16, "linear_num_value_heads"), interval: 4,
		saidPredictors: orZero(r.whole(0, 1<<10, "mtp_num_hidden_layers")),
	}
	if n := r.whole(1, 1<<16, "full_attention_interval"); n != nil {
		l.interval = *n
	}
	if r.err == nil && l.valueHeads%l.keyHeads != 0 {
		r.fail(gguf.ErrCorrupt, "linear_num_value_heads %d is not a multiple of linear_num_key_heads %d", l.valueHeads, l.keyHeads)
	}
	part := 0.25
	if c.Rope.partial != nil {
		part = *c.Rope.partial
	}
	l.rotated = int64(part * float64(c.HeadLength()))
	types := r.texts("layer_types")
	if l.types = types != nil; l.types && int64(len(types)) != c.Layers {
		r.fail(gguf.ErrCorrupt, "layer_types has %d of num_hidden_layers %d", len(types), c.Layers)
	}
	if r.err != nil {
		return l
	}
	for i := range c.Layers {
		linear := (i+1)%l.interval != 0
		if l.types {
			linear = types[i] == "linear_attention"
		}
		l.linear = append(l.linear, linear)
	}
	return l
}

// keys has what Qwen3NextModel.set_gguf_parameters adds to what the model without linear
// attention has.
func (l *linearAttention) keys(k *keys) {
	predictors := make([]bool, l.predictors)
	k.set("block_count", uint32(len(l.linear)+len(predictors)))
	if l.predictors > 0 {
		k.set("nextn_predict_layers", uint32(l.predictors))
	}
	k.set("ssm.conv_kernel", uint32(l.kernel))
	k.set("ssm.state_size", uint32(l.keyHead))
	k.set("ssm.group_count", uint32(l.keyHeads))
	k.set("ssm.time_step_rank", uint32(l.valueHeads))
	k.set("ssm.inner_size", uint32(l.valueHeads*l.valueHead))
	if l.types {
		k.set("attention.recurrent_layers", slices.Concat(l.linear, predictors))
	}
	k.set("full_attention_interval", uint32(l.interval))
	k.set("rope.dimension_count", uint32(l.rotated))
}

// linearAttention is the reverse of linearAttention.keys.
func (r *restorer) linearAttention() {
	predictors := r.layers("nextn_predict_layers")
	layers := r.whole("block_count") - predictors
	r.set("num_hidden_layers", layers)
	if predictors > 0 {
		r.set("mtp_num_hidden_layers", predictors)
	}
	for _, p := range []struct{ key, name string }{
		{"ssm.conv_kernel", "linear_conv_kernel_dim"}, {"ssm.state_size", "linear_key_head_dim"}, {"ssm.group_count", "linear_num_key_heads"},
		{"ssm.time_step_rank", "linear_num_value_heads"}, {"full_attention_interval", "full_attention_interval"},
	} {
		r.take(p.key, p.name)
	}
	r.set("linear_value_head_dim", r.whole("ssm.inner_size")/max(1, r.whole("ssm.time_step_rank")))
	r.partial("partial_rotary_factor", r.whole("attention.key_length"), 1)
	linear, err := gguf.Value[[]bool](r.src.Metadata(), r.prefix+"attention.recurrent_layers")
	if err == nil && int64(len(linear)) < layers {
		r.fail(fmt.Errorf("%w: metadata key %sattention.recurrent_layers is of %d layers", gguf.ErrCorrupt, r.prefix, len(linear)))
		return
	}
	if err == nil {
		types := make([]string, layers)
		for i := range types {
			if types[i] = "full_attention"; linear[i] {
				types[i] = "linear_attention"
			}
		}
		r.set("layer_types", types)
	}
}

// layers maps the layers of a model, by a function that maps what follows the mixer.
func (l *linearAttention) layers(m mapper, c *Config, delta func(layer mapper), network func(layer mapper)) {
	for i, layer := range m.layers(c.Layers) {
		l.plusOneNorms(layer, c)
		if l.linear[i] {
			delta(layer)
		} else {
			l.gatedAttention(layer, c)
		}
		network(layer)
	}
	if l.noPredictors {
		m.ignore("mtp.")
		return
	}
	l.predictors = l.saidPredictors
	if l.saidPredictors == 0 && m.imagined == nil {
		for m.has(fmt.Sprintf("mtp.layers.%d.input_layernorm.weight", l.predictors)) {
			l.predictors++
		}
	}
	for i, layer := range m.layersFrom("mtp.layers.", c.Layers, l.predictors) {
		if i == c.Layers && m.has("mtp.fc.weight") {
			layer := mapper{m.plan, "mtp.", layer.to + "nextn."}
			layer.take("fc.weight", "eh_proj.weight", c.HiddenSize, 2*c.HiddenSize)
			c.normPlusOne(layer, "norm.weight", "shared_head_norm.weight")
			c.normPlusOne(layer, "pre_fc_norm_embedding.weight", "enorm.weight")
			c.normPlusOne(layer, "pre_fc_norm_hidden.weight", "hnorm.weight")
		}
		if layer.has("input_layernorm.weight") { // they may be missing although config.json has them
			l.plusOneNorms(layer, c)
			l.gatedAttention(layer, c)
			network(layer)
		}
	}
}

func (l *linearAttention) plusOneNorms(layer mapper, c *Config) {
	c.normPlusOne(layer, "input_layernorm.weight", "attn_norm.weight")
	c.normPlusOne(layer, "post_attention_layernorm.weight", "post_attention_norm.weight")
}

// gatedAttention maps a layer's attention. Of each head the gate of what it gives follows the query.
func (l *linearAttention) gatedAttention(layer mapper, c *Config) {
	layer.take("self_attn.q_proj.weight", "attn_q.weight", 2*c.queries(), c.HiddenSize)
	layer.take("self_attn.k_proj.weight", "attn_k.weight", c.keysOrValues(), c.HiddenSize)
	layer.take("self_attn.v_proj.weight", "attn_v.weight", c.keysOrValues(), c.HiddenSize)
	layer.take("self_attn.o_proj.weight", "attn_output.weight", c.HiddenSize, c.queries())
	layer.put("attn_q_norm.weight", oneMore(layer.get("self_attn.q_norm.weight", c.HeadLength())))
	layer.put("attn_k_norm.weight", oneMore(layer.get("self_attn.k_norm.weight", c.HeadLength())))
}

// allKeys and allValues return the number of elements of all heads of linear attention.
func (l *linearAttention) allKeys() int64   { return l.keyHeads * l.keyHead }
func (l *linearAttention) allValues() int64 { return l.valueHeads * l.valueHead }

// delta maps a gated delta rule, but for what makes its inputs. Order is that of value heads.
func (l *linearAttention) delta(layer mapper, order valueOrder) {
	layer.put("ssm_a", decay(order(layer.get("linear_attn.A_log", l.valueHeads), 0, 1)))
	layer.put("ssm_dt.bias", order(layer.get("linear_attn.dt_bias", l.valueHeads), 0, 1))
	channels := 2*l.allKeys() + l.allValues()
	convolved := layer.get("linear_attn.conv1d.weight", channels, 1, l.kernel)
	layer.put("ssm_conv1d.weight", weights.Reshape(order(convolved, 2*l.allKeys(), l.valueHead), channels, l.kernel))
	layer.take("linear_attn.norm.weight", "ssm_norm.weight", l.valueHead)
}

// valueOrder orders rows of value heads of a size, behind so many others.
type valueOrder func(r weights.Rows, others, size int64) weights.Rows

func asTheyAre(r weights.Rows, _, _ int64) weights.Rows { return r }

type qwen3Next struct {
	qwenMixture
	linearAttention
}

func (q *qwen3Next) keys(k *keys) {
	q.qwenMixture.keys(k)
	q.linearAttention.keys(k)
}

func (q *qwen3Next) tensors(m mapper) {
	q.embeddings(m)
	q.normPlusOne(m, "model.norm.weight", "output_norm.weight")
	fused := m.areFused()
	q.layers(m, &q.Config, q.mixed, func(layer mapper) {
		q.network(layer, fused)
		q.shared(layer)
	})
}

// mixed maps a gated delta rule whose inputs are made head by head: of each head of keys a
// query, the key, and the values and gates of the heads that share it. In GGUF all queries,
// keys and values follow one another, and the gates are a matrix of their own.
func (q *qwen3Next) mixed(layer mapper) {
	q.delta(layer, asTheyAre)
	values := q.allValues() / q.keyHeads // of a head of keys
	size := gcd(q.keyHead, values)
	var from []int64
	first := int64(0)
	for _, part := range []int64{q.keyHead, q.keyHead, values, values} {
		for head := range q.keyHeads {
			for block := range part / size {
				from = append(from, head*2*(q.keyHead+values)/size+first/size+block)
			}
		}
		first += part
	}
	convolved := 2*q.allKeys() + q.allValues()
	all := weights.Reorder(layer.get("linear_attn.in_proj_qkvz.weight", convolved+q.allValues(), q.HiddenSize), from)
	layer.put("attn_qkv.weight", weights.Slice(all, 0, convolved))
	layer.put("attn_gate.weight", weights.Slice(all, convolved, q.allValues()))
	layer.take("linear_attn.in_proj_ba.weight", "ssm_ba.weight", 2*q.valueHeads, q.HiddenSize)
	layer.take("linear_attn.out_proj.weight", "ssm_out.weight", q.HiddenSize, q.allValues())
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
