package recipe

import (
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// untouched are parts of the names of tensors that are never quantized, though
// they are matrices and end in "weight": they are small, or what they hold does
// not bear it (tensor_allows_quantization of llama-quant.cpp).
var untouched = []string{
	"_norm.weight",

	// Routers of mixture-of-experts models.
	"ffn_gate_inp.weight",
	"ffn_gate_tid2eid.weight",

	// Gemma 3n.
	"altup",
	"laurel",
	"per_layer_model_proj",

	// Convolutions of state-space models.
	"ssm_conv1d",
	"shortconv.conv.weight",

	// Attention indexers.
	"indexer.k_proj.weight",
	"indexer.q_proj.weight",

	// RWKV.
	"time_mix_first.weight",
	"time_mix_w0.weight",
	"time_mix_w1.weight",
	"time_mix_w2.weight",
	"time_mix_v0.weight",
	"time_mix_v1.weight",
	"time_mix_v2.weight",
	"time_mix_a0.weight",
	"time_mix_a1.weight",
	"time_mix_a2.weight",
	"time_mix_g1.weight",
	"time_mix_g2.weight",
	"time_mix_decay_w1.weight",
	"time_mix_decay_w2.weight",
	"time_mix_lerp_fused.weight",

	// Relative position bias of T5.
	"attn_rel_b.weight",

	// Vision and audio.
	".position_embd",
	"sam.pos_embd",
	"sam.neck.",
	"sam.net_",
	".rel_pos",
	".patch_embd",
	".patch_merger",
	"a.rvq.codebook",
	"mm.a.code_embd",
}

// Quantizable reports whether t changes its type when a model is quantized.
func Quantizable(t gguf.TensorInfo) bool {
	if t.Dims() < 2 || !strings.HasSuffix(t.Name, "weight") {
		return false
	}
	if t.Name == "position_embd.weight" || t.Name == "token_types.weight" {
		return false
	}
	for _, part := range untouched {
		if strings.Contains(t.Name, part) {
			return false
		}
	}
	return true
}
