package arch

import (
	"errors"
	"fmt"
	"math"
	"reflect"

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

	layers  int
	width   int
	epsilon float64
}

// newKeys reads what all architectures have.
func newKeys(src gguf.Source, name string) (*keys, error) {
	k := &keys{src: src, meta: src.Metadata(), name: name, prefix: name + "."}
	k.layers = k.count("block_count", 1, -1)
	k.width = k.count("embedding_length", 1, -1)
	k.epsilon = k.float("attention.layer_norm_rms_epsilon", 0)
	// Without this check a wrong count would cost time and memory.
	if tensors := len(src.Tensors()); k.layers > tensors {
		k.corrupt("%d tensors are not enough for %d blocks", tensors, k.layers)
	}
	if !value(k, "attention.causal", true) {
		k.unsupported("attention that is not causal")
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

// norm returns a norm of the model's epsilon.
func (k *keys) norm(name string) graph.Norm { return graph.Norm{Name: name, Epsilon: k.epsilon} }

// decoder returns a model whose layers are made one by one.
func (k *keys) decoder(layer func(i int) graph.Layer) graph.Spec {
	s := graph.Spec{Architecture: k.name, Vocabulary: 1, Width: k.width, OutputNorm: k.norm("output_norm")}
	for _, info := range k.src.Tensors() {
		if info.Name == "token_embd.weight" {
			s.Vocabulary = int(info.Rows())
		}
	}
	for i := range k.layers {
		s.Layers = append(s.Layers, layer(i))
	}
	return s
}

// preNorm returns a layer of attention and a network, each of what is normalised.
func (k *keys) preNorm(attention, network graph.Mixer) graph.Layer {
	return graph.Layer{
		{Norm: k.norm("attn_norm"), Mixers: []graph.Mixer{attention}},
		{Norm: k.norm("ffn_norm"), Mixers: []graph.Mixer{network}},
	}
}

// attention returns that of a layer, with the scale 1/sqrt(KeyLen).
func (k *keys) attention(layer int) graph.Attention {
	heads := k.countAt(layer, "attention.head_count", 1, -1)
	perHead := k.width / heads
	a := graph.Attention{
		Heads:    heads,
		KVHeads:  k.countAt(layer, "attention.head_count_kv", 1, heads),
		KeyLen:   k.count("attention.key_length", 1, perHead),
		ValueLen: k.count("attention.value_length", 1, perHead),
	}
	a.Scale = float32(1 / math.Sqrt(float64(a.KeyLen)))
	a.Rope = k.rope(a.KeyLen)
	switch {
	case a.KeyLen == 0 || a.ValueLen == 0:
		k.corrupt("%d heads in %d elements", heads, k.width)
	case a.KeyLen%2 != 0:
		k.corrupt("heads of %d elements cannot be rotated in pairs", a.KeyLen)
	case a.Heads%a.KVHeads != 0:
		k.corrupt("%d query heads cannot share %d key heads", a.Heads, a.KVHeads)
	}
	return a
}

// rope returns the rotary embedding of neighbours in heads of n elements.
func (k *keys) rope(n int) graph.RopeSpec {
	r := graph.RopeSpec{Dims: k.count("rope.dimension_count", 1, n), Base: k.float("rope.freq_base", 10000), Factor: 1, Factors: "rope_freqs.weight"}
	scaling := value(k, "rope.scaling.type", "linear")
	switch {
	case scaling != "none" && scaling != "linear":
		k.unsupported("%srope.scaling.type %q", k.prefix, scaling)
	case r.Dims != n:
		k.unsupported("rotary embedding of %d of the %d elements of a head", r.Dims, n)
	}
	if scaling != "linear" {
		return r
	}
	// The factor's older name is what llama.cpp reads in its absence. Some
	// files say 0 where they mean none.
	for _, name := range []string{"rope.scaling.factor", "rope.scale_linear"} {
		f, err := k.meta.Float(k.prefix + name)
		if err == nil && f > 0 {
			r.Factor = f
			break
		}
		if err != nil && !errors.Is(err, gguf.ErrNoKey) {
			k.fail(err)
		}
	}
	return r
}

// network returns a dense network.
func (k *keys) network(layer int) graph.Network {
	return graph.Network{Hidden: k.countAt(layer, "feed_forward_length", 1, -1)}
}

// softmaxGating is the number of the softmax in llama.cpp's
// enum llama_expert_gating_func_type; 0 means the architecture's own, which it is.
const softmaxGating = 1

// mixture returns a mixture of experts of a width.
func (k *keys) mixture(hidden int) graph.Mixture {
	m := graph.Mixture{
		Experts:      k.count("expert_count", 0, 0),
		Used:         k.count("expert_used_count", 1, -1),
		Hidden:       hidden,
		WeightsScale: k.float("expert_weights_scale", 1),
	}
	gating := k.count("expert_gating_func", 0, softmaxGating)
	switch {
	case gating > softmaxGating:
		k.unsupported("%sexpert_gating_func %d, the softmax is %d", k.prefix, gating, softmaxGating)
	case m.Used > m.Experts:
		k.corrupt("%d experts used of %d", m.Used, m.Experts)
	}
	return m
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
