package main

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable returns text that may be from a file as it can be shown on a terminal:
// what is not a printable character, line ends and controls among them, is written
// as Go writes it in a string, \n or \x1b.
func printable(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if unicode.IsPrint(r) && !(r == utf8.RuneError && size == 1) {
			b.WriteString(s[:size])
		} else {
			quoted := strconv.Quote(s[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}

// longestError and longestName are how many bytes are shown of an error and of a
// name or a value.
const longestError, longestName = 2000, 240

// errorText returns what is printed of an error: what is not printable escaped, all
// lines but the first indented, the middle left out if it is long.
func errorText(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	return withoutMiddle(strings.Join(lines, "\n  "), longestError)
}

// nameText returns what is printed of a name: on one line, and not without end.
func nameText(name string) string { return withoutMiddle(printable(name), longestName) }

// withoutMiddle leaves out the middle of a text of more than so many bytes.
func withoutMiddle(s string, most int) string {
	const gap = " ... "
	if len(s) <= most {
		return s
	}
	half := (most - len(gap)) / 2
	return strings.ToValidUTF8(s[:half], "") + gap + strings.ToValidUTF8(s[len(s)-half:], "")
}
