package recipe

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dlclark/regexp2/v2"
)

// pattern is a regular expression that means what it means to llama-quantize: C++'s
// std::regex in its ECMAScript grammar, as GNU's library has it, on bytes, in the C
// locale. It is translated: into a regular expression of Go, which takes linear time,
// or if it has look-aheads or back-references, into one of regexp2, whose time and
// memory are limited.
type pattern struct {
	linear       *regexp.Regexp
	backtracking *regexp2.Regexp // if linear is nil
}

// Limits. Names of tensors have no more than 64 characters, on which an honest pattern
// takes microseconds.
const (
	maxPattern     = 1 << 16 // bytes
	maxNesting     = 200     // of groups and quantifiers
	maxBacktrack   = 1 << 20 // entries of regexp2's stack
	maxPatternTime = 2 * time.Second
)

// compilePattern reads a pattern whose ASCII letters are lower case.
func compilePattern(s string) (*pattern, error) {
	if len(s) > maxPattern {
		return nil, fmt.Errorf("a pattern of %d bytes is too long", len(s))
	}
	p := patternParser{s: s}
	if err := p.disjunction(false); err != nil {
		return nil, err
	}
	switch c, more := p.peek(); {
	case !more:
	case c == ')':
		return nil, errors.New("there is a ) without (")
	default:
		return nil, fmt.Errorf("there is nothing that %q could repeat", c)
	}
	translated := string(p.out)
	if !p.backtracks {
		if re, err := regexp.Compile(translated); err == nil {
			return &pattern{linear: re}, nil
		} // too large for Go
	}
	// regexp2 counts all letters there are as parts of words.
	translated = strings.ReplaceAll(translated, `\b`, `(?:(?<=`+wordClass+`)(?!`+wordClass+`)|(?<!`+wordClass+`)(?=`+wordClass+`))`)
	re, err := regexp2.Compile(translated, regexp2.OptionMaxBacktrackingStackSize(maxBacktrack))
	if err != nil {
		return nil, fmt.Errorf("the pattern is too large: %w", err)
	}
	re.MatchTimeout = maxPatternTime
	return &pattern{backtracking: re}, nil
}

// match reports whether the pattern is found in a name. The error is that this takes
// too long.
func (p *pattern) match(name string) (bool, error) {
	// A character for each byte.
	bytes := make([]rune, len(name))
	for i := range bytes {
		bytes[i] = rune(name[i])
	}
	if p.linear != nil {
		return p.linear.MatchString(string(bytes)), nil
	}
	found, err := p.backtracking.MatchRunes(bytes)
	if err != nil {
		return false, fmt.Errorf("the pattern takes too long on %q", name)
	}
	return found, nil
}

// patternParser translates a pattern. Of what it writes, only \b and \z have letters
// after a backslash.
type patternParser struct {
	s          string
	at         int
	out        []byte
	groups     int   // that were opened
	open       []int // those not closed
	nesting    int
	backtracks bool // there are look-aheads or back-references
}

func (p *patternParser) peek() (byte, bool) {
	if p.at == len(p.s) {
		return 0, false
	}
	return p.s[p.at], true
}

// skip goes on after a prefix of what is left, if it is one.
func (p *patternParser) skip(prefix string) bool {
	if !strings.HasPrefix(p.s[p.at:], prefix) {
		return false
	}
	p.at += len(prefix)
	return true
}

// disjunction reads alternatives up to what can be in none of them. ahead means that
// they are the first in a look-ahead: for GNU's library, the text begins there.
func (p *patternParser) disjunction(ahead bool) error {
	if p.nesting++; p.nesting > maxNesting {
		return errors.New("the pattern is nested too deeply")
	}
	defer func() { p.nesting-- }()
	for {
		for first := ahead; ; first = false {
			more, err := p.term(first)
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
		if !p.skip("|") {
			return nil
		}
		p.out = append(p.out, '|')
	}
}

// term reads an assertion, or an atom with its quantifiers. It reports whether there
// was one.
func (p *patternParser) term(ahead bool) (bool, error) {
	switch {
	case p.at == len(p.s), strings.IndexByte("|)*+?{", p.s[p.at]) >= 0:
		return false, nil
	case p.skip("^"):
		if !ahead {
			p.out = append(p.out, '^')
		}
		return true, nil
	case p.skip("$"):
		p.out = append(p.out, `\z`...)
		return true, nil
	case p.skip(`\b`):
		if ahead {
			p.out = append(p.out, "(?="+wordClass+")"...)
		} else {
			p.out = append(p.out, `\b`...)
		}
		return true, nil
	case p.skip("(?!"):
		p.backtracks = true
		p.out = append(p.out, "(?!"...)
		return true, p.group(true)
	}
	before := len(p.out)
	if err := p.atom(ahead); err != nil {
		return true, err
	}
	return true, p.quantifiers(before)
}

// group reads up to the end of a group.
func (p *patternParser) group(ahead bool) error {
	if err := p.disjunction(ahead); err != nil {
		return err
	}
	if c, more := p.peek(); more && c != ')' {
		return fmt.Errorf("there is nothing that %q could repeat", c)
	}
	if !p.skip(")") {
		return errors.New("a ) is missing")
	}
	p.out = append(p.out, ')')
	return nil
}

// atom reads what can be repeated.
func (p *patternParser) atom(ahead bool) error {
	switch {
	case p.skip("(?:"):
		p.out = append(p.out, "(?:"...)
		return p.group(ahead)
	case p.skip("(?"):
		return errors.New("of groups that start with (?, there are (?: and (?! only") // the = of (?= has ended the pattern
	case p.skip("("):
		p.groups++
		p.open = append(p.open, p.groups)
		p.out = append(p.out, '(')
		err := p.group(ahead)
		p.open = p.open[:len(p.open)-1]
		return err
	case p.skip("."):
		p.class(func(c byte) bool { return c != '\n' && c != '\r' })
		return nil
	case p.skip("["):
		return p.bracket()
	case p.skip(`\`):
		return p.escape()
	}
	p.literal(p.s[p.at])
	p.at++
	return nil
}

func (p *patternParser) escape() error {
	if c, more := p.peek(); more && '1' <= c && c <= '9' {
		return p.backReference()
	}
	c, class, err := p.escaped()
	switch {
	case err != nil:
		return err
	case class != nil:
		p.class(class)
	default:
		p.literal(c)
	}
	return nil
}

func (p *patternParser) backReference() error {
	digits := p.digits()
	n, err := strconv.Atoi(digits)
	if err != nil || n > p.groups {
		return fmt.Errorf(`there is no group before \%s`, digits)
	}
	for _, group := range p.open {
		if n == group {
			return fmt.Errorf(`\%s is in the group that it refers to`, digits)
		}
	}
	p.backtracks = true
	p.out = append(p.out, `(?:\`+digits+`)`...)
	return nil
}

// digits reads digits.
func (p *patternParser) digits() string {
	rest := p.s[p.at:]
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	p.at += len(digits)
	return digits
}

// escaped reads what follows a backslash: a character, or a class of characters.
func (p *patternParser) escaped() (byte, func(byte) bool, error) {
	c, more := p.peek()
	if !more {
		return 0, nil, errors.New("the pattern ends in a backslash")
	}
	p.at++
	switch c {
	case '0':
		return 0, nil, nil
	case 'f', 'n', 'r', 't', 'v':
		return map[byte]byte{'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v'}[c], nil, nil
	case 'd':
		return 0, isDigit, nil
	case 's':
		return 0, isSpace, nil
	case 'w':
		return 0, isWord, nil
	case 'c':
		c, more := p.peek()
		if !more {
			return 0, nil, errors.New(`nothing follows \c`)
		}
		p.at++
		return c, nil, nil
	case 'x', 'u':
		n := map[byte]int{'x': 2, 'u': 4}[c]
		code, err := strconv.ParseUint(p.s[p.at:min(len(p.s), p.at+n)], 16, 16)
		if err != nil || len(p.s) < p.at+n {
			return 0, nil, fmt.Errorf(`\%c is not followed by %d hexadecimal digits`, c, n)
		}
		p.at += n
		return byte(code), nil, nil
	}
	return c, nil, nil
}

// quantifiers reads those of the atom that was written from before on.
func (p *patternParser) quantifiers(before int) error {
	for n := 0; ; n++ {
		repeat := ""
		switch {
		case p.skip("*"):
			repeat = "*"
		case p.skip("+"):
			repeat = "+"
		case p.skip("?"):
			repeat = "?"
		case p.skip("{"):
			var err error
			if repeat, err = p.interval(); err != nil {
				return err
			}
		default:
			return nil
		}
		if p.skip("?") {
			repeat += "?"
		}
		if n > maxNesting {
			return errors.New("the pattern is nested too deeply")
		}
		if n > 0 {
			p.out = append(slices.Insert(p.out, before, []byte("(?:")...), ')')
		}
		p.out = append(p.out, repeat...)
	}
}

// interval reads {n}, {n,} or {n,m} after the brace.
func (p *patternParser) interval() (string, error) {
	least, err := strconv.ParseInt(p.digits(), 10, 32)
	most := least
	if err == nil && p.skip(",") {
		most = math.MaxInt32
		if c, more := p.peek(); more && isDigit(c) {
			most, err = strconv.ParseInt(p.digits(), 10, 32)
		}
	}
	switch {
	case err != nil, most < least, !p.skip("}"):
		return "", errors.New("a repeat is none of {n}, {n,} and {n,m}")
	case most == math.MaxInt32:
		return fmt.Sprintf("{%d,}", least), nil
	}
	return fmt.Sprintf("{%d,%d}", least, most), nil
}

// bracket reads a class of characters after its [.
func (p *patternParser) bracket() error {
	negative := p.skip("^")
	var set [256]bool
	const none, class = -1, -2
	last := none // the character before, that a range may start with
	add := func(c byte) { set[c], last = true, int(c) }
	for first := true; !p.skip("]"); first = false {
		if p.at == len(p.s) {
			return errors.New("a ] is missing")
		}
		if !p.skip("-") {
			c, in, err := p.bracketItem()
			if err != nil {
				return err
			}
			if in == nil {
				add(c)
				continue
			}
			for c := range 256 {
				set[c] = set[c] || in(byte(c))
			}
			last = class
			continue
		}
		if first || last == none {
			add('-')
			continue
		}
		switch next, more := p.peek(); {
		case !more:
			return errors.New("a ] is missing")
		case next == ']':
			add('-')
			continue
		case last == class:
			return errors.New("a range of characters starts with a class")
		}
		to := byte('-')
		if !p.skip("-") {
			if strings.HasPrefix(p.s[p.at:], "[.") {
				return errors.New("a range of characters ends in a name")
			}
			c, in, err := p.bracketItem()
			if err != nil {
				return err
			}
			if in != nil {
				return errors.New("a range of characters ends in a class")
			}
			to = c
		}
		if int(to) < last {
			return fmt.Errorf("the range of characters from %q to %q is empty", byte(last), to)
		}
		for c := last; c <= int(to); c++ {
			set[c] = true
		}
		last = none
	}
	p.class(func(c byte) bool { return set[c] != negative })
	return nil
}

// bracketItem reads a character in a class, or a class in it.
func (p *patternParser) bracketItem() (byte, func(byte) bool, error) {
	switch {
	case p.skip(`\`):
		switch c, more := p.peek(); {
		case more && '1' <= c && c <= '9':
			return 0, nil, errors.New("a class of characters has a back-reference")
		case p.skip("b"):
			return '\b', nil, nil
		}
		return p.escaped()
	case p.skip("[:"):
		name, err := p.named(":]")
		if err != nil {
			return 0, nil, err
		}
		class, ok := namedClasses[name]
		if !ok {
			return 0, nil, fmt.Errorf("there is no class of characters called %q", name)
		}
		return 0, class, nil
	case p.skip("[."):
		name, err := p.named(".]")
		if err != nil {
			return 0, nil, err
		}
		c, ok := namedCharacters[name]
		if len(name) == 1 && isLetter(name[0]) {
			c, ok = name[0], true
		}
		if !ok {
			return 0, nil, fmt.Errorf("there is no character called %q", name)
		}
		return c, nil, nil
	}
	c := p.s[p.at]
	p.at++
	return c, nil, nil
}

// named reads up to an end.
func (p *patternParser) named(end string) (string, error) {
	name, _, ok := strings.Cut(p.s[p.at:], end)
	if !ok {
		return "", fmt.Errorf("a %s is missing", end)
	}
	p.at += len(name) + len(end)
	return name, nil
}

// literal writes a character that stands for itself.
func (p *patternParser) literal(c byte) { p.out = append(p.out, literalText(c)...) }

func literalText(c byte) string {
	if isWord(c) {
		return string(rune(c))
	}
	return fmt.Sprintf(`\x%02x`, c)
}

// class writes a class of characters.
func (p *patternParser) class(in func(byte) bool) { p.out = append(p.out, classText(in)...) }

// classText returns the class of the characters that are in it.
func classText(in func(byte) bool) string {
	var b strings.Builder
	for c := 0; c < 256; c++ {
		if !in(byte(c)) {
			continue
		}
		to := c
		for to < 255 && in(byte(to+1)) {
			to++
		}
		fmt.Fprintf(&b, `\x%02x-\x%02x`, c, to)
		c = to
	}
	if b.Len() == 0 {
		return "Ā" // no byte
	}
	return "[" + b.String() + "]"
}

var wordClass = classText(isWord)

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }
func isWord(c byte) bool   { return isLetter(c) || isDigit(c) || c == '_' }
func isSpace(c byte) bool  { return c == ' ' || '\t' <= c && c <= '\r' }
func isPrint(c byte) bool  { return ' ' <= c && c <= '~' }

// namedClasses are those of [:NAME:].
var namedClasses = map[string]func(byte) bool{
	"d": isDigit, "digit": isDigit,
	"s": isSpace, "space": isSpace,
	"w":     isWord,
	"alpha": isLetter,
	"alnum": func(c byte) bool { return isLetter(c) || isDigit(c) },
	"blank": func(c byte) bool { return c == ' ' || c == '\t' },
	"cntrl": func(c byte) bool { return c < ' ' || c == 127 },
	"graph": func(c byte) bool { return isPrint(c) && c != ' ' },
	"lower": func(c byte) bool { return 'a' <= c && c <= 'z' },
	"print": isPrint,
	"punct": func(c byte) bool { return isPrint(c) && c != ' ' && !isLetter(c) && !isDigit(c) },
	"upper": func(c byte) bool { return 'A' <= c && c <= 'Z' },
	"xdigit": func(c byte) bool {
		return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
	},
}

// namedCharacters are those of [.NAME.] beside letters.
var namedCharacters = map[string]byte{
	"alert": '\a', "backspace": '\b', "tab": '\t', "newline": '\n', "vertical-tab": '\v', "form-feed": '\f', "carriage-return": '\r',
	"space": ' ', "exclamation-mark": '!', "quotation-mark": '"', "number-sign": '#', "dollar-sign": '$', "percent-sign": '%',
	"ampersand": '&', "apostrophe": '\'', "left-parenthesis": '(', "right-parenthesis": ')', "asterisk": '*', "plus-sign": '+',
	"comma": ',', "hyphen": '-', "period": '.', "slash": '/', "zero": '0', "one": '1', "two": '2', "three": '3', "four": '4',
	"five": '5', "six": '6', "seven": '7', "eight": '8', "nine": '9', "colon": ':', "semicolon": ';', "less-than-sign": '<',
	"equals-sign": '=', "greater-than-sign": '>', "question-mark": '?', "commercial-at": '@', "left-square-bracket": '[',
	"backslash": '\\', "right-square-bracket": ']', "circumflex": '^', "underscore": '_', "grave-accent": '`',
	"left-curly-bracket": '{', "vertical-line": '|', "right-curly-bracket": '}', "tilde": '~',
}
