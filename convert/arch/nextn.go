package arch

import (
	"strconv"
	"strings"
)

// nextLayers are layers behind the last, each of which guesses one more token than the next
// (multi-token prediction).
type nextLayers struct {
	layers int64
	said   bool // config.json has their number
}

// nextLayers reads how many there are.
func (r *reader) nextLayers() nextLayers {
	n := r.whole(0, 1<<8, "num_nextn_predict_layers")
	return nextLayers{orZero(n), n != nil}
}

// nextKeys adds their number, and counts them as layers.
func (n *nextLayers) nextKeys(k *keys, layers int64, said bool) {
	k.set("block_count", uint32(layers+n.layers))
	if said {
		k.set("nextn_predict_layers", uint32(n.layers))
	}
}

// next maps them: each is a layer like others, with what makes its input of the embedding of
// the token before and the output of the layers, and with an output of its own. transformers
// saves models without them, whatever config.json says: then there are none.
func (n *nextLayers) next(m mapper, c *Config, layer func(layer mapper, fused bool)) {
	if n.layers > 0 && !m.has("model.layers."+strconv.FormatInt(c.Layers, 10)+".eh_proj.weight") {
		n.layers = 0
	}
	fused := m.areFused()
	for i, next := range m.layers(c.Layers + n.layers) {
		if i < c.Layers {
			continue
		}
		next.take("eh_proj.weight", "nextn.eh_proj.weight", c.HiddenSize, 2*c.HiddenSize)
		next.take("enorm.weight", "nextn.enorm.weight", c.HiddenSize)
		next.take("hnorm.weight", "nextn.hnorm.weight", c.HiddenSize)
		next.takeAny("embed_tokens.weight", "nextn.embed_tokens.weight", c.VocabSize, c.HiddenSize)
		next.takeAny("shared_head.head.weight", "nextn.shared_head_head.weight", c.VocabSize, c.HiddenSize)
		next.takeAny("shared_head.norm.weight", "nextn.shared_head_norm.weight", c.HiddenSize)
		layer(next, fused)
	}
}

// nextLayers is the reverse of nextKeys.
func (r *restorer) nextLayers() {
	r.take("nextn_predict_layers", "num_nextn_predict_layers")
	r.set("num_hidden_layers", r.whole("block_count")-r.layers("nextn_predict_layers"))
}

// ignoreLayers leaves out the layers from a number on.
func (m mapper) ignoreLayers(first int64) {
	for name, src := range m.sources {
		rest, ok := strings.CutPrefix(name, "model.layers.")
		number, _, _ := strings.Cut(rest, ".")
		if n, err := strconv.ParseInt(number, 10, 64); ok && err == nil && n >= first {
			src.used = true
		}
	}
}
