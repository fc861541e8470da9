package display

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable returns text that may be from a file as it can be shown on a terminal:
// what is not a printable character, line ends and controls among them, is written
// as Go writes it in a string, \n or \x1b.
func Printable(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			b.WriteString(s[:size])
		} else {
			quoted := strconv.Quote(s[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}

// longestMessage and longestName are how many bytes are shown of a message and of a
// name or a value.
const longestMessage, longestName = 2000, 240

// Message returns what is printed of an error, a note or a warning: what is not
// printable escaped, all lines but the first indented, the middle left out if it is
// long.
func Message(message string) string {
	lines := strings.Split(message, "\n")
	for i, line := range lines {
		lines[i] = Printable(line)
	}
	return withoutMiddle(strings.Join(lines, "\n  "), longestMessage)
}

// Visible escapes control characters but for line ends and tabs: for what is written
// to a terminal from wherever it may be, such as what a model says.
func Visible(p []byte) []byte {
	control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
	if !bytes.ContainsFunc(p, control) {
		return p
	}
	var b bytes.Buffer
	for _, r := range string(p) {
		if control(r) {
			b.WriteString(Printable(string(r)))
		} else {
			b.WriteRune(r)
		}
	}
	return b.Bytes()
}

// Name returns what is printed of a name: on one line, and not without end.
func Name(name string) string { return withoutMiddle(Printable(name), longestName) }

// Quoted returns a name as it is if it is printable and cannot be taken for a quoted one.
func Quoted(name string) string {
	if Printable(name) == name && !strings.HasPrefix(name, `"`) {
		return withoutMiddle(name, longestName)
	}
	return withoutMiddle(strconv.Quote(name), longestName)
}

// withoutMiddle leaves out the middle of a text of more than so many bytes.
func withoutMiddle(s string, most int) string {
	const gap = " ... "
	if len(s) <= most {
		return s
	}
	half := (most - len(gap)) / 2
	return strings.ToValidUTF8(s[:half], "") + gap + strings.ToValidUTF8(s[len(s)-half:], "")
}
