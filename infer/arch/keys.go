package arch

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
)

// maxCount bounds every hyper-parameter that counts something, so that
// products of two cannot overflow.
const maxCount = 1 << 24

// keys reads metadata under an architecture's prefix. The first error sticks.
type keys struct {
	src    gguf.Source
	meta   *gguf.Metadata
	name   string // of the architecture
	prefix string
	err    error

	layers int
	width  int

	norms   graph.NormKind
	epsilon string // key of theirs
}

// newKeys reads what all architectures have.
func newKeys(src gguf.Source, name string) (*keys, error) {
	k := &keys{src: src, meta: src.Metadata(), name: name, prefix: name + ".", epsilon: "attention.layer_norm_rms_epsilon"}
	k.layers = k.count("block_count", 1, -1)
	k.width = k.count("embedding_length", 1, -1)
	// Without this check a wrong count would cost time and memory.
	if tensors := len(src.Tensors()); k.layers > tensors {
		k.corrupt("%d tensors are not enough for %d blocks", tensors, k.layers)
	}
	return k, k.err
}

func (k *keys) fail(err error) {
	if k.err == nil {
		k.err = err
	}
}

func (k *keys) corrupt(format string, args ...any) {
	k.fail(fmt.Errorf("%w: "+format, append([]any{gguf.ErrCorrupt}, args...)...))
}

func (k *keys) unsupported(format string, args ...any) {
	k.fail(fmt.Errorf("%w: "+format, append([]any{gguf.ErrUnsupported}, args...)...))
}

// count returns an integer of at least low, or fallback where the key is
// absent; a negative fallback makes the key mandatory.
func (k *keys) count(name string, low, fallback int) int {
	key := k.prefix + name
	if v, ok := k.meta.Get(key); ok && reflect.TypeOf(v).Kind() == reflect.Slice {
		k.unsupported("%s differs from layer to layer", key)
		return low
	}
	n, err := k.meta.Uint(key)
	switch {
	case errors.Is(err, gguf.ErrNoKey) && fallback >= 0:
		return fallback
	case err != nil:
		k.fail(err)
		return low
	}
	return k.within(key, n, low)
}

// countAt is count of a key that may have a value for each layer.
func (k *keys) countAt(layer int, name string, low, fallback int) int {
	key := k.prefix + name
	v, ok := k.meta.Get(key)
	values := reflect.ValueOf(v)
	if !ok || values.Kind() != reflect.Slice {
		return k.count(name, low, fallback)
	}
	if values.Len() < k.layers {
		k.corrupt("%s has %d values for %d layers", key, values.Len(), k.layers)
		return low
	}
	switch n := values.Index(layer); {
	case n.CanUint():
		return k.within(key, n.Uint(), low)
	case n.CanInt():
		return k.within(key, uint64(n.Int()), low) // a negative one is too large then
	}
	k.corrupt("%s is %s, not integers", key, gguf.TypeName(v))
	return low
}

// within returns n if it is a count of at least low.
func (k *keys) within(key string, n uint64, low int) int {
	if n < uint64(low) || n > maxCount {
		k.corrupt("%s is %d, not within %d and %d", key, n, low, maxCount)
		return low
	}
	return int(n)
}

// float returns a number above 0, or fallback where the key is absent; a
// fallback of 0 makes the key mandatory.
func (k *keys) float(name string, fallback float64) float64 {
	key := k.prefix + name
	f, err := k.meta.Float(key)
	switch {
	case errors.Is(err, gguf.ErrNoKey) && fallback > 0:
		return fallback
	case err != nil:
		k.fail(err)
	case !(f > 0):
		k.corrupt("%s is %v, not above 0", key, f)
	}
	return f
}

// value returns the value of a key of type T, or fallback where it is absent.
func value[T any](k *keys, name string, fallback T) T {
	v, err := gguf.Value[T](k.meta, k.prefix+name)
	if errors.Is(err, gguf.ErrNoKey) {
		return fallback
	}
	if err != nil {
		k.fail(err)
	}
	return v
}

// optional returns a number, or 0 where the key is absent.
func (k *keys) optional(name string) float64 {
	f, err := k.meta.Float(k.prefix + name)
	switch {
	case errors.Is(err, gguf.ErrNoKey):
		return 0
	case err != nil:
		k.fail(err)
	case math.IsNaN(f) || math.IsInf(f, 0):
		k.corrupt("%s%s is %v", k.prefix, name, f)
	}
	return f
}

// has reports whether there is a tensor.
func (k *keys) has(name string) bool {
	return slices.ContainsFunc(k.src.Tensors(), func(t gguf.TensorInfo) bool { return t.Name == name })
}

// hasIn reports whether a layer has a tensor.
func (k *keys) hasIn(layer int, name string) bool {
	return k.has(fmt.Sprintf("blk.%d.%s", layer, name))
}

// rows returns how many rows a tensor has, 0 if there is none.
func (k *keys) rows(name string) int {
	for _, t := range k.src.Tensors() {
		if t.Name == name {
			return int(min(t.Rows(), maxCount))
		}
	}
	return 0
}

// rowsIn is rows of a tensor of a layer.
func (k *keys) rowsIn(layer int, name string) int {
	return k.rows(fmt.Sprintf("blk.%d.%s", layer, name))
}

// local reports whether the attention of a layer has a window: as the metadata say, or else
// all but every n-th has.
func (k *keys) local(layer, n int) bool {
	pattern := value[[]bool](k, "attention.sliding_window_pattern", nil)
	switch {
	case pattern == nil:
		return (layer+1)%n != 0
	case len(pattern) < k.layers:
		k.corrupt("%sattention.sliding_window_pattern has %d values for %d layers", k.prefix, len(pattern), k.layers)
		return false
	}
	return pattern[layer]
}

// layerNorms makes the norms of the model LayerNorms.
func (k *keys) layerNorms() { k.norms, k.epsilon = graph.LayerNorm, "attention.layer_norm_epsilon" }

// norm returns a norm of the model's kind.
func (k *keys) norm(name string) graph.Norm {
	return graph.Norm{Name: name, Kind: k.norms, Epsilon: k.float(k.epsilon, 0)}
}

// decoder returns a model whose layers are made one by one.
func (k *keys) decoder(layer func(i int) graph.Layer) graph.Spec {
	s := graph.Spec{
		Architecture: k.name, Vocabulary: max(1, k.rows("token_embd.weight")), Width: k.width,
		OutputNorm: k.norm("output_norm"), NextN: k.count("nextn_predict_layers", 0, 0),
	}
	if s.NextN >= k.layers {
		k.corrupt("%d of %d blocks predict further tokens", s.NextN, k.layers)
	}
	for i := range k.layers - s.NextN {
		s.Layers = append(s.Layers, layer(i))
	}
	return s
}

// encoder is decoder for a model that has no logits.
func (k *keys) encoder(layer func(i int) graph.Layer) graph.Spec {
	s := k.decoder(layer)
	s.Encoder = true
	return s
}

// preNorm returns a layer of attention and a network, each of what is normalised.
func (k *keys) preNorm(attention, network graph.Mixer) graph.Layer {
	return graph.Layer{
		{Norm: k.norm("attn_norm"), Mixers: []graph.Mixer{attention}},
		{Norm: k.norm("ffn_norm"), Mixers: []graph.Mixer{network}},
	}
}

// parallel returns a layer of mixers that see the same.
func (k *keys) parallel(mixers ...graph.Mixer) graph.Layer {
	return graph.Layer{{Norm: k.norm("attn_norm"), Mixers: mixers}}
}

// postNorm returns a layer of attention and a network, the results of which are normalised.
func (k *keys) postNorm(attention, network graph.Mixer) graph.Layer {
	return graph.Layer{
		{Mixers: []graph.Mixer{attention}, PostNorm: k.norm("post_attention_norm")},
		{Mixers: []graph.Mixer{network}, PostNorm: k.norm("post_ffw_norm")},
	}
}

// sandwich returns a layer that has norms before and after attention and network.
func (k *keys) sandwich(attention, network graph.Mixer) graph.Layer {
	layer := k.postNorm(attention, network)
	layer[0].Norm, layer[1].Norm = k.norm("attn_norm"), k.norm("ffn_norm")
	return layer
}

// attention returns that of a layer, with the scale 1/sqrt(KeyLen) and rotary embedding of
// neighbours.
func (k *keys) attention(layer int) graph.Attention {
	a := k.unrotated(layer)
	a.Rope = k.rope(a.KeyLen)
	return a
}

// neox returns the attention of a layer with rotary embedding of the halves of heads.
func (k *keys) neox(layer int) graph.Attention {
	a := k.attention(layer)
	a.Rope.NeoX = true
	return a
}

// unrotated returns the attention of a layer without rotary embedding.
func (k *keys) unrotated(layer int) graph.Attention {
	heads := k.countAt(layer, "attention.head_count", 1, -1)
	perHead := k.width / heads
	a := graph.Attention{
		Heads:    heads,
		KVHeads:  k.countAt(layer, "attention.head_count_kv", 1, heads),
		KeyLen:   k.count("attention.key_length", 1, perHead),
		ValueLen: k.count("attention.value_length", 1, perHead),
		Fused:    k.hasIn(layer, "attn_qkv.weight"),
	}
	a.Scale = float32(1 / math.Sqrt(float64(a.KeyLen)))
	switch {
	case a.KeyLen == 0 || a.ValueLen == 0:
		k.corrupt("%d heads in %d elements", heads, k.width)
	case a.Heads%a.KVHeads != 0:
		k.corrupt("%d query heads cannot share %d key heads", a.Heads, a.KVHeads)
	}
	return a
}

// rope returns the rotary embedding of neighbours in heads of n elements.
func (k *keys) rope(n int) graph.RopeSpec {
	r := graph.RopeSpec{Dims: k.count("rope.dimension_count", 1, n), Base: k.float("rope.freq_base", 10000), Factor: 1, Factors: "rope_freqs.weight"}
	k.rotated(r.Dims, n)
	r.Magnitude = k.optional("rope.scaling.attn_factor")
	if k.has(longFactors) {
		r.Factors, r.LongFactors, r.Original = "rope_factors_short.weight", longFactors, k.originalContext()
	}
	switch scaling := value(k, "rope.scaling.type", "linear"); scaling {
	case "none", "longrope":
	case "linear":
		r.Factor = k.ropeFactor()
	case "yarn":
		r.Factor = k.ropeFactor()
		k.yarn(&r)
	default:
		k.unsupported("%srope.scaling.type %q", k.prefix, scaling)
	}
	return r
}

// rotated demands that so many of the n elements of a head are pairs.
func (k *keys) rotated(dims, n int) {
	if dims > n || dims%2 != 0 {
		k.corrupt("%d of the %d elements of a head cannot be rotated in pairs", dims, n)
	}
}

const longFactors = "rope_factors_long.weight"

// originalContext returns how many tokens a model was made for before it was extended.
func (k *keys) originalContext() int {
	n := k.count("rope.scaling.original_context_length", 0, 0)
	if n == 0 {
		n = k.count("context_length", 1, -1)
	}
	return n
}

// ropeFactor returns what positions are divided by. The factor's older name is what llama.cpp
// reads in its absence. Some files say 0 where they mean none.
func (k *keys) ropeFactor() float64 {
	for _, name := range []string{"rope.scaling.factor", "rope.scale_linear"} {
		if f := k.optional(name); f > 0 {
			return f
		}
	}
	return 1
}

// yarn makes a rotary embedding one of YaRN's. Its magnitude grows with the logarithm of the
// factor (transformers' mscale), unless the metadata say otherwise.
func (k *keys) yarn(r *graph.RopeSpec) {
	r.Original = k.originalContext()
	r.Yarn = graph.Yarn{
		Fast: k.float("rope.scaling.yarn_beta_fast", 32), Slow: k.float("rope.scaling.yarn_beta_slow", 1),
		Fractional: !value(k, "rope.scaling.yarn_truncate", true),
	}
	if f := k.float("rope.scaling.yarn_ext_factor", 1); f != 1 {
		k.unsupported("%srope.scaling.yarn_ext_factor %v", k.prefix, f)
	}
	if r.Magnitude == 0 {
		r.Magnitude = 1
	}
	if given := k.optional("rope.scaling.yarn_attn_factor"); given != 0 {
		r.Magnitude *= given
		return
	}
	r.Magnitude *= yarnScale(r.Factor, 1) / yarnScale(r.Factor, k.optional("rope.scaling.yarn_log_multiplier"))
}

// yarnScale is what YaRN multiplies queries and keys with.
func yarnScale(factor, multiplier float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*multiplier*math.Log(factor) + 1
}

// network returns a gated network.
func (k *keys) network(layer int) graph.Network {
	return graph.Network{Hidden: k.countAt(layer, "feed_forward_length", 1, -1)}
}

// ungated returns a network without gate.
func (k *keys) ungated(layer int, activation graph.Activation) graph.Network {
	n := k.network(layer)
	n.Activation, n.Ungated = activation, true
	return n
}

// Numbers of llama.cpp's enum llama_expert_gating_func_type; 0 means the architecture's own.
const (
	softmaxGating = 1
	sigmoidGating = 2
)

// mixture returns a mixture of experts of a width, of an architecture that knows the softmax alone.
func (k *keys) mixture(hidden int) graph.Mixture {
	if gating := k.count("expert_gating_func", 0, softmaxGating); gating > softmaxGating {
		k.unsupported("%sexpert_gating_func %d, the softmax is %d", k.prefix, gating, softmaxGating)
	}
	return k.experts(hidden)
}

// routed returns the mixture of a layer in the manner of DeepSeek V3: biases change the choice, experts may be in
// groups, shared ones are one network. If the metadata do not say of the gating, it is as given.
func (k *keys) routed(layer int, gating graph.Gating) graph.Mixture {
	m := k.experts(k.expertHidden())
	m.Gating, m.NormTopKProb = gating, value(k, "expert_weights_norm", false)
	switch number := k.count("expert_gating_func", 0, 0); number {
	case 0:
	case softmaxGating:
		m.Gating = graph.SoftmaxGating
	case sigmoidGating:
		m.Gating = graph.SigmoidGating
	default:
		k.unsupported("%sexpert_gating_func %d", k.prefix, number)
	}
	if n := k.count("expert_group_count", 0, 0); n > 1 {
		m.Groups = graph.ExpertGroups{Count: n, Used: k.count("expert_group_used_count", 1, -1), Tops: 2}
		if m.Experts%n != 0 || m.Groups.Used > n || m.Used > m.Experts/n*m.Groups.Used {
			k.corrupt("%d of %d experts cannot be chosen from %d of %d groups", m.Used, m.Experts, m.Groups.Used, n)
		}
	}
	m.Biased, m.Shared.Hidden = k.hasIn(layer, "exp_probs_b.bias"), k.rowsIn(layer, "ffn_up_shexp.weight")
	return m
}

// experts returns a mixture of experts of a width.
func (k *keys) experts(hidden int) graph.Mixture {
	m := graph.Mixture{
		Experts:      k.count("expert_count", 0, 0),
		Used:         k.count("expert_used_count", 1, -1),
		Hidden:       hidden,
		WeightsScale: k.float("expert_weights_scale", 1),
	}
	if m.Used > m.Experts {
		k.corrupt("%d experts used of %d", m.Used, m.Experts)
	}
	return m
}

// sigmoidRouted returns the network of a layer that is dense, or else its mixture, routed by sigmoids.
func (k *keys) sigmoidRouted(layer int) graph.Mixer {
	if k.sparse(layer) {
		return k.routed(layer, graph.SigmoidGating)
	}
	return k.network(layer)
}

// sparse reports whether a layer is a mixture of experts: if there are any, all but so
// many at the start are.
func (k *keys) sparse(layer int) bool {
	if k.count("expert_count", 0, 0) == 0 {
		return false
	}
	dense := k.count("leading_dense_block_count", 0, 0)
	if dense > k.layers {
		k.corrupt("%d of %d blocks are dense", dense, k.layers)
	}
	return layer >= dense
}

// expertHidden returns the width of experts that have a key of their own.
func (k *keys) expertHidden() int { return k.count("expert_feed_forward_length", 1, -1) }
