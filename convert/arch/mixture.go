package arch

import (
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// mixture is a Config with experts.
type mixture struct {
	Config
	experts int64
}

// mixture reads what mixtures of experts with one of these activations have in common.
func (r *reader) mixture(activations ...string) mixture {
	m := mixture{Config: r.config(activations...)}
	m.experts = orZero(m.expertCount)
	if n := orZero(m.expertsPerToken); n < 1 || n > m.experts {
		r.fail(gguf.ErrCorrupt, "num_experts_per_tok is %d of %d experts", n, m.experts)
	}
	return m
}

// router maps the router of a layer under its usual name.
func (x *mixture) router(layer mapper) {
	layer.take("mlp.gate.weight", "ffn_gate_inp.weight", x.experts, x.HiddenSize)
}

// The names that only one of the layouts has.
var (
	expertsApart = []string{"mlp.experts.*.down_proj.weight", "mlp.experts.*.gate_proj.weight", "mlp.experts.*.up_proj.weight"}
	fusedExperts = []string{"mlp.experts.gate_up_proj", "mlp.experts.down_proj"}
)

// areFused reports whether the experts of a checkpoint are in two tensors for each layer, as transformers 5
// computes and mergekit has saved since June 2026, and not in three for each expert, as transformers saves.
func (m mapper) areFused() bool { return m.layout(expertsApart, fusedExperts) == 1 }

// routed maps the experts of a layer, of the given width.
func (x *mixture) routed(layer mapper, fused bool, width int64) {
	if fused {
		x.fused(layer, width)
	} else {
		x.apart(layer, "mlp.experts.", downFirst, width)
	}
}

// expertPart is a matrix of experts: what the checkpoint calls it, and GGUF.
type expertPart struct{ name, role string }

// The parts of experts under their usual names and under Mixtral's, in the orders in which they are written.
var (
	downFirst    = []expertPart{{"down_proj", "down"}, {"gate_proj", "gate"}, {"up_proj", "up"}}
	gateFirst    = []expertPart{{"gate_proj", "gate"}, {"up_proj", "up"}, {"down_proj", "down"}}
	mixtralParts = []expertPart{{"w1", "gate"}, {"w2", "down"}, {"w3", "up"}}
)

// apart maps experts of the given width of which every matrix is a tensor; names begin with start and the expert's number.
func (x *mixture) apart(layer mapper, start string, parts []expertPart, width int64) {
	layer.together(func() {
		for _, part := range parts {
			rows, columns := width, x.HiddenSize
			if part.role == "down" {
				rows, columns = columns, rows
			}
			layer.put("ffn_"+part.role+"_exps.weight", layer.stack(start+"%d."+part.name+".weight", x.experts, rows, columns))
		}
	})
}

// fused maps experts of the given width that are in two tensors, the gate's rows of
// each before the up projection's.
func (x *mixture) fused(layer mapper, width int64) {
	gateUp := layer.get("mlp.experts.gate_up_proj", x.experts, 2*width, x.HiddenSize)
	layer.put("ffn_gate_exps.weight", weights.Slice(gateUp, 0, width))
	layer.take("mlp.experts.down_proj", "ffn_down_exps.weight", x.experts, x.HiddenSize, width)
	layer.put("ffn_up_exps.weight", weights.Slice(gateUp, width, width))
}
