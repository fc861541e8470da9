package pretoken

import (
	"strings"
)

// GPT2 is GPT-2's expression, and what a ByteLevel pre-tokenizer with use_regex cuts with.
const GPT2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

var gpt2 = PreTokenizer{Names: []string{
	"gpt-2", "phi-2", "olmo", "mpt", "jais", "exaone4", "gigachat", "a.x-4.0", "mellum", "modern-bert", "trillion", "granite-docling", "roberta-bpe",
	"jina-v1-en", "jina-v2-code", "jina-v2-de", "jina-v2-es", "jina-de", "jina-es",
}, Expressions: []string{GPT2}, split: words(gpt2Word)}

// gpt2Word returns the length of the first match of GPT2.
func gpt2Word(text string) int {
	for _, c := range contractions {
		if strings.HasPrefix(text, c) {
			return len(c)
		}
	}
	body := strings.TrimPrefix(text, " ")
	for _, in := range []func(rune) bool{isLetter, isNumber, isOther} {
		if n := run(body, in); n > 0 {
			return len(text) - len(body) + n
		}
	}
	return spaces(text)
}
