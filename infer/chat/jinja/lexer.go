package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind string

const (
	tokenData          tokenKind = "text"
	tokenVariableBegin tokenKind = "'{{'"
	tokenVariableEnd   tokenKind = "'}}'"
	tokenBlockBegin    tokenKind = "'{%'"
	tokenBlockEnd      tokenKind = "'%}'"
	tokenName          tokenKind = "name"
	tokenString        tokenKind = "string"
	tokenInteger       tokenKind = "integer"
	tokenFloat         tokenKind = "float"
	tokenOperator      tokenKind = "operator"
	tokenEnd           tokenKind = "end of template"
)

type token struct {
	kind tokenKind
	text string // of a string: what it stands for
	line int
}

func (t token) String() string {
	switch t.kind {
	case tokenName, tokenOperator, tokenInteger, tokenFloat:
		return strconv.Quote(t.text)
	}
	return string(t.kind)
}

// lexer cuts a template into tokens. Blocks and comments take the line end
// after them and the space before them on their line, as transformers sets
// trim_blocks and lstrip_blocks.
type lexer struct {
	source    string // with \n as the only line end
	at        int
	line      int
	tokens    []token
	lineStart bool // the last thing read ended with a line end
	plain     bool // tags take nothing with them that they do not say
}

// lex returns the tokens of a template, the last of them tokenEnd.
func lex(source string, plain bool) []token {
	source = strings.ToValidUTF8(source, string(utf8.RuneError))
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	if !plain {
		source = strings.TrimSuffix(source, "\n")
	}
	l := &lexer{source: source, line: 1, lineStart: true, plain: plain}
	for l.at < len(l.source) {
		l.root()
	}
	l.add(tokenEnd, "")
	return l.tokens
}

func (l *lexer) fail(format string, args ...any) {
	panic(failure{&SyntaxError{Line: l.line, Message: fmt.Sprintf(format, args...)}})
}

func (l *lexer) add(kind tokenKind, text string) {
	l.tokens = append(l.tokens, token{kind, text, l.line})
}

func (l *lexer) rest() string { return l.source[l.at:] }

// skip goes n bytes on.
func (l *lexer) skip(n int) {
	s := l.source[l.at : l.at+n]
	l.line += strings.Count(s, "\n")
	l.at += n
	if s != "" {
		l.lineStart = strings.HasSuffix(s, "\n")
	}
}

func (l *lexer) skipSpace() { l.skip(len(l.rest()) - len(strings.TrimLeftFunc(l.rest(), isSpace))) }

// accept skips a text if it is next.
func (l *lexer) accept(s string) bool {
	if !strings.HasPrefix(l.rest(), s) {
		return false
	}
	l.skip(len(s))
	return true
}

// root reads text and the tag that follows it.
func (l *lexer) root() {
	rest, begin := l.rest(), -1
	for i := 0; i+1 < len(rest); i++ {
		if rest[i] == '{' && (rest[i+1] == '{' || rest[i+1] == '%' || rest[i+1] == '#') {
			begin = i
			break
		}
	}
	if begin < 0 {
		l.data(rest)
		l.skip(len(rest))
		return
	}
	tag, sign := rest[begin:begin+2], l.sign(begin+2)
	l.data(l.stripped(rest[:begin], sign, tag == "{{"))
	l.skip(begin + 2 + len(sign))
	switch tag {
	case "{{":
		l.add(tokenVariableBegin, "")
		l.expression(tokenVariableEnd)
	case "{#":
		l.comment()
	default:
		if n := l.keyword("raw"); n > 0 && l.rawBegin(n) {
			l.raw()
			return
		}
		l.add(tokenBlockBegin, "")
		l.expression(tokenBlockEnd)
	}
}

func (l *lexer) data(s string) {
	if s != "" {
		l.add(tokenData, s)
	}
}

// sign returns the "-" or "+" that may follow the beginning of a tag.
func (l *lexer) sign(offset int) string {
	if rest := l.rest(); offset < len(rest) && (rest[offset] == '-' || rest[offset] == '+') {
		return rest[offset : offset+1]
	}
	return ""
}

// stripped takes the space off the end of text before a tag.
func (l *lexer) stripped(s, sign string, variable bool) string {
	if sign == "-" {
		return strings.TrimRightFunc(s, isSpace)
	}
	if sign == "+" || variable || l.plain {
		return s
	}
	start := strings.LastIndex(s, "\n") + 1
	if (start > 0 || l.lineStart) && strings.TrimLeftFunc(s[start:], isSpace) == "" {
		return s[:start]
	}
	return s
}

// keyword returns how long the next word is with the space around it, 0 if it
// is another.
func (l *lexer) keyword(word string) int {
	rest := l.rest()
	s := strings.TrimLeftFunc(rest, isSpace)
	if !strings.HasPrefix(s, word) {
		return 0
	}
	return len(rest) - len(strings.TrimLeftFunc(s[len(word):], isSpace))
}

// rawBegin reads the end of a raw tag n bytes on, if it is there.
func (l *lexer) rawBegin(n int) bool {
	switch rest := l.source[l.at+n:]; {
	case strings.HasPrefix(rest, "-%}"):
		l.skip(n + 3)
		l.skipSpace()
	case strings.HasPrefix(rest, "%}"):
		l.skip(n + 2)
	default:
		return false
	}
	return true
}

// raw reads text up to the endraw tag.
func (l *lexer) raw() {
	start := l.at
	for i := start; ; i++ {
		next := strings.Index(l.source[i:], "{%")
		if next < 0 {
			if start == len(l.source) { // as the reference has it
				return
			}
			l.fail("Missing end of raw directive")
		}
		i += next
		l.at = i
		sign := l.sign(2)
		l.at += 2 + len(sign)
		if n := l.keyword("endraw"); n > 0 {
			body, tag := l.source[start:i], l.at-i
			l.at = i
			mark := l.line
			body = l.stripped(body, sign, false)
			l.at = i + tag + n
			if l.blockEnd() {
				l.line = mark
				l.data(body)
				l.line += strings.Count(l.source[start:l.at], "\n")
				return
			}
		}
	}
}

func (l *lexer) comment() {
	end := strings.Index(l.rest(), "#}")
	if end < 0 {
		if l.rest() == "" { // as the reference has it
			return
		}
		l.fail("Missing end of comment tag")
	}
	sign := byte(0)
	if end > 0 {
		sign = l.rest()[end-1]
	}
	l.skip(end + 2)
	l.trim(sign)
}

// trim skips what a block or comment takes with it.
func (l *lexer) trim(sign byte) {
	switch sign {
	case '-':
		l.skipSpace()
	case '+':
	default:
		if !l.plain {
			l.accept("\n")
		}
	}
}

func (l *lexer) blockEnd() bool {
	for _, end := range []string{"-%}", "+%}", "%}"} {
		if l.accept(end) {
			l.trim(end[0])
			return true
		}
	}
	return false
}

func (l *lexer) variableEnd() bool {
	if l.accept("-}}") {
		l.skipSpace()
		return true
	}
	return l.accept("}}")
}

var brackets = map[string]string{"(": ")", "[": "]", "{": "}"}

// expression reads the tokens of a tag up to its end.
func (l *lexer) expression(end tokenKind) {
	var open []string
	for l.at < len(l.source) {
		if len(open) == 0 {
			if end == tokenVariableEnd && l.variableEnd() || end == tokenBlockEnd && l.blockEnd() {
				l.add(end, "")
				return
			}
		}
		switch c, _ := utf8.DecodeRuneInString(l.rest()); {
		case isSpace(c):
			l.skipSpace()
		case isDigit(l.source[l.at]):
			l.number()
		case c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c):
			l.name()
		case c == '\'' || c == '"':
			l.str(byte(c))
		default:
			op := l.operator()
			if closing, ok := brackets[op]; ok {
				open = append(open, closing)
			} else if op == ")" || op == "]" || op == "}" {
				if len(open) == 0 {
					l.fail("unexpected '%s'", op)
				}
				if want := open[len(open)-1]; want != op {
					l.fail("unexpected '%s', expected '%s'", op, want)
				}
				open = open[:len(open)-1]
			}
		}
	}
}

func (l *lexer) name() {
	rest := l.rest()
	n := strings.IndexFunc(rest, func(c rune) bool {
		return c != '_' && !unicode.IsLetter(c) && !unicode.In(c, unicode.Nd, unicode.Mn, unicode.Mc)
	})
	if n < 0 {
		n = len(rest)
	}
	l.add(tokenName, rest[:n])
	l.skip(n)
}

// digits returns how many bytes at offset are digits with single underscores
// between them.
func (l *lexer) digits(offset int, digit func(byte) bool, underscoreFirst bool) int {
	rest, n := l.rest()[offset:], 0
	for n < len(rest) {
		switch {
		case digit(rest[n]):
			n++
		case rest[n] == '_' && (n > 0 || underscoreFirst) && n+1 < len(rest) && digit(rest[n+1]):
			n += 2
		default:
			return n
		}
	}
	return n
}

func (l *lexer) number() {
	rest := l.rest()
	n := l.digits(0, isDigit, false)
	float := false
	if afterDot := l.at > 0 && l.source[l.at-1] == '.'; !afterDot {
		m := n
		if strings.HasPrefix(rest[m:], ".") {
			if d := l.digits(m+1, isDigit, false); d > 0 {
				m += 1 + d
				n, float = m, true
			}
		}
		if m < len(rest) && rest[m]|0x20 == 'e' {
			m++
			if m < len(rest) && (rest[m] == '+' || rest[m] == '-') {
				m++
			}
			if d := l.digits(m, isDigit, false); d > 0 {
				n, float = m+d, true
			}
		}
	}
	if float {
		l.add(tokenFloat, strings.ReplaceAll(rest[:n], "_", ""))
		l.skip(n)
		return
	}
	if rest[0] == '0' {
		n = 1 + l.digits(1, func(c byte) bool { return c == '0' }, true)
		for prefix, digits := range map[string]string{"0b": "01", "0o": "01234567", "0x": "0123456789abcdefABCDEF"} {
			if strings.HasPrefix(strings.ToLower(rest[:min(2, len(rest))]), prefix) {
				if d := l.digits(2, func(c byte) bool { return strings.IndexByte(digits, c) >= 0 }, true); d > 0 {
					n = 2 + d
				}
			}
		}
	}
	l.add(tokenInteger, strings.ReplaceAll(rest[:n], "_", ""))
	l.skip(n)
}

var operators = []string{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

func (l *lexer) operator() string {
	for _, op := range operators {
		if strings.HasPrefix(l.rest(), op) {
			l.add(tokenOperator, op)
			l.skip(len(op))
			return op
		}
	}
	c, _ := utf8.DecodeRuneInString(l.rest())
	l.fail("unexpected char %q", c)
	return ""
}

func (l *lexer) str(quote byte) {
	rest := l.rest()
	for n := 1; n < len(rest); n++ {
		switch rest[n] {
		case '\\':
			n++
		case quote:
			l.add(tokenString, l.unescape(rest[1:n]))
			l.skip(n + 1)
			return
		}
	}
	l.fail("unexpected char %q", quote)
}

var escapes = map[byte]string{'\n': "", '\\': "\\", '\'': "'", '"': "\"", 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v"}

// unescape does Python's escapes; those it does not know stay as they are.
func (l *lexer) unescape(s string) string {
	if !strings.Contains(s, "\\") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if plain, ok := escapes[s[i]]; ok {
			b.WriteString(plain)
			continue
		}
		size, base := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[i]], 16
		digits := s[i+1:]
		switch {
		case size > 0:
			i += size
		case '0' <= s[i] && s[i] <= '7':
			digits, base = s[i:], 8
			for size < 3 && size < len(digits) && '0' <= digits[size] && digits[size] <= '7' {
				size++
			}
			i += size - 1
		case s[i] == 'N':
			l.fail("characters by name are not supported")
		default:
			b.WriteByte('\\')
			b.WriteByte(s[i])
			continue
		}
		c, err := strconv.ParseUint(digits[:min(size, len(digits))], base, 32)
		if err != nil || len(digits) < size || c > unicode.MaxRune {
			l.fail("a truncated or wrong escape in a string")
		}
		if !utf8.ValidRune(rune(c)) {
			l.fail("half of a character in a string: \\u%04x", c)
		}
		b.WriteRune(rune(c))
	}
	return b.String()
}
