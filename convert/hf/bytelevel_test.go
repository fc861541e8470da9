package hf_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// byteLevelCases are the checkpoints with byte-level vocabularies that
// testdata/bytelevel.json tells about, by the name of their directory.
var byteLevelCases = map[string]func() (tokenizerJSON, config object){
	"Llama-3":      llama3Tokenizer,
	"Qwen2":        qwen2Tokenizer,
	"GPT-2":        gpt2Tokenizer,
	"DeepSeek-LLM": deepSeekTokenizer,
}

const (
	llama3Words = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	chatML      = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)

// deepSeekLetters are those of the real pre-tokenizer.
const deepSeekLetters = "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376" +
	"\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f" +
	"\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77" +
	"\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d" +
	"\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4" +
	"\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139" +
	"\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d" +
	"\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a" +
	"\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2" +
	"\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"

func bytesStep(useRegex bool) object {
	return object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": useRegex}
}

func splitStep(expression string) object {
	return object{"type": "Split", "pattern": object{"Regex": expression}, "behavior": "Isolated", "invert": false}
}

func sequence(steps ...object) object { return object{"type": "Sequence", "pretokenizers": steps} }

func added(id int, content string, special bool) object {
	return object{"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": special}
}

// byteLevelMerges make the first tokens after those of the bytes.
var byteLevelMerges = []string{"t h", "th e", "Ġ the", "i n", "a n", "an d", "Ġ and", "Ċ Ċ", "Ġ Ġ", "1 2", "12 3", "Ã ©"}

// byteLevelModel returns a BPE model and the number of its tokens. Merges are pairs,
// or texts with spaces, as before tokenizers 0.20.
func byteLevelModel(pairs, ignoreMerges bool) (object, int) {
	vocab := object{}
	for r := rune('!'); r < 0x100+68; r++ {
		if r <= '~' || r >= '¡' && r != '\u00ad' {
			vocab[string(r)] = len(vocab)
		}
	}
	var merges []any
	for _, m := range byteLevelMerges {
		vocab[strings.ReplaceAll(m, " ", "")] = len(vocab)
		if pairs {
			merges = append(merges, strings.Split(m, " "))
		} else {
			merges = append(merges, m)
		}
	}
	return object{
		"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
		"fuse_unk": false, "byte_fallback": false, "ignore_merges": ignoreMerges, "vocab": vocab, "merges": merges,
	}, len(vocab)
}

// fastTokenizer fills a tokenizer.json.
func fastTokenizer(model, preTokenizer, normalizer, postProcessor object, added ...object) object {
	return object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": normalizer,
		"pre_tokenizer": preTokenizer, "post_processor": postProcessor, "decoder": bytesStep(true), "model": model,
	}
}

// llama3Tokenizer: ignore_merges, pairs, BOS by a template, roles in config.
func llama3Tokenizer() (tokenizerJSON, config object) {
	model, n := byteLevelModel(true, true)
	begin := object{"SpecialToken": object{"id": "<|begin_of_text|>", "type_id": 0}}
	text := func(id string, typ int) object { return object{"Sequence": object{"id": id, "type_id": typ}} }
	template := object{
		"type": "TemplateProcessing", "single": []object{begin, text("A", 0)}, "pair": []object{begin, text("A", 0), begin, text("B", 1)},
		"special_tokens": object{"<|begin_of_text|>": object{"id": "<|begin_of_text|>", "ids": []int{n}, "tokens": []string{"<|begin_of_text|>"}}},
	}
	return fastTokenizer(model, sequence(splitStep(llama3Words), bytesStep(false)), nil,
			object{"type": "Sequence", "processors": []object{bytesStep(true), template}},
			added(n, "<|begin_of_text|>", true), added(n+1, "<|end_of_text|>", true), added(n+2, "<|eot_id|>", true), added(n+3, "<|reserved|>", false)),
		object{
			"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "chat_template": chatML,
			"clean_up_tokenization_spaces": true, "add_prefix_space": false,
		}
}

// qwen2Tokenizer: merges as texts, normal form C, no BOS, tokens that are not
// special, padding.
func qwen2Tokenizer() (tokenizerJSON, config object) {
	model, n := byteLevelModel(false, false)
	return fastTokenizer(model, sequence(splitStep(strings.Replace(llama3Words, "{1,3}", "", 1)), bytesStep(false)), object{"type": "NFC"}, bytesStep(false),
			added(n, "<|endoftext|>", true), added(n+1, "<|im_start|>", true), added(n+2, "<|im_end|>", true), added(n+3, "<tool_call>", false)),
		object{
			"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": nil, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "add_bos_token": false,
			"add_prefix_space": false, "chat_template": chatML,
		}
}

// gpt2Tokenizer: a special token that the model has, roles as objects.
func gpt2Tokenizer() (tokenizerJSON, config object) {
	model, n := byteLevelModel(false, false)
	model["vocab"].(object)["<|endoftext|>"] = n
	end := object{"__type": "AddedToken", "content": "<|endoftext|>", "lstrip": false, "rstrip": false, "normalized": true, "single_word": false}
	return fastTokenizer(model, bytesStep(true), nil, bytesStep(false), added(n, "<|endoftext|>", true)),
		object{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": end, "eos_token": end, "unk_token": end, "add_prefix_space": false}
}

// deepSeekTokenizer: splits in turn, added tokens that tokenizer_config.json knows
// more of or alone, one that has a role but is not special.
func deepSeekTokenizer() (tokenizerJSON, config object) {
	model, n := byteLevelModel(false, false)
	bos, eos := "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
	return fastTokenizer(model, sequence(
			splitStep("[\r\n]"), splitStep(`\s?[`+deepSeekLetters+`]+`), splitStep(`\s?[!-/:-~！-／：-～‘-‟　-。]+`), splitStep(`\s+$`),
			splitStep("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"), object{"type": "Digits", "individual_digits": true}, bytesStep(false)),
			object{"type": "Sequence", "normalizers": []object{}}, bytesStep(true),
			added(n, bos, false), added(n+1, "a▁b", false), added(n+2, "User:", false)),
		object{
			"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": object{"__type": "AddedToken", "content": bos, "lstrip": false, "rstrip": false, "normalized": true, "single_word": false}, "eos_token": eos, "pad_token": "User:", "add_bos_token": true, "add_eos_token": false,
			"added_tokens_decoder": object{
				"269": object{"content": "a▁b", "special": true, "lstrip": false, "rstrip": false, "normalized": false, "single_word": false},
				"271": object{"content": eos, "special": true, "lstrip": false, "rstrip": false, "normalized": false, "single_word": false},
			},
		}
}

func writeByteLevel(t *testing.T, parent, name string) string {
	tokenizerJSON, config := byteLevelCases[name]()
	dir := filepath.Join(parent, name)
	require.NoError(t, os.Mkdir(dir, 0o755))
	tensors := testmodel.Tensors(weights.BF16, 288, 96, 0)
	class, modelType := "LlamaForCausalLM", "llama"
	if name == "Qwen2" { // for which there is no add_space_prefix
		class, modelType = "Qwen2ForCausalLM", "qwen2"
		tensors = testmodel.WithAttention(tensors, testmodel.Qwen2Biases)
	}
	testmodel.WriteShards(t, dir, tensors)
	writeFiles(t, dir, map[string]any{
		"config.json":           testmodel.Config(class, modelType, object{"bos_token_id": 268, "eos_token_id": []int{269, 270}}),
		"tokenizer.json":        tokenizerJSON,
		"tokenizer_config.json": config,
	})
	return dir
}

func TestGoldenByteLevel(t *testing.T) {
	data, err := os.ReadFile("testdata/bytelevel.json")
	require.NoError(t, err)
	var all map[string]golden
	require.NoError(t, json.Unmarshal(data, &all))
	for name, want := range all {
		t.Run(name, func(t *testing.T) { checkGolden(t, writeByteLevel(t, t.ArtifactDir(), name), "auto", want) })
	}
}

// TestByteLevelTokenizes: what convert makes of tokenizer.json is what the
// tokenizer takes.
func TestByteLevelTokenizes(t *testing.T) {
	for name := range byteLevelCases {
		c, err := hf.Open(writeByteLevel(t, t.TempDir(), name), hf.Options{})
		require.NoError(t, err)
		tok, err := tokenizer.New(c.Metadata())
		require.NoError(t, err)
		const text = "and the 123 é\n\nthen"
		ids := tok.Encode(text, tokenizer.Options{})
		require.Equal(t, text, tok.Decode(ids), name)
		require.Less(t, len(ids), len(text)-5, name)
		require.NoError(t, c.Close())
	}
}
