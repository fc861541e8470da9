package infer

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/ggufkit/ggufkit/gguf"
)

// hyper holds the hyper-parameters of a model.
type hyper struct {
	architecture
	blocks    int
	width     int // of the residual stream
	hidden    int // width of the dense feed-forward network
	heads     int
	kvHeads   int
	keyLen    int // elements of a query or key head
	valueLen  int // elements of a value head
	epsilon   float64
	ropeBase  float64
	ropeScale float64 // factor of positions

	experts      int // 0: all blocks are dense
	expertsUsed  int
	expertHidden int     // width of one expert
	expertScale  float64 // factor of the experts' weights
	sharedHidden int     // width of the shared expert
	denseBlocks  int     // so many blocks at the start are dense
}

// difference returns an error that says in what other is not h: the first key of
// the metadata that both have and that differs.
func (h hyper) difference(other hyper) error {
	if h.name != other.name {
		return fmt.Errorf("is a %s model, the first a %s", other.name, h.name)
	}
	for _, p := range []struct {
		key       string
		of, first any
	}{
		{"block_count", other.blocks, h.blocks},
		{"embedding_length", other.width, h.width},
		{"feed_forward_length", other.hidden, h.hidden},
		{"attention.head_count", other.heads, h.heads},
		{"attention.head_count_kv", other.kvHeads, h.kvHeads},
		{"attention.key_length", other.keyLen, h.keyLen},
		{"attention.value_length", other.valueLen, h.valueLen},
		{"attention.layer_norm_rms_epsilon", other.epsilon, h.epsilon},
		{"rope.freq_base", other.ropeBase, h.ropeBase},
		{"rope.scaling.factor", 1 / other.ropeScale, 1 / h.ropeScale},
		{"expert_count", other.experts, h.experts},
		{"expert_used_count", other.expertsUsed, h.expertsUsed},
		{"expert_feed_forward_length", other.expertHidden, h.expertHidden},
		{"expert_weights_scale", other.expertScale, h.expertScale},
		{"expert_shared_feed_forward_length", other.sharedHidden, h.sharedHidden},
		{"leading_dense_block_count", other.denseBlocks, h.denseBlocks},
	} {
		if p.of != p.first {
			return fmt.Errorf("%s.%s is %v, that of the first %v", h.name, p.key, p.of, p.first)
		}
	}
	return errors.New("the hyper-parameters are not those of the first")
}

// widest returns the width of the widest feed-forward network.
func (h hyper) widest() int { return max(h.hidden, h.expertHidden, h.sharedHidden) }

// maxCount bounds every hyper-parameter that counts something, so that
// products of two cannot overflow.
const maxCount = 1 << 24

// keys reads metadata under an architecture's prefix. The first error sticks.
type keys struct {
	meta   *gguf.Metadata
	prefix string
	err    error
}

func (k *keys) fail(err error) {
	if k.err == nil {
		k.err = err
	}
}

// count returns an integer of at least low, or fallback where the key is
// absent; a negative fallback makes the key mandatory.
func (k *keys) count(name string, low, fallback int) int {
	key := k.prefix + name
	if v, ok := k.meta.Get(key); ok && reflect.TypeOf(v).Kind() == reflect.Slice {
		k.fail(fmt.Errorf("%w: %s differs from layer to layer", gguf.ErrUnsupported, key))
		return low
	}
	n, err := k.meta.Uint(key)
	switch {
	case errors.Is(err, gguf.ErrNoKey) && fallback >= 0:
		return fallback
	case err != nil:
		k.fail(err)
		return low
	case n < uint64(low) || n > maxCount:
		k.fail(fmt.Errorf("%w: %s is %d, not within %d and %d", gguf.ErrCorrupt, key, n, low, maxCount))
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
	case f <= 0:
		k.fail(fmt.Errorf("%w: %s is %v, not above 0", gguf.ErrCorrupt, key, f))
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

func readHyper(meta *gguf.Metadata) (hyper, error) {
	arch, err := findArchitecture(meta)
	if err != nil {
		return hyper{}, err
	}
	k := &keys{meta: meta, prefix: arch.name + "."}
	h := hyper{
		architecture: arch,
		blocks:       k.count("block_count", 1, -1),
		width:        k.count("embedding_length", 1, -1),
		hidden:       k.count("feed_forward_length", 1, -1),
		heads:        k.count("attention.head_count", 1, -1),
		epsilon:      k.float("attention.layer_norm_rms_epsilon", 0),
		ropeBase:     k.float("rope.freq_base", 10000),
		experts:      k.count("expert_count", 0, 0),
	}
	h.kvHeads = k.count("attention.head_count_kv", 1, h.heads)
	perHead := h.width / h.heads
	h.keyLen = k.count("attention.key_length", 1, perHead)
	h.valueLen = k.count("attention.value_length", 1, perHead)
	ropeDims := k.count("rope.dimension_count", 1, h.keyLen)
	if h.experts > 0 {
		h.readExperts(k)
	}
	gating := k.count("expert_gating_func", 0, softmaxGating)
	scaling := value(k, "rope.scaling.type", "linear")
	causal := value(k, "attention.causal", true)
	h.ropeScale = 1
	if scaling == "linear" {
		// The factor's older name is what llama.cpp reads in its absence. Some
		// files say 0 where they mean none.
		for _, name := range []string{"rope.scaling.factor", "rope.scale_linear"} {
			if f, err := meta.Float(k.prefix + name); err == nil && f > 0 {
				h.ropeScale = 1 / f
				break
			} else if err != nil && !errors.Is(err, gguf.ErrNoKey) {
				k.fail(err)
			}
		}
	}
	if k.err != nil {
		return hyper{}, k.err
	}

	unsupported := func(format string, args ...any) (hyper, error) {
		return hyper{}, fmt.Errorf("%w: "+format, append([]any{gguf.ErrUnsupported}, args...)...)
	}
	corrupt := func(format string, args ...any) (hyper, error) {
		return hyper{}, fmt.Errorf("%w: "+format, append([]any{gguf.ErrCorrupt}, args...)...)
	}
	switch {
	case !causal:
		return unsupported("attention that is not causal")
	case gating > softmaxGating:
		return unsupported("%sexpert_gating_func %d, the softmax is %d", k.prefix, gating, softmaxGating)
	case scaling != "none" && scaling != "linear":
		return unsupported("%srope.scaling.type %q", k.prefix, scaling)
	case ropeDims != h.keyLen:
		return unsupported("rotary embedding of %d of the %d elements of a head", ropeDims, h.keyLen)
	case h.keyLen == 0 || h.valueLen == 0:
		return corrupt("%d heads in %d elements", h.heads, h.width)
	case h.keyLen%2 != 0:
		return corrupt("heads of %d elements cannot be rotated in pairs", h.keyLen)
	case h.heads%h.kvHeads != 0:
		return corrupt("%d query heads cannot share %d key heads", h.heads, h.kvHeads)
	case h.denseBlocks > h.blocks:
		return corrupt("%d of %d blocks are dense", h.denseBlocks, h.blocks)
	case h.expertsUsed > h.experts:
		return corrupt("%d experts used of %d", h.expertsUsed, h.experts)
	}
	return h, nil
}

// softmaxGating is the number of the softmax in llama.cpp's
// enum llama_expert_gating_func_type; 0 means the architecture's own, which it is.
const softmaxGating = 1

func (h *hyper) readExperts(k *keys) {
	h.expertsUsed = k.count("expert_used_count", 1, -1)
	h.expertScale = k.float("expert_weights_scale", 1)
	h.denseBlocks = k.count("leading_dense_block_count", 0, 0)
	h.expertHidden = h.hidden
	if !h.uniform {
		h.expertHidden = k.count("expert_feed_forward_length", 1, -1)
	}
	switch h.shared {
	case gatedExpert:
		h.sharedHidden = k.count("expert_shared_feed_forward_length", 1, h.hidden)
	case plainExpert:
		h.sharedHidden = h.expertHidden * k.count("expert_shared_count", 0, -1)
		switch {
		case h.sharedHidden > maxCount:
			k.fail(fmt.Errorf("%w: shared experts of %d elements", gguf.ErrCorrupt, h.sharedHidden))
		case h.sharedHidden == 0: // llama.cpp cannot run these, but mergekit-moe makes them
			h.shared = noExpert
		}
	}
}
