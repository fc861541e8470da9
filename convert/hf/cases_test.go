package hf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/weights"
)

// cases are the checkpoints that testdata/golden.json tells about, by the name
// of their directory. Each function writes one into an existing directory.
var cases = map[string]func(t testing.TB, dir string){
	"Tiny-Llama-1.1B-Chat-v1.0": writeTiedLlama,
	"odd name with spaces":      writeLlama3Rope,
	"Mistral-7B-Instruct-v0.2":  writeMistral,
	"Beyonder-4x7B-v2":          writeBeyonder,
	"mixtral_8x22b-base-128k":   writeSharded,
	"Qwen2.5-0.5B-Instruct":     writeQwen2,
	"Qwen3-0.6B":                writeQwen3,
	"Qwen1.5-MoE-A2.7B":         writeQwen2MoE,
	"Qwen3-30B-A3B":             writeQwen3MoE,
	"Qwen3-30B-A3B-fused":       writeQwen3Fused,
	"deepseek-moe-16b-chat":     writeDeepSeek,
}

// writeCase writes the case into a directory of its name and returns its path.
func writeCase(t testing.TB, parent, name string) string {
	dir := filepath.Join(parent, name)
	require.NoError(t, os.Mkdir(dir, 0o755))
	cases[name](t, dir)
	return dir
}

type object = map[string]any

func writeFiles(t testing.TB, dir string, files map[string]any) {
	for name, content := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if text, ok := content.(string); ok {
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		} else {
			testmodel.WriteJSON(t, path, content)
		}
	}
}

// writeTiedLlama: tied embeddings, biases, F16, heads wider than hidden / heads,
// no fast tokenizer, more embeddings than pieces, tokens beyond the embeddings.
func writeTiedLlama(t testing.TB, dir string) {
	var tensors []testmodel.Tensor
	for _, tensor := range testmodel.Tensors(weights.F16, 288, 96, 0) {
		if tensor.Name != "lm_head.weight" {
			tensors = append(tensors, tensor)
		}
	}
	for i := range tensors {
		switch name := tensors[i].Name; {
		case strings.Contains(name, "q_proj"), strings.Contains(name, "o_proj"):
			tensors[i].Shape = []int64{128, 64}
			if strings.Contains(name, "o_proj") {
				tensors[i].Shape = []int64{64, 128}
			}
		case strings.Contains(name, "k_proj"), strings.Contains(name, "v_proj"):
			tensors[i].Shape = []int64{64, 64}
		}
	}
	for _, layer := range []string{"0", "1"} {
		for name, n := range map[string]int64{
			"self_attn.q_proj": 128, "self_attn.k_proj": 64, "self_attn.v_proj": 64, "self_attn.o_proj": 64,
			"mlp.gate_proj": 96, "mlp.up_proj": 96, "mlp.down_proj": 64,
		} {
			tensors = append(tensors, testmodel.Tensor{Name: "model.layers." + layer + "." + name + ".bias", Dtype: weights.F16, Shape: []int64{n}})
		}
		tensors = append(tensors, testmodel.Tensor{Name: "model.layers." + layer + ".self_attn.rotary_emb.inv_freq", Dtype: weights.F32, Shape: []int64{16}})
	}
	testmodel.WriteShards(t, dir, tensors)
	testmodel.WriteTokenizer(t, dir)
	writeFiles(t, dir, map[string]any{
		"config.json": testmodel.Config("LlamaForCausalLM", "llama", object{
			"tie_word_embeddings": true, "attention_bias": true, "mlp_bias": true, "head_dim": 32,
			"rms_norm_eps": nil, "max_position_embeddings": nil, "pad_token_id": 0, "eos_token_id": []int{2, 3},
		}),
		"added_tokens.json": object{"<|im_start|>": 272, "plain": 273, "<|beyond|>": 288},
		"tokenizer_config.json": object{
			"add_bos_token": true, "add_eos_token": false, "add_prefix_space": false,
			"bos_token": object{"content": "<s>"}, "eos_token": "</s>", "unk_token": "<unk>",
			"added_tokens_decoder": object{
				"0": object{"content": "<unk>", "special": true}, "272": object{"content": "<|im_start|>", "special": false},
				"274": object{"content": "▁word▁pair", "special": false}, "300": object{"content": "x", "special": true},
			},
		},
		"chat_template.jinja": "{% for m in messages %}{{ m.content }}{% endfor %}",
	})
}

// writeLlama3Rope: Llama 3.1's rope scaling, F32, no tokenizer_config.json.
func writeLlama3Rope(t testing.TB, dir string) {
	testmodel.WriteShards(t, dir, testmodel.Tensors(weights.F32, 272, 96, 0))
	testmodel.WriteTokenizer(t, dir)
	writeFiles(t, dir, map[string]any{
		"config.json": testmodel.Config("LlamaForCausalLM", "llama", object{
			"vocab_size": 272, "rope_theta": 500000.0, "max_position_embeddings": 131072, "head_dim": 16, "num_key_value_heads": 2,
			"rope_scaling": object{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 256},
		}),
	})
}

// writeMistral: sliding window, YaRN, sampling parameters, a fast tokenizer,
// names in config.json.
func writeMistral(t testing.TB, dir string) {
	testmodel.WriteShards(t, dir, testmodel.Tensors(weights.BF16, 288, 96, 0))
	testmodel.WriteTokenizer(t, dir)
	special := func(id string) object { return object{"SpecialToken": object{"id": id, "type_id": 0}} }
	text := func(id string) object { return object{"Sequence": object{"id": id, "type_id": 0}} }
	writeFiles(t, dir, map[string]any{
		"config.json": testmodel.Config("MistralForCausalLM", "mistral", object{
			"_name_or_path": "mistralai/Mistral-7B-Instruct-v0.2", "sliding_window": 128, "rope_theta": 1e6,
			"rope_scaling": object{"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 32, "beta_slow": 1.0, "attention_factor": 1.25},
		}),
		"generation_config.json": object{"temperature": 0.7, "top_p": 0.95, "top_k": 50, "repetition_penalty": 1.1, "do_sample": true, "min_p": nil},
		"tokenizer.json": object{
			"added_tokens": []object{{"id": 0, "content": "<unk>"}, {"id": 1, "content": "<s>"}, {"id": 2, "content": "</s>"}, {"id": 272, "content": "<pad>"}},
			"normalizer":   object{"type": "Sequence", "normalizers": []object{{"type": "Prepend", "prepend": "▁"}, {"type": "NFC"}}},
			"post_processor": object{
				"type": "TemplateProcessing", "single": []object{special("<s>"), text("A"), special("</s>")},
				"pair": []object{special("<s>"), text("A"), special("</s>"), special("</s>"), text("B"), special("</s>")},
			},
			"model": object{"type": "BPE", "vocab": object{}, "merges": []string{}},
		},
		"tokenizer_config.json": object{
			"add_bos_token": true, "add_eos_token": false, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
			"added_tokens_decoder": object{"272": object{"content": "<pad>", "special": true}},
			"chat_template":        []object{{"name": "default", "template": "A{{ messages }}"}, {"name": "tool use", "template": "B{{ messages }}"}},
		},
	})
}

const beyonderCard = `---
license: other
license_name: microsoft-research-license
license_link: https://huggingface.co/WizardLM/WizardMath-7B-V1.1/resolve/main/LICENSE
base_model:
- mlabonne/Marcoro14-7B-slerp
- https://huggingface.co/openchat/openchat-3.5-1210
- name: Local
  author: somebody
  version: "2"
tags:
- moe
- merge
language:
- en
- no
datasets: wikitext
pipeline_tag: text-generation
model_creator: mlabonne
---
# Beyonder
---
not: front matter
`

// writeBeyonder: a Mixtral with a model card, tokens as lists of named
// templates in files, linear rope scaling, rows of experts that no Q8_0 block
// fits, BF16.
func writeBeyonder(t testing.TB, dir string) {
	testmodel.WriteShards(t, dir, testmodel.Tensors(weights.BF16, 272, 48, 4))
	testmodel.WriteTokenizer(t, dir)
	writeFiles(t, dir, map[string]any{
		"config.json": testmodel.Config("MixtralForCausalLM", "mixtral", object{
			"vocab_size": 272, "intermediate_size": 48, "num_local_experts": 4, "num_experts_per_tok": 2, "_name_or_path": "/home/me/models/x",
			"rope_scaling": object{"type": "linear", "factor": 2.0}, "rope_theta": nil, "rms_norm_eps": nil,
		}),
		"README.md":                           beyonderCard,
		"tokenizer_config.json":               object{"bos_token": "<s>", "eos_token": "</s>", "unk_token": nil, "add_bos_token": true},
		"chat_template.jinja":                 "default {{ messages }}",
		"additional_chat_templates/rag.jinja": "rag {{ messages }}",
	})
}

// writeSharded: three shards in which layers and experts mix, F16 and F32 in
// one checkpoint, a context length in the name.
func writeSharded(t testing.TB, dir string) {
	tensors := testmodel.Tensors(weights.F16, 272, 64, 2)
	var shards [3][]testmodel.Tensor
	for i, tensor := range tensors {
		if strings.Contains(tensor.Name, "norm") {
			tensor.Dtype = weights.F32
		}
		shards[i*7%3] = append(shards[i*7%3], tensor)
	}
	testmodel.WriteShards(t, dir, shards[:]...)
	testmodel.WriteTokenizer(t, dir)
	writeFiles(t, dir, map[string]any{
		"config.json": testmodel.Config("MixtralForCausalLM", "mixtral", object{
			"vocab_size": 272, "intermediate_size": 64, "num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 16, "sliding_window": 64,
		}),
		"tokenizer_config.json": object{"add_bos_token": false},
		"chat_template.json":    object{"chat_template": "{{ messages }}"},
	})
}
