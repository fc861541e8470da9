package pretoken

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// cl100kWord returns the length of the first match of the expression that begins in cl100k_base, of OpenAI.
// A word has so many digits at most.
func cl100kWord(text string, digits int) int {
	for _, c := range contractions {
		if n := foldedPrefix(text, c); n > 0 {
			return n
		}
	}
	first, size := utf8.DecodeRuneInString(text)
	if isNumber(first) {
		n := 0
		for range digits {
			n += one(text[n:], isNumber)
		}
		return n
	}
	lead := size
	if isLetter(first) || isNewline(first) {
		lead = 0
	}
	if n := run(text[lead:], isLetter); n > 0 {
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
