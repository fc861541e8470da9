package pretoken

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestNames has all names that llama.cpp 0.7.0 loads a byte-level vocabulary with, and what it was
// seen to do with each: begin a text with BOS, and take words that are tokens for these.
func TestNames(t *testing.T) {
	const (
		names = "a.x-4.0 afmoe bailingmoe bailingmoe2 bloom chameleon chatglm-bpe codeshell cohere2moe command-r dbrx deepseek-coder deepseek-llm " +
			"deepseek-r1-qwen deepseek-v3 default exaone exaone-moe exaone4 f2llmv2 falcon falcon-h1 falcon3 gigachat glm4 glm5 gpt-2 gpt-4o gpt3-finnish " +
			"granite-docling granite-embed-multi-97m grok-2 hunyuan hunyuan-dense hy_v4 jais jais-2 jina-de jina-es jina-v1-en jina-v2-code jina-v2-de " +
			"jina-v2-es jina-v5-nano joyai-llm k2-horizon kanana2 kimi-k2 kormo laguna lfm2 llada-moe llama-bpe llama-v3 llama3 llama4 megrez mellum mellum2 " +
			"midm-2.0 minerva-7b minicpm5 minimax-m2 modern-bert mpt olmo phi-2 pixtral poro-chat qwen2 qwen35 refact roberta-bpe seed-coder smaug-bpe smollm " +
			"solar-open spark2_5 stablelm2 starcoder superbpe talkie tekken tiny_aya trillion ufakzeka viking youtu"
		addBOS       = "chameleon falcon-h1 falcon3 jina-v5-nano lfm2 llama-bpe llama-v3 llama3 midm-2.0 pixtral tekken"
		ignoreMerges = "falcon-h1 falcon3 glm4 glm5 granite-embed-multi-97m jina-v5-nano lfm2 llama-bpe llama-v3 llama3 midm-2.0 minicpm5 pixtral tekken youtu"
	)
	require.Equal(t, strings.Fields(names), slices.Sorted(slices.Values(Names())))
	for _, name := range strings.Fields(names) {
		p, ok := Find(name)
		require.True(t, ok)
		require.Equal(t, slices.Contains(strings.Fields(addBOS), name), p.AddBOS, name)
		require.Equal(t, slices.Contains(strings.Fields(ignoreMerges), name), p.IgnoreMerges, name)
	}
}
