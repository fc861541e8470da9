package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ggufkit/ggufkit/gguf"
)

// preTokenizer cuts text into words, across which byte-level BPE never merges.
// It is what the regular expressions of tokenizer.json's pre_tokenizer do; they
// stand beside the functions. Bytes that are not UTF-8 are characters of their own
// that are neither letters nor numbers nor spaces.
type preTokenizer struct {
	// split calls visit with the words of text, which together are the text.
	split func(text string, visit func(word string))
	// whole says that a word that is a token becomes that token, whatever the
	// merges are.
	whole bool
	// addBOS says whether texts begin with BOS where the metadata does not say it.
	addBOS bool
}

// preTokenizers has the names that tokenizer.ggml.pre gives them.
var preTokenizers = map[string]preTokenizer{
	"gpt-2":            {split: words(gpt2Word)},
	"llama-bpe":        llama3,
	"llama3":           llama3,
	"llama-v3":         llama3,
	"qwen2":            {split: words(qwen2Word)},
	"deepseek-r1-qwen": {split: words(qwen2Word)},
	"deepseek-llm":     {split: splitDeepSeek},
}

var llama3 = preTokenizer{split: words(llama3Word), whole: true, addBOS: true}

func findPreTokenizer(name string) (preTokenizer, error) {
	p, ok := preTokenizers[name]
	if !ok {
		return p, fmt.Errorf("%w: tokenizer.ggml.pre is %q, byte-level vocabularies are known with gpt-2, llama-bpe, qwen2 and deepseek-llm", gguf.ErrUnsupported, name)
	}
	return p, nil
}

// words makes a function for split of one that returns the length of the first
// word of a text.
func words(first func(text string) int) func(string, func(string)) {
	return func(text string, visit func(string)) {
		for text != "" {
			n := first(text)
			visit(text[:n])
			text = text[n:]
		}
	}
}

// gpt2Word matches
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
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

// llama3Word matches
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
func llama3Word(text string) int { return cl100kWord(text, 3) }

// qwen2Word matches the same with \p{N} instead of \p{N}{1,3}.
func qwen2Word(text string) int { return cl100kWord(text, 1) }

// cl100kWord is named after the vocabulary of OpenAI's that began with this
// expression. A word has so many digits at most.
func cl100kWord(text string, digits int) int {
	for _, c := range contractions {
		if n := foldedPrefix(text, c); n > 0 {
			return n
		}
	}
	first, size := utf8.DecodeRuneInString(text)
	if unicode.IsNumber(first) {
		n := 0
		for range digits {
			n += one(text[n:], unicode.IsNumber)
		}
		return n
	}
	lead := size
	if unicode.IsLetter(first) || isNewline(first) {
		lead = 0
	}
	if n := run(text[lead:], unicode.IsLetter); n > 0 {
		return lead + n
	}
	body := strings.TrimPrefix(text, " ")
	if n := run(body, isOther); n > 0 {
		n += run(body[n:], isNewline)
		return len(text) - len(body) + n
	}
	if last := strings.LastIndexAny(text[:run(text, unicode.IsSpace)], "\r\n"); last >= 0 {
		return last + 1
	}
	return spaces(text)
}

var contractions = []string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"}

// foldedPrefix returns the length of the prefix of text that is the given one, of
// lower-case letters, but for case; 0 if there is none. The long s is an s.
func foldedPrefix(text, prefix string) int {
	n := 0
	for _, want := range prefix {
		r, size := utf8.DecodeRuneInString(text[n:])
		if unicode.ToLower(unicode.ToUpper(r)) != want {
			return 0
		}
		n += size
	}
	return n
}

// spaces matches \s+(?!\S)|\s+ where text begins with a space: all the spaces, but
// for the last of several if something follows.
func spaces(text string) int {
	n := run(text, unicode.IsSpace)
	_, last := utf8.DecodeLastRuneInString(text[:n])
	if n < len(text) && n > last {
		return n - last
	}
	return n
}

// splitDeepSeek applies one expression after the other, each to the parts that
// those before left:
//
//	[\r\n]
//	\s?[letters]+
//	\s?[!-/:-~！-／：-～‘-‟　-。]+
//	\s+$
//	[一-龥ࠀ-一가-퟿]+
//
// and then cuts off every number. The letters are those with upper and lower case.
func splitDeepSeek(text string, visit func(string)) {
	last := func(part string) { isolate(part, matchOne(unicode.IsNumber), visit) }
	ideographs := func(part string) { isolate(part, matchRun(isDeepSeekIdeograph), last) }
	trailing := func(part string) {
		end := len(strings.TrimRightFunc(part, unicode.IsSpace))
		for _, part := range []string{part[:end], part[end:]} {
			if part != "" {
				ideographs(part)
			}
		}
	}
	punctuation := func(part string) { isolate(part, afterSpace(isDeepSeekPunctuation), trailing) }
	letters := func(part string) { isolate(part, afterSpace(isDeepSeekLetter), punctuation) }
	isolate(text, matchOne(isNewline), letters)
}

// isolate cuts text before and after every match of an expression and calls visit
// with the parts. match returns the length of the match at the start of a text, 0 if
// there is none.
func isolate(text string, match func(string) int, visit func(string)) {
	start := 0
	for i := 0; i < len(text); {
		n := match(text[i:])
		if n == 0 {
			_, size := utf8.DecodeRuneInString(text[i:])
			i += size
			continue
		}
		if start < i {
			visit(text[start:i])
		}
		visit(text[i : i+n])
		i += n
		start = i
	}
	if start < len(text) {
		visit(text[start:])
	}
}

func matchOne(in func(rune) bool) func(string) int {
	return func(text string) int { return one(text, in) }
}

func matchRun(in func(rune) bool) func(string) int {
	return func(text string) int { return run(text, in) }
}

// afterSpace matches \s?[in]+.
func afterSpace(in func(rune) bool) func(string) int {
	return func(text string) int {
		lead := one(text, unicode.IsSpace)
		if n := run(text[lead:], in); n > 0 {
			return lead + n
		}
		return run(text, in) // a space may be in the class
	}
}

// one returns the length of the first character if it is in a class, or else 0.
func one(text string, in func(rune) bool) int {
	r, size := utf8.DecodeRuneInString(text)
	if size == 0 || !in(r) {
		return 0
	}
	return size
}

// run returns the length of the characters at the start that are in a class.
func run(text string, in func(rune) bool) int {
	for i, r := range text {
		if !in(r) {
			return i
		}
	}
	return len(text)
}

func isNewline(r rune) bool { return r == '\r' || r == '\n' }

// isOther reports whether r is in [^\s\p{L}\p{N}].
func isOther(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsSpace(r)
}

func isDeepSeekLetter(r rune) bool { return unicode.Is(deepSeekLetters, r) }

func isDeepSeekPunctuation(r rune) bool {
	return r >= '!' && r <= '/' || r >= ':' && r <= '~' || r >= '！' && r <= '／' || r >= '：' && r <= '～' ||
		r >= '\u2018' && r <= '\u201f' || r >= '\u3000' && r <= '\u3002'
}

func isDeepSeekIdeograph(r rune) bool {
	return r >= '\u0800' && r <= '\u9fa5' || r >= '\uac00' && r <= '\ud7ff'
}

var deepSeekLetters = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x41, 0x5a, 1}, {0x61, 0x7a, 1}, {0xb5, 0xb5, 1}, {0xc0, 0xd6, 1}, {0xd8, 0xf6, 1}, {0xf8, 0x1ba, 1},
		{0x1bc, 0x1bf, 1}, {0x1c4, 0x293, 1}, {0x295, 0x2af, 1}, {0x370, 0x373, 1}, {0x376, 0x376, 1},
		{0x377, 0x377, 1}, {0x37b, 0x37d, 1}, {0x37f, 0x37f, 1}, {0x386, 0x386, 1}, {0x388, 0x38a, 1},
		{0x38c, 0x38c, 1}, {0x38e, 0x3a1, 1}, {0x3a3, 0x3f5, 1}, {0x3f7, 0x481, 1}, {0x48a, 0x52f, 1},
		{0x531, 0x556, 1}, {0x10a0, 0x10c5, 1}, {0x13a0, 0x13f5, 1}, {0x13f8, 0x13fd, 1}, {0x1c90, 0x1cba, 1},
		{0x1cbd, 0x1cbf, 1}, {0x1d00, 0x1d2b, 1}, {0x1d6b, 0x1d77, 1}, {0x1d79, 0x1d9a, 1}, {0x1e00, 0x1f15, 1},
		{0x1f18, 0x1f1d, 1}, {0x1f20, 0x1f45, 1}, {0x1f48, 0x1f4d, 1}, {0x1f50, 0x1f57, 1}, {0x1f59, 0x1f59, 1},
		{0x1f5b, 0x1f5b, 1}, {0x1f5d, 0x1f5d, 1}, {0x1f5f, 0x1f7d, 1}, {0x1f80, 0x1fb4, 1}, {0x1fb6, 0x1fbc, 1},
		{0x1fbe, 0x1fbe, 1}, {0x1fc2, 0x1fc4, 1}, {0x1fc6, 0x1fcc, 1}, {0x1fd0, 0x1fd3, 1}, {0x1fd6, 0x1fdb, 1},
		{0x1fe0, 0x1fec, 1}, {0x1ff2, 0x1ff4, 1}, {0x1ff6, 0x1ffc, 1}, {0x2102, 0x2102, 1}, {0x2107, 0x2107, 1},
		{0x210a, 0x2113, 1}, {0x2115, 0x2115, 1}, {0x2119, 0x211d, 1}, {0x2124, 0x2124, 1}, {0x2126, 0x2126, 1},
		{0x2128, 0x2128, 1}, {0x212a, 0x212d, 1}, {0x212f, 0x2134, 1}, {0x2139, 0x2139, 1}, {0x213c, 0x213f, 1},
		{0x2145, 0x2149, 1}, {0x214e, 0x214e, 1}, {0x2183, 0x2183, 1}, {0x2184, 0x2184, 1}, {0x2c00, 0x2c7b, 1},
		{0x2c7e, 0x2ce4, 1}, {0x2ceb, 0x2cee, 1}, {0x2cf2, 0x2cf2, 1}, {0x2cf3, 0x2cf3, 1}, {0xa640, 0xa66d, 1},
		{0xa680, 0xa69b, 1}, {0xa722, 0xa76f, 1}, {0xa771, 0xa787, 1}, {0xa78b, 0xa78e, 1}, {0xab70, 0xabbf, 1},
		{0xfb00, 0xfb06, 1}, {0xfb13, 0xfb17, 1}, {0xff21, 0xff3a, 1}, {0xff41, 0xff5a, 1},
	},
	R32: []unicode.Range32{
		{0x10400, 0x1044f, 1}, {0x104b0, 0x104d3, 1}, {0x104d8, 0x104fb, 1}, {0x10c80, 0x10cb2, 1},
		{0x10cc0, 0x10cf2, 1}, {0x118a0, 0x118df, 1}, {0x1e900, 0x1e943, 1},
	},
	LatinOffset: 5,
}
