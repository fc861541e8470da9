package moe

import (
	"errors"
	"fmt"

	"github.com/ggufkit/ggufkit/convert/arch"
)

// deepSeekMoE is the architecture of deepseek-moe-16b, whose code transformers
// takes from there. Its shared expert has no gate.
var deepSeekMoE = output{
	name:      "DeepSeek MoE",
	class:     &arch.DeepSeek,
	modelType: "deepseek",
	donors:    []*arch.Architecture{&arch.Llama, &arch.Mistral},
	acceptShared: func(r *Recipe) error {
		if n := len(r.SharedExperts); n > 1 {
			return fmt.Errorf("it has at most one shared expert, not %d", n)
		}
		if len(r.SharedExperts) == 1 && len(r.SharedExperts[0].PositivePrompts) > 0 {
			return errors.New("its shared expert has no gate and takes no prompts")
		}
		return nil
	},
	accept: func(base *arch.Config) error {
		if base.HeadLength()*base.Heads != base.HiddenSize {
			return fmt.Errorf("%d heads of %d are not hidden_size, which is %d", base.Heads, base.HeadLength(), base.HiddenSize)
		}
		return nil
	},
	caveat: func(r *Recipe) string {
		if len(r.SharedExperts) == 0 {
			return "llama.cpp cannot run a DeepSeek mixture without a shared expert"
		}
		return unnormalized(r)
	},
	router:  "mlp.gate",
	experts: "mlp.experts.%d",
	shared:  "mlp.shared_experts",
	ownHead: true,
	config: func(r *Recipe, base *arch.Config) map[string]any {
		config := map[string]any{
			"n_routed_experts": len(r.Experts), "n_shared_experts": nil, "first_k_dense_replace": 0, "moe_layer_freq": 1,
			"scoring_func": "softmax", "norm_topk_prob": true, "moe_intermediate_size": base.IntermediateSize,
			"rope_theta": base.Rope.Base(), // the code knows no rope_parameters
		}
		if n := len(r.SharedExperts); n > 0 {
			config["n_shared_experts"] = n
		}
		auto := make(map[string]string)
		for class, file := range map[string]string{
			"AutoConfig":           "configuration_deepseek.DeepseekConfig",
			"AutoModel":            "modeling_deepseek.DeepseekModel",
			"AutoModelForCausalLM": "modeling_deepseek.DeepseekForCausalLM",
		} {
			auto[class] = "deepseek-ai/deepseek-moe-16b-base--" + file
		}
		config["auto_map"] = auto
		return config
	},
}
