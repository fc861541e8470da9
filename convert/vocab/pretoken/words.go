package pretoken

import (
	"unicode"
	"unicode/utf8"
)

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
	return !isLetter(r) && !isNumber(r) && !unicode.IsSpace(r)
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
