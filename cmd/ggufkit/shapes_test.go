package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// shape is that of a model, as checkpoints with weights that are holes in sparse files have it.
type shape struct {
	config map[string]any // without what all have
	// Tensors of each layer, and those of none.
	layer  func(l int) map[string][]int64
	others map[string][]int64
}

// beyonder is the shape of Beyonder-4x7B-v2, 24.2 B parameters.
func beyonder() shape { return mixtral(4096, 14336, 32, 4, 32000) }

// mixtral is a mixture of experts of which two are used.
func mixtral(hidden, ffn, layers, experts, vocab int64) shape {
	return shape{
		config: map[string]any{
			"architectures": []string{"MixtralForCausalLM"}, "model_type": "mixtral", "hidden_size": hidden, "intermediate_size": ffn,
			"num_hidden_layers": layers, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": experts, "num_experts_per_tok": 2,
			"vocab_size": vocab, "max_position_embeddings": 32768, "rope_theta": 10000.0,
		},
		layer: func(l int) map[string][]int64 {
			p := fmt.Sprintf("model.layers.%d.", l)
			tensors := attention(p, hidden, hidden/4)
			tensors[p+"block_sparse_moe.gate.weight"] = []int64{experts, hidden}
			for e := range experts {
				q := fmt.Sprintf("%sblock_sparse_moe.experts.%d.", p, e)
				tensors[q+"w1.weight"] = []int64{ffn, hidden}
				tensors[q+"w2.weight"] = []int64{hidden, ffn}
				tensors[q+"w3.weight"] = []int64{ffn, hidden}
			}
			return tensors
		},
		others: ends(hidden, vocab),
	}
}

// llama is a dense model. Its keys and values have so many heads of 128.
func llama(hidden, ffn, layers, kvHeads, vocab int64) shape {
	return shape{
		config: map[string]any{
			"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_size": hidden, "intermediate_size": ffn,
			"num_hidden_layers": layers, "num_attention_heads": hidden / 128, "num_key_value_heads": kvHeads,
			"vocab_size": vocab, "max_position_embeddings": 8192, "rope_theta": 500000.0,
		},
		layer: func(l int) map[string][]int64 {
			p := fmt.Sprintf("model.layers.%d.", l)
			tensors := attention(p, hidden, 128*kvHeads)
			network(tensors, p+"mlp.", hidden, ffn)
			return tensors
		},
		others: ends(hidden, vocab),
	}
}

// deepSeekV3 is the shape of DeepSeek V3 without its layer for the token after the next, 671 B parameters.
func deepSeekV3() shape {
	const hidden, experts, vocab, heads = 7168, 256, 129280, 128
	return shape{
		config: map[string]any{
			"architectures": []string{"DeepseekV3ForCausalLM"}, "model_type": "deepseek_v3", "hidden_size": hidden, "intermediate_size": 18432,
			"num_hidden_layers": int64(61), "num_attention_heads": heads, "num_key_value_heads": heads, "vocab_size": vocab, "max_position_embeddings": 163840, "rope_theta": 10000.0,
			"first_k_dense_replace": 3, "kv_lora_rank": 512, "q_lora_rank": 1536, "moe_intermediate_size": 2048, "moe_layer_freq": 1, "n_group": 8, "topk_group": 4,
			"n_routed_experts": experts, "n_shared_experts": 1, "norm_topk_prob": true, "num_experts_per_tok": 8, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
			"v_head_dim": 128, "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "topk_method": "noaux_tc",
		},
		layer: func(l int) map[string][]int64 {
			p := fmt.Sprintf("model.layers.%d.", l)
			a := p + "self_attn."
			tensors := map[string][]int64{
				p + "input_layernorm.weight": {hidden}, p + "post_attention_layernorm.weight": {hidden},
				a + "q_a_proj.weight": {1536, hidden}, a + "q_a_layernorm.weight": {1536}, a + "q_b_proj.weight": {heads * 192, 1536},
				a + "kv_a_proj_with_mqa.weight": {512 + 64, hidden}, a + "kv_a_layernorm.weight": {512}, a + "kv_b_proj.weight": {heads * 256, 512},
				a + "o_proj.weight": {hidden, heads * 128},
			}
			if l < 3 {
				network(tensors, p+"mlp.", hidden, 18432)
				return tensors
			}
			tensors[p+"mlp.gate.weight"] = []int64{experts, hidden}
			tensors[p+"mlp.gate.e_score_correction_bias"] = []int64{experts}
			network(tensors, p+"mlp.shared_experts.", hidden, 2048)
			for e := range experts {
				network(tensors, fmt.Sprintf("%smlp.experts.%d.", p, e), hidden, 2048)
			}
			return tensors
		},
		others: ends(hidden, vocab),
	}
}

func attention(p string, hidden, kv int64) map[string][]int64 {
	return map[string][]int64{
		p + "input_layernorm.weight":          {hidden},
		p + "post_attention_layernorm.weight": {hidden},
		p + "self_attn.q_proj.weight":         {hidden, hidden},
		p + "self_attn.k_proj.weight":         {kv, hidden},
		p + "self_attn.v_proj.weight":         {kv, hidden},
		p + "self_attn.o_proj.weight":         {hidden, hidden},
	}
}

func network(tensors map[string][]int64, p string, hidden, ffn int64) {
	tensors[p+"gate_proj.weight"] = []int64{ffn, hidden}
	tensors[p+"up_proj.weight"] = []int64{ffn, hidden}
	tensors[p+"down_proj.weight"] = []int64{hidden, ffn}
}

func ends(hidden, vocab int64) map[string][]int64 {
	return map[string][]int64{"model.embed_tokens.weight": {vocab, hidden}, "model.norm.weight": {hidden}, "lm_head.weight": {vocab, hidden}}
}

// write writes the checkpoint, with the tokenizer of another one.
func (s shape) write(dir, tokenizer string) (err error) {
	must := func(e error) { err = errors.Join(err, e) }
	must(os.MkdirAll(dir, 0o777))
	for key, value := range map[string]any{
		"rms_norm_eps": 1e-5, "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "tie_word_embeddings": false,
	} {
		s.config[key] = value
	}
	must(writeJSON(filepath.Join(dir, "config.json"), s.config))
	for _, name := range []string{"tokenizer.model", "tokenizer_config.json"} {
		data, e := os.ReadFile(filepath.Join(tokenizer, name))
		must(e)
		must(os.WriteFile(filepath.Join(dir, name), data, 0o666))
	}
	layers := int(s.config["num_hidden_layers"].(int64))
	weightMap := map[string]string{}
	for no := range layers + 1 {
		tensors := s.others
		if no < layers {
			tensors = s.layer(no)
		}
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", no+1, layers+1)
		header := map[string]any{}
		offset := int64(0)
		for tensor, shape := range tensors {
			size := int64(2)
			for _, d := range shape {
				size *= d
			}
			header[tensor] = map[string]any{"dtype": "BF16", "shape": shape, "data_offsets": []int64{offset, offset + size}}
			offset += size
			weightMap[tensor] = name
		}
		head, e := json.Marshal(header)
		must(e)
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...), 0o666))
		must(os.Truncate(path, 8+int64(len(head))+offset))
	}
	must(writeJSON(filepath.Join(dir, "model.safetensors.index.json"), map[string]any{"metadata": map[string]any{}, "weight_map": weightMap}))
	return err
}

func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o666)
}

// sparseBeyonder makes a checkpoint with the shapes of Beyonder-4x7B-v2. The tokenizer is the small model's: beyonder DIR.
func sparseBeyonder(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(beyonder().write(ts.MkAbs(args[0]), ts.Getenv("MOE")))
}

// tensorMiB compares the sum of all tensors' bytes in the dry run on standard
// output with a size in MiB, as llama-quantize prints it: tensor-mib SIZE.
func tensorMiB(ts *testscript.TestScript, _ bool, args []string) {
	var report writeReport
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &report))
	bytes := int64(0)
	for _, t := range report.Tensors {
		bytes += t.Bytes
	}
	if got := fmt.Sprintf("%.2f", float64(bytes)/(1<<20)); got != args[0] {
		ts.Fatalf("the tensors take %s MiB", got)
	}
}
