package arch

import "github.com/ggufkit/ggufkit/infer/graph"

// mamba is Mamba and Falcon-Mamba, which normalises what steps, inputs and outputs are made of.
func mamba(k *keys) graph.Spec {
	return k.decoder(func(int) graph.Layer {
		m := k.mamba()
		if value(k, "ssm.dt_b_c_rms", false) {
			m.StepNorm, m.InputNorm, m.StateNorm = k.norm(""), k.norm(""), k.norm("")
		}
		return k.parallel(m)
	})
}

// mamba2 is Mamba 2.
func mamba2(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer { return k.parallel(k.mamba2(i)) })
}

// jamba is Jamba: some of its layers have attention instead of a recurrence, some a mixture of experts.
func jamba(k *keys) graph.Spec {
	return k.decoder(func(i int) graph.Layer {
		var first, second graph.Mixer
		if k.recurrent(i) {
			m := k.mamba()
			m.StepNorm, m.InputNorm, m.StateNorm = k.norm("ssm_dt_norm"), k.norm("ssm_b_norm"), k.norm("ssm_c_norm")
			first = m
		} else {
			first = k.unrotated(i)
		}
		if k.hasIn(i, "ffn_gate_inp.weight") {
			second = k.mixture(k.network(i).Hidden)
		} else {
			second = k.network(i)
		}
		return k.preNorm(first, second)
	})
}

// recurrent reports whether a layer of a hybrid has no attention.
func (k *keys) recurrent(layer int) bool {
	return k.countAt(layer, "attention.head_count_kv", 0, -1) == 0
}

// mamba returns the recurrence of a layer.
func (k *keys) mamba() graph.Mamba {
	return graph.Mamba{
		Inner:  k.count("ssm.inner_size", 1, -1),
		States: k.count("ssm.state_size", 1, -1),
		Rank:   k.count("ssm.time_step_rank", 1, -1),
		Inputs: k.count("ssm.conv_kernel", 1, -1),
	}
}

// mamba2 returns the recurrence of a layer.
func (k *keys) mamba2(layer int) graph.Mamba2 {
	m := graph.Mamba2{
		Inner:  k.count("ssm.inner_size", 1, -1),
		States: k.count("ssm.state_size", 1, -1),
		Heads:  k.count("ssm.time_step_rank", 1, -1),
		Groups: k.count("ssm.group_count", 1, 1),
		Inputs: k.count("ssm.conv_kernel", 1, -1),
	}
	if k.hasIn(layer, "ssm_norm.weight") {
		m.Norm = k.norm("ssm_norm")
	}
	k.divides("ssm.inner_size", m.Inner, m.Heads)
	k.divides("ssm.inner_size", m.Inner, m.Groups)
	k.divides("ssm.time_step_rank", m.Heads, m.Groups)
	return m
}

// divides demands that the value of a key is so many equal parts.
func (k *keys) divides(name string, n, parts int) {
	if n%parts != 0 {
		k.corrupt("%s%s is %d, not %d equal parts", k.prefix, name, n, parts)
	}
}
