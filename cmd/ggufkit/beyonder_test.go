package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// sparseBeyonder makes a checkpoint with the shapes of Beyonder-4x7B-v2, 24.2 B
// parameters, whose tensors are holes in sparse files: beyonder DIR. The
// tokenizer is the small model's.
func sparseBeyonder(ts *testscript.TestScript, _ bool, args []string) {
	const (
		hidden, ffn, layers, experts, vocab = 4096, 14336, 32, 4, 32000
		kv                                  = 1024
	)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o777))
	config := map[string]any{
		"architectures": []string{"MixtralForCausalLM"}, "model_type": "mixtral", "hidden_size": hidden, "intermediate_size": ffn,
		"num_hidden_layers": layers, "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": experts,
		"num_experts_per_tok": 2, "vocab_size": vocab, "max_position_embeddings": 32768, "rms_norm_eps": 1e-5,
		"rope_theta": 10000.0, "torch_dtype": "bfloat16", "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "tie_word_embeddings": false,
	}
	writeJSON(ts, filepath.Join(dir, "config.json"), config)
	for _, name := range []string{"tokenizer.model", "tokenizer_config.json"} {
		data, err := os.ReadFile(filepath.Join(ts.Getenv("MOE"), name))
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, name), data, 0o666))
	}

	weightMap := map[string]string{}
	shard := func(no int, tensors map[string][]int64) {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", no, layers+1)
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
		head, err := json.Marshal(header)
		ts.Check(err)
		path := filepath.Join(dir, name)
		ts.Check(os.WriteFile(path, append(binary.LittleEndian.AppendUint64(nil, uint64(len(head))), head...), 0o666))
		ts.Check(os.Truncate(path, 8+int64(len(head))+offset))
	}
	for l := range layers {
		p := fmt.Sprintf("model.layers.%d.", l)
		tensors := map[string][]int64{
			p + "input_layernorm.weight":          {hidden},
			p + "post_attention_layernorm.weight": {hidden},
			p + "self_attn.q_proj.weight":         {hidden, hidden},
			p + "self_attn.k_proj.weight":         {kv, hidden},
			p + "self_attn.v_proj.weight":         {kv, hidden},
			p + "self_attn.o_proj.weight":         {hidden, hidden},
			p + "block_sparse_moe.gate.weight":    {experts, hidden},
		}
		for e := range experts {
			q := fmt.Sprintf("%sblock_sparse_moe.experts.%d.", p, e)
			tensors[q+"w1.weight"] = []int64{ffn, hidden}
			tensors[q+"w2.weight"] = []int64{hidden, ffn}
			tensors[q+"w3.weight"] = []int64{ffn, hidden}
		}
		shard(l+1, tensors)
	}
	shard(layers+1, map[string][]int64{
		"model.embed_tokens.weight": {vocab, hidden},
		"model.norm.weight":         {hidden},
		"lm_head.weight":            {vocab, hidden},
	})
	writeJSON(ts, filepath.Join(dir, "model.safetensors.index.json"), map[string]any{"metadata": map[string]any{}, "weight_map": weightMap})
}

func writeJSON(ts *testscript.TestScript, path string, v any) {
	data, err := json.Marshal(v)
	ts.Check(err)
	ts.Check(os.WriteFile(path, data, 0o666))
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
