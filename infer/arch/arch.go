// Package arch reads what a model computes from its metadata: one file for each family,
// with a line in the list of them.
//
//	spec, err := arch.Read(src)
//	if err != nil {
//		return err
//	}
//	fmt.Println(len(spec.Layers), "layers")
//
// The graphs are those of llama.cpp (src/models), which for the checkpoints that it
// converts are those of transformers.
package arch

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
)

// families are those that can be run, by general.architecture.
var families = []struct {
	name string
	read func(*keys) graph.Spec
}{
	{"llama", llama},
	{"qwen2", qwen2},
	{"qwen3", qwen3},
	{"qwen2moe", qwen2MoE},
	{"qwen3moe", qwen3MoE},
	{"deepseek", deepSeek},
	{"deepseek2", deepSeek2},
	{"deepseek32", deepSeek2},
	{"glm-dsa", deepSeek2},
	{"gemma2", gemma2},
	{"apertus", apertus},
	{"arcee", arcee},
	{"bert", bert},
	{"bloom", bloom},
	{"chatglm", chatGLM},
	{"cohere2", cohere2},
	{"command-r", commandR},
	{"ernie4_5", ernie45},
	{"exaone4", exaone4},
	{"falcon", falcon},
	{"falcon-h1", falconH1},
	{"gemma", gemma},
	{"gemma3", gemma3},
	{"gemma3n", gemma3n},
	{"gemma4", gemma4},
	{"gemma-embedding", gemmaEmbedding},
	{"glm4", glm4},
	{"gpt-oss", gptOSS},
	{"gpt2", gpt2},
	{"gptneox", gptNeoX},
	{"granite", granite},
	{"granitehybrid", granite},
	{"granitemoe", granite},
	{"hunyuan-dense", hunyuanDense},
	{"jais2", nemotron},
	{"jamba", jamba},
	{"lfm2", lfm2},
	{"lfm2moe", lfm2},
	{"mamba", mamba},
	{"mamba2", mamba2},
	{"minicpm", miniCPM},
	{"mistral3", mistral3},
	{"modern-bert", modernBERT},
	{"mpt", mpt},
	{"nomic-bert", nomicBERT},
	{"nemotron", nemotron},
	{"nemotron_h", nemotronH},
	{"nemotron_h_moe", nemotronH},
	{"olmo", olmo},
	{"olmo2", olmo2},
	{"olmoe", olmoe},
	{"phi2", phi2},
	{"phi3", phi3},
	{"qwen2vl", qwen2},
	{"qwen35", qwen35},
	{"qwen35moe", qwen35},
	{"qwen3next", qwen3Next},
	{"qwen3vl", qwen3},
	{"qwen3vlmoe", qwen3MoE},
	{"seed_oss", seedOSS},
	{"smollm3", smolLM3},
	{"stablelm", stableLM},
	{"starcoder", gpt2},
	{"starcoder2", starCoder2},
	{"afmoe", afmoe},
	{"bailingmoe2", dots1},
	{"dots1", dots1},
	{"ernie4_5-moe", ernie45MoE},
	{"exaone-moe", exaoneMoE},
	{"glm4moe", glm4MoE},
	{"hunyuan-moe", hunyuanMoE},
	{"llama4", llama4},
	{"minimax-m2", miniMaxM2},
	{"phimoe", phiMoE},
}

// Names returns the values of general.architecture that can be run.
func Names() (names []string) {
	for _, f := range families {
		names = append(names, f.name)
	}
	return names
}

// Read returns what a model computes. The error wraps gguf.ErrUnsupported or
// gguf.ErrCorrupt and names the key at fault.
func Read(src gguf.Source) (graph.Spec, error) {
	name, err := gguf.Value[string](src.Metadata(), "general.architecture")
	if err != nil {
		return graph.Spec{}, err
	}
	var known []string
	for _, f := range families {
		if f.name != name {
			known = append(known, f.name)
			continue
		}
		k, err := newKeys(src, name)
		if err != nil {
			return graph.Spec{}, err
		}
		spec := f.read(k)
		if !spec.Encoder && !value(k, "attention.causal", true) {
			k.unsupported("attention that is not causal")
		}
		return spec, k.err
	}
	return graph.Spec{}, fmt.Errorf("%w: architecture %q, only these can be run: %s", gguf.ErrUnsupported, name, strings.Join(known, ", "))
}
