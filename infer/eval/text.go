package eval

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// isSpace is Python's str.isspace of a character.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }

// space is isSpace as a class of regular expressions: \s of Python's.
const space = `[\s\x0b\x1c-\x1f\x{85}\p{Z}]`

func strip(s string) string { return strings.TrimFunc(s, isSpace) }

// capitalize is Python's str.capitalize: the first character in title case, all others in lower case.
func capitalize(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return cases.Title(language.Und, cases.NoLower).String(s[:n]) + strings.TrimPrefix(cases.Lower(language.Und).String("-"+s[n:]), "-")
}

// characters returns Python's len of a string.
func characters(s string) int { return utf8.RuneCountInString(s) }

// cut returns what is before the first occurrence of a separator, all if there is none.
func cut(s, separator string) string {
	before, _, _ := strings.Cut(s, separator)
	return before
}
