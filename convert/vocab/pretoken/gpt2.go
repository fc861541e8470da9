package pretoken

import (
	"strings"
	"unicode"
)

// GPT2 is GPT-2's expression, and what a ByteLevel pre-tokenizer with use_regex cuts with.
const GPT2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

var gpt2 = PreTokenizer{Names: []string{"gpt-2"}, Expressions: []string{GPT2}, Split: words(gpt2Word)}

// gpt2Word returns the length of the first match of GPT2.
func gpt2Word(text string) int {
	for _, c := range contractions {
		if strings.HasPrefix(text, c) {
			return len(c)
		}
	}
	body := strings.TrimPrefix(text, " ")
	for _, in := range []func(rune) bool{unicode.IsLetter, unicode.IsNumber, isOther} {
		if n := run(body, in); n > 0 {
			return len(text) - len(body) + n
		}
	}
	return spaces(text)
}
