package jinja

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Texts are counted and indexed by character.

func runeCount(s string) int { return utf8.RuneCountInString(s) }

// runeLen is the number of bytes of the first character.
func runeLen(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isSpace is Python's isspace of a character.
func isSpace(c rune) bool { return unicode.IsSpace(c) || 0x1c <= c && c <= 0x1f }

func trimSpace(s string) string { return strings.TrimFunc(s, isSpace) }

// isLineEnd reports whether splitlines cuts after a character.
func isLineEnd(c rune) bool {
	return c == '\n' || c == '\r' || c == '\v' || c == '\f' || 0x1c <= c && c <= 0x1e || c == 0x85 || c == 0x2028 || c == 0x2029
}

// splitLines is Python's splitlines.
func splitLines(s string, keepEnds bool) []string {
	var lines []string
	for s != "" {
		end := strings.IndexFunc(s, isLineEnd)
		if end < 0 {
			return append(lines, s)
		}
		after := end + runeLen(s[end:])
		if strings.HasPrefix(s[end:], "\r\n") {
			after++
		}
		if keepEnds {
			end = after
		}
		lines = append(lines, s[:end])
		s = s[after:]
	}
	return lines
}

// splitSpace cuts at runs of white space, at most n times if n is not negative.
func splitSpace(s string, n int) []string {
	var words []string
	for s = strings.TrimLeftFunc(s, isSpace); s != ""; s = strings.TrimLeftFunc(s, isSpace) {
		end := strings.IndexFunc(s, isSpace)
		if end < 0 {
			return append(words, s)
		}
		if n == 0 {
			return append(words, s)
		}
		words = append(words, s[:end])
		s = s[end:]
		n--
	}
	return words
}

// splitSpaceRight cuts at runs of white space from the right.
func splitSpaceRight(s string, n int) []string {
	var words []string
	for s = strings.TrimRightFunc(s, isSpace); s != ""; s = strings.TrimRightFunc(s, isSpace) {
		start := strings.LastIndexFunc(s, isSpace)
		if start < 0 || n == 0 {
			words = append(words, s)
			break
		}
		start += runeLen(s[start:])
		words = append(words, s[start:])
		s = s[:start]
		n--
	}
	slices.Reverse(words)
	return words
}

// splitRight cuts at a separator from the right, at most n times.
func splitRight(s, sep string, n int) []string {
	var parts []string
	for ; n != 0; n-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		parts = append(parts, s[i+len(sep):])
		s = s[:i]
	}
	parts = append(parts, s)
	slices.Reverse(parts)
	return parts
}

// capitalize writes the first character as a title does and the rest small.
func capitalize(s string) string {
	if s == "" {
		return ""
	}
	n := runeLen(s)
	return titleRune(s[:n]) + lower(s[n:])
}

// Characters whose upper case is several characters, by Unicode's
// SpecialCasing: those of Latin text.
var upperSpecial = map[rune]string{'ß': "SS", 'ŉ': "ʼN", 'ǰ': "J̌", 'ﬀ': "FF", 'ﬁ': "FI", 'ﬂ': "FL", 'ﬃ': "FFI", 'ﬄ': "FFL", 'ﬅ': "ST", 'ﬆ': "ST"}

func upper(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	var b strings.Builder
	for _, c := range s {
		if special, ok := upperSpecial[c]; ok {
			b.WriteString(special)
		} else {
			b.WriteRune(unicode.ToUpper(c))
		}
	}
	return b.String()
}

// lower writes a capital sigma at the end of a word as the final one.
func lower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	var b strings.Builder
	for i, c := range s {
		switch c {
		case 'Σ':
			before, _ := utf8.DecodeLastRuneInString(s[:i])
			after, _ := utf8.DecodeRuneInString(s[i+len("Σ"):])
			if unicode.IsLetter(before) && !unicode.IsLetter(after) {
				b.WriteRune('ς')
			} else {
				b.WriteRune('σ')
			}
		case 'İ':
			b.WriteString("i̇")
		default:
			b.WriteRune(unicode.ToLower(c))
		}
	}
	return b.String()
}

func titleRune(c string) string {
	r, _ := utf8.DecodeRuneInString(c)
	if special, ok := upperSpecial[r]; ok {
		first := runeLen(special)
		return special[:first] + lower(special[first:])
	}
	return string(unicode.ToTitle(r))
}

// cased reports whether a character has a case.
func cased(c rune) bool { return unicode.IsUpper(c) || unicode.IsLower(c) || unicode.IsTitle(c) }

// titleCase is Python's title: what follows a letter is small.
func titleCase(s string) string {
	var b strings.Builder
	inside := false
	for i, c := range s {
		if inside {
			b.WriteString(lower(s[i : i+utf8.RuneLen(c)]))
		} else {
			b.WriteString(titleRune(string(c)))
		}
		inside = cased(c)
	}
	return b.String()
}
