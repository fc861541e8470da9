package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// qwen3Next is Qwen3-Next: of four layers one has attention, with a gate, the others the gated delta rule.
func qwen3Next(k *keys) graph.Spec {
	return k.qwenHybrid(func() graph.DeltaNet {
		d := k.deltaNet()
		d.Paired = true
		return d
	})
}

// qwen35 is Qwen 3.5, whose value heads are in another order, and with experts qwen35moe. Its rotary embedding has sections for
// positions in images, which for text are all the same.
func qwen35(k *keys) graph.Spec {
	return k.qwenHybrid(func() graph.DeltaNet {
		d := k.deltaNet()
		d.Tiled = true
		return d
	})
}

// qwenHybrid is a model with the gated delta rule in the layers that have no attention.
func (k *keys) qwenHybrid(deltaNet func() graph.DeltaNet) graph.Spec {
	interval := k.count("full_attention_interval", 1, 4)
	recurrent := value[[]bool](k, "attention.recurrent_layers", nil)
	if recurrent != nil && len(recurrent) < k.layers {
		k.corrupt("%sattention.recurrent_layers has %d values for %d layers", k.prefix, len(recurrent), k.layers)
		recurrent = nil
	}
	return k.decoder(func(i int) graph.Layer {
		var first, second graph.Mixer
		if recurrent != nil && recurrent[i] || recurrent == nil && (i+1)%interval != 0 {
			first = deltaNet()
		} else {
			a := k.normedHeads(i)
			a.Gated = true
			if a.KeyLen != a.ValueLen {
				k.corrupt("queries of %d elements cannot have gates for %d", a.KeyLen, a.ValueLen)
			}
			first = a
		}
		if k.sparse(i) {
			m := k.mixture(k.expertHidden())
			m.NormTopKProb = true
			m.Shared = graph.SharedExpert{Hidden: k.count("expert_shared_feed_forward_length", 1, -1), Gated: true}
			second = m
		} else {
			second = k.network(i)
		}
		layer := k.preNorm(first, second)
		layer[1].Norm.Name = "post_attention_norm"
		return layer
	})
}

// deltaNet returns the gated delta rule of a layer.
func (k *keys) deltaNet() graph.DeltaNet {
	d := graph.DeltaNet{
		KeyLen:     k.count("ssm.state_size", 1, -1),
		KeyHeads:   k.count("ssm.group_count", 1, -1),
		ValueHeads: k.count("ssm.time_step_rank", 1, -1),
		Values:     k.count("ssm.inner_size", 1, -1),
		Inputs:     k.count("ssm.conv_kernel", 1, -1),
		Norm:       k.norm("ssm_norm"),
	}
	k.divides("ssm.inner_size", d.Values, d.ValueHeads)
	k.divides("ssm.time_step_rank", d.ValueHeads, d.KeyHeads)
	return d
}
