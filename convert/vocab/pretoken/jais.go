package pretoken

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// jais2 is the pre-tokenizer of Jais 2: Llama 3's, but that runs of spaces are cut up.
var jais2 = PreTokenizer{
	Names: []string{"jais-2"},
	Expressions: []string{contraction + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|` +
		`\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`},
	split: splitJais2,
}

// splitJais2 cuts runs of spaces as a whole, which takes linear time.
func splitJais2(text string, visit func(string)) {
	for text != "" {
		n := run(text, unicode.IsSpace)
		if left := utf8.RuneCountInString(text[:n]); left > 1 && !strings.ContainsAny(text[:n], "\r\n") {
			text = cutSpaces(text, left, n == len(text), visit)
			continue
		}
		n = cl100kWord(text, 3)
		visit(text[:n])
		text = text[n:]
	}
}

// cutSpaces calls visit with the parts of the spaces that text begins with, and returns what is left: the last
// space too, if something follows, of which it may be a part.
func cutSpaces(text string, left int, all bool, visit func(string)) string {
	for left > 1 {
		size := 512
		for size > 1 && (left < size || left == size && !all) {
			size /= 2
		}
		n := 0
		for range size {
			n += one(text[n:], unicode.IsSpace)
		}
		visit(text[:n])
		text, left = text[n:], left-size
	}
	return text
}
