package arch

import (
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Mamba is Mamba 1 and Falcon-Mamba, which have no attention. Parameters are as they are in the
// file, with the defaults of convert_hf_to_gguf.py, which does not ask transformers.
var Mamba = Architecture{
	Class:   "MambaForCausalLM",
	Others:  []string{"MambaLMHeadModel", "FalconMambaForCausalLM"},
	Name:    "mamba",
	Family:  "Mamba 1, Falcon-Mamba",
	Special: "no attention: selective scans",
	read:    readMamba,
	restore: func(r *restorer) {
		r.mamba()
		r.set("model_type", "mamba")
		r.take("ssm.inner_size", "intermediate_size")
		r.take("ssm.time_step_rank", "time_step_rank")
		if normed, err := gguf.Value[bool](r.src.Metadata(), r.prefix+"ssm.dt_b_c_rms"); err == nil && normed {
			r.set("architectures", []string{"FalconMambaForCausalLM"})
			r.set("model_type", "falcon_mamba")
		}
	},
}

// recurrent reads what all models without attention have.
func (r *reader) recurrent() Config {
	c := Config{
		causal: true, VocabSize: r.needed(1, 1<<22, "vocab_size"), HiddenSize: r.needed(1, 1<<24, "hidden_size", "d_model", "dim"),
		Layers: r.needed(1, 1<<16, "n_layers", "num_hidden_layers", "n_layer", "num_layers"), RMSNormEps: 1e-5,
	}
	if eps := r.positive("layer_norm_epsilon", "rms_norm_eps"); eps != nil {
		c.RMSNormEps = *eps
	}
	if name, act := r.text("hidden_act"); act != "" && act != "silu" && act != "swish" {
		r.fail(gguf.ErrUnsupported, "%s is %s, the architecture's is silu", name, show(act))
	}
	return c
}

// or returns a whole number, or another where there is none.
func (r *reader) or(otherwise int64, names ...string) int64 {
	if n := r.whole(1, 1<<24, names...); n != nil && r.err == nil {
		return *n
	}
	return otherwise
}

// auto is or for a number that may also be said to be "auto".
func (r *reader) auto(otherwise int64, names ...string) int64 {
	if _, v := r.find(names...); v == "auto" {
		return otherwise
	}
	return r.or(otherwise, names...)
}

// recurrentKeys adds the keys of models without attention, up to the sizes of their states.
// Some say nothing, but llama.cpp asks for them.
func (c *Config) recurrentKeys(k *keys) {
	k.set("context_length", uint32(endless))
	k.set("embedding_length", uint32(c.HiddenSize))
	k.set("feed_forward_length", uint32(0))
	k.set("attention.head_count", uint32(0))
	k.set("block_count", uint32(c.Layers))
}

// mamba is the reverse of recurrentKeys, and of keys that are the same for Mamba 1 and 2.
func (r *restorer) mamba() {
	for _, name := range []string{"max_position_embeddings", "intermediate_size", "num_attention_heads", "num_key_value_heads"} {
		delete(r.params, name)
	}
	r.rename("rms_norm_eps", "layer_norm_epsilon")
	r.take("ssm.conv_kernel", "conv_kernel")
	r.take("ssm.state_size", "state_size")
	r.set("use_conv_bias", r.has("blk.0.ssm_conv1d.bias"))
}

// padded makes the vocabulary as large as the embeddings are, if that is the next multiple of a
// number: checkpoints of the original code have rows that no token uses.
func (c *Config) padded(m mapper, embeddings string, multiple int64) {
	rows := (c.VocabSize + multiple - 1) / multiple * multiple
	if src := m.sources[m.from+embeddings]; src != nil && len(src.Shape()) == 2 && src.Shape()[0] == rows {
		c.VocabSize = rows
	}
}

// mamba1 is a mixer of Mamba 1: a state for each channel, and what is taken up and how fast all
// decay depends on the token.
type mamba1 struct{ width, inner, state, rank, kernel int64 }

func (s *mamba1) keys(k *keys) {
	k.set("ssm.conv_kernel", uint32(s.kernel))
	k.set("ssm.inner_size", uint32(s.inner))
	k.set("ssm.state_size", uint32(s.state))
	k.set("ssm.time_step_rank", uint32(s.rank))
}

// tensors maps a mixer, of which the names begin so.
func (s *mamba1) tensors(layer mapper, start string) {
	layer.put("ssm_a", decay(layer.get(start+"A_log", s.inner, s.state)))
	layer.take(start+"D", "ssm_d", s.inner)
	convolution(layer, start, s.inner, s.kernel)
	layer.take(start+"dt_proj.bias", "ssm_dt.bias", s.inner)
	layer.take(start+"dt_proj.weight", "ssm_dt.weight", s.inner, s.rank)
	layer.take(start+"in_proj.weight", "ssm_in.weight", 2*s.inner, s.width)
	layer.take(start+"out_proj.weight", "ssm_out.weight", s.width, s.inner)
	layer.take(start+"x_proj.weight", "ssm_x.weight", s.rank+2*s.state, s.inner)
}

type mamba struct {
	Config
	mamba1
	multiple int64 // of which the vocabulary may be
	normed   bool  // dt, B and C are, as in Falcon-Mamba
}

func readMamba(r *reader) family {
	x := &mamba{Config: r.recurrent(), multiple: r.or(8, "pad_vocab_size_multiple"), normed: r.hparams["model_type"] == "falcon_mamba"}
	x.mamba1 = mamba1{
		width: x.HiddenSize, inner: r.or(2*x.HiddenSize, "intermediate_size", "d_inner"), state: r.or(16, "state_size", "d_state"),
		rank: r.auto((x.HiddenSize+15)/16, "time_step_rank", "dt_rank"), kernel: r.or(4, "conv_kernel", "d_conv"),
	}
	if r.err == nil && x.inner != 2*x.HiddenSize {
		r.fail(gguf.ErrUnsupported, "intermediate_size is %d, not twice hidden_size %d", x.inner, x.HiddenSize)
	}
	return x
}

// keys are those of MambaModel.set_gguf_parameters.
func (x *mamba) keys(k *keys) {
	x.recurrentKeys(k)
	x.mamba1.keys(k)
	k.set("attention.layer_norm_rms_epsilon", float32(x.RMSNormEps))
	k.set("ssm.dt_b_c_rms", x.normed)
	k.setFileType()
}

func (x *mamba) tensors(m mapper) {
	embeddings := "backbone.embeddings.weight"
	if m.imagined == nil && m.has("backbone.embedding.weight") {
		embeddings = "backbone.embedding.weight" // of the original code
	}
	x.padded(m, embeddings, x.multiple)
	rows := m.get(embeddings, x.VocabSize, x.HiddenSize)
	m.put("token_embd.weight", rows)
	if m.has("lm_head.weight") {
		output := m.get("lm_head.weight", x.VocabSize, x.HiddenSize)
		if !m.isCopy(output, rows) {
			m.put("output.weight", output)
		}
	}
	m.take("backbone.norm_f.weight", "output_norm.weight", x.HiddenSize)
	for _, layer := range m.layersOf("backbone.layers.", x.Layers) {
		layer.take("norm.weight", "attn_norm.weight", x.HiddenSize)
		x.mamba1.tensors(layer, "mixer.")
	}
}

// isCopy reports whether two tensors of a checkpoint hold the same. They are read for that, as
// far as they do.
func (m mapper) isCopy(a, b weights.Rows) bool {
	if m.err != nil || m.imagined != nil {
		return false
	}
	rows, length := weights.Count(a.Shape())
	some := max(1, min(rows, 1<<16/length))
	values, others := make([]float32, some*length), make([]float32, some*length)
	for first := int64(0); first < rows; first += some {
		n := min(some, rows-first)
		for _, r := range []struct {
			of  weights.Rows
			dst []float32
		}{{a, values}, {b, others}} {
			if err := r.of.ReadRows(r.dst[:n*length], first, n); err != nil {
				m.err = err
				return false
			}
		}
		for i, v := range values[:n*length] {
			if v != others[i] {
				return false
			}
		}
	}
	return true
}

// Mamba2 is Mamba 2, as Mamba is read.
var Mamba2 = Architecture{
	Class:   "Mamba2ForCausalLM",
	Name:    "mamba2",
	Family:  "Mamba 2",
	Special: "no attention: selective scans by heads",
	read:    readMamba2,
	restore: func(r *restorer) {
		r.mamba()
		r.set("model_type", "mamba2")
		r.take("ssm.group_count", "n_groups")
		r.take("ssm.time_step_rank", "num_heads")
		r.set("head_dim", r.whole("ssm.inner_size")/max(1, r.whole("ssm.time_step_rank")))
		r.set("expand", r.whole("ssm.inner_size")/max(1, r.whole("embedding_length")))
	},
}

type mamba2Model struct {
	Config
	mamba2
	multiple int64
}

func readMamba2(r *reader) family {
	x := &mamba2Model{Config: r.recurrent(), multiple: r.or(16, "pad_vocab_size_multiple")}
	expanded := r.or(2, "mamba_expand", "expand") * x.HiddenSize
	head := r.or(64, "mamba_d_head", "head_dim")
	x.mamba2 = mamba2{
		width: x.HiddenSize, inner: r.or(expanded, "mamba_d_ssm", "intermediate_size", "d_inner"), state: r.or(128, "state_size", "d_state"),
		groups: r.or(1, "n_groups"), kernel: r.or(4, "conv_kernel", "d_conv"),
	}
	x.heads = max(1, x.inner/head)
	if r.err == nil && (x.inner != expanded || x.inner%head != 0) {
		r.fail(gguf.ErrUnsupported, "%d channels of heads of %d, expand implies %d", x.inner, head, expanded)
	}
	x.check(r)
	return x
}

// keys are those of Mamba2Model.set_gguf_parameters.
func (x *mamba2Model) keys(k *keys) {
	x.recurrentKeys(k)
	x.mamba2.keys(k)
	k.set("attention.layer_norm_rms_epsilon", float32(x.RMSNormEps))
	k.setFileType()
}

func (x *mamba2Model) tensors(m mapper) {
	x.padded(m, "backbone.embeddings.weight", x.multiple)
	m.take("backbone.embeddings.weight", "token_embd.weight", x.VocabSize, x.HiddenSize)
	m.takeAny("lm_head.weight", "output.weight", x.VocabSize, x.HiddenSize)
	m.take("backbone.norm_f.weight", "output_norm.weight", x.HiddenSize)
	for _, layer := range m.layersOf("backbone.layers.", x.Layers) {
		layer.take("norm.weight", "attn_norm.weight", x.HiddenSize)
		x.mamba2.tensors(layer, "mixer.")
	}
}
