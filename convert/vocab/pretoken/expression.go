package pretoken

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Canonical returns a form of a regular expression that is the same for expressions that
// cut text in the same way but are written otherwise: with escapes or the characters
// themselves, with groups and counts that change nothing, 's|'t or '[st] or (?i:'S|'T), \p{L} or
// \p{Letter}, possessive where nothing could be given back. Expressions are Oniguruma's, as in
// tokenizers, of the kind that pre-tokenizers have: an error says what else is in one. Not all that
// are equal are recognized; those with one form are.
//
// Case is folded in ASCII only: that Oniguruma's (?i:s) also matches the long s makes no form of its own.
func Canonical(expression string) (string, error) {
	n, err := parse(expression)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	n.print(&b)
	return b.String(), nil
}

// NeverMatches reports whether an expression matches nothing in texts of the byte-level alphabet.
func NeverMatches(expression string) bool {
	n, err := parse(expression)
	return err == nil && n.needsOther(alphabet)
}

// maxExpression is well above the longest that are in use (1 KiB), maxDepth above their nesting.
const (
	maxExpression = 1 << 12
	maxDepth      = 32
	maxCount      = 1000
)

func parse(expression string) (*node, error) {
	n, err := read(expression, false)
	if err != nil {
		return nil, err
	}
	return n.simplify(), nil
}

// read reads an expression as it is written. With longS, an s of any case may be long, as in Oniguruma.
func read(expression string, longS bool) (*node, error) {
	if len(expression) > maxExpression {
		return nil, fmt.Errorf("an expression of %d bytes", len(expression))
	}
	if !utf8.ValidString(expression) {
		return nil, errors.New("an expression that is not UTF-8")
	}
	p := parser{text: expression, longS: longS}
	n, err := p.alternatives(0)
	if err == nil && p.text != "" {
		err = errors.New("a group is closed that was not opened")
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

// node is an expression.
type node struct {
	op       op
	set      runes   // one character of these
	parts    []*node // of a sequence or of alternatives, the repeated, or what is looked at
	min, max int     // repetitions, max many for any number
	mode     byte    // of a repetition: 0, '?' for as few as possible or '+' for possessive (once: of a group); of a look: '=' or '!'
}

type op byte

const (
	opSet op = iota
	opSequence
	opAlternatives
	opRepeat
	opAhead
	opBehind
	opStart    // of a line or of the text
	opEnd      // of a line or of the text
	opBoundary // of a word
)

const many = -1

func (n *node) print(b *strings.Builder) {
	switch n.op {
	case opSet:
		for _, r := range n.set {
			b.WriteString(strconv.FormatInt(int64(r), 36))
			b.WriteByte('-')
		}
	case opStart:
		b.WriteByte('^')
	case opEnd:
		b.WriteByte('$')
	case opBoundary:
		b.WriteByte('b')
	default:
		fmt.Fprintf(b, "(%c", "..|*a<"[n.op])
		if n.op == opRepeat {
			fmt.Fprintf(b, "%d,%d", n.min, n.max)
		}
		if n.mode != 0 {
			b.WriteByte(n.mode)
		}
		for _, part := range n.parts {
			b.WriteByte(' ')
			part.print(b)
		}
		b.WriteByte(')')
	}
}

// needsOther reports whether every match has a character that is not in the given set.
func (n *node) needsOther(set runes) bool {
	switch n.op {
	case opSet:
		return !n.set.meets(set)
	case opSequence:
		return slices.ContainsFunc(n.parts, func(part *node) bool { return part.needsOther(set) })
	case opAlternatives:
		return !slices.ContainsFunc(n.parts, func(part *node) bool { return !part.needsOther(set) })
	case opRepeat:
		return n.min > 0 && n.parts[0].needsOther(set)
	}
	return false
}

// parser reads an expression from the front of text.
type parser struct {
	text  string
	fold  bool // (?i)
	longS bool // folding s, the long one too
}

func (p *parser) eat(prefix string) bool {
	rest, ok := strings.CutPrefix(p.text, prefix)
	p.text = rest
	return ok
}

func (p *parser) next() (rune, error) {
	r, size := utf8.DecodeRuneInString(p.text)
	if size == 0 {
		return 0, errors.New("the expression ends early")
	}
	p.text = p.text[size:]
	return r, nil
}

// alternatives reads up to the end or a closing parenthesis.
func (p *parser) alternatives(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errors.New("groups are nested too deep")
	}
	all := &node{op: opAlternatives}
	for {
		sequence := &node{op: opSequence}
		for p.text != "" && p.text[0] != '|' && p.text[0] != ')' {
			n, err := p.item(depth)
			if err != nil {
				return nil, err
			}
			sequence.parts = append(sequence.parts, n)
		}
		all.parts = append(all.parts, sequence)
		if !p.eat("|") {
			return all, nil
		}
	}
}

// item reads an element with its quantifiers.
func (p *parser) item(depth int) (*node, error) {
	n, err := p.atom(depth)
	for err == nil {
		least, most, ok := p.quantifier()
		if !ok {
			break
		}
		if least > maxCount || most > maxCount || most != many && least > most || n.op >= opAhead {
			return nil, errors.New("a repetition of another kind")
		}
		n = &node{op: opRepeat, parts: []*node{n}, min: least, max: most}
		switch interval := most != many && most > 1 || least > 1; {
		case p.eat("?"):
			n.mode = '?'
		case !interval && p.eat("+"): // after an interval it is one more repetition
			n.mode = '+'
		}
	}
	return n, err
}

func (p *parser) quantifier() (least, most int, ok bool) {
	switch {
	case p.eat("?"):
		return 0, 1, true
	case p.eat("*"):
		return 0, many, true
	case p.eat("+"):
		return 1, many, true
	}
	body, rest, ok := strings.Cut(p.text, "}")
	if !ok || !strings.HasPrefix(body, "{") {
		return 0, 0, false
	}
	first, last, isRange := strings.Cut(body[1:], ",")
	least, err := strconv.Atoi(first)
	if first == "" && isRange {
		least, err = 0, nil
	}
	most = least
	if isRange {
		most = many
		if last != "" {
			var lastErr error
			most, lastErr = strconv.Atoi(last)
			err = errors.Join(err, lastErr)
		}
	}
	if err != nil || least < 0 || most < many || first == "" && last == "" {
		return 0, 0, false // braces are characters then
	}
	p.text = rest
	return least, most, true
}

func (p *parser) atom(depth int) (*node, error) {
	switch {
	case p.eat("(?:"):
		return p.group(depth, p.fold)
	case p.eat("(?i:"):
		return p.group(depth, true)
	case p.eat("(?-i:"):
		return p.group(depth, false)
	case p.eat("(?i)"): // what follows is in the group of the flag
		return p.flagged(depth, true)
	case p.eat("(?-i)"):
		return p.flagged(depth, false)
	case p.eat("(?!"):
		return p.look(depth, opAhead, '!')
	case p.eat("(?="):
		return p.look(depth, opAhead, '=')
	case p.eat("(?<!"):
		return p.look(depth, opBehind, '!')
	case p.eat("(?<="):
		return p.look(depth, opBehind, '=')
	case p.eat("(?>"):
		n, err := p.group(depth, p.fold)
		return &node{op: opRepeat, mode: '+', parts: []*node{n}, min: 1, max: 1}, err
	case strings.HasPrefix(p.text, "(?"):
		return nil, fmt.Errorf("a group %.4s", p.text)
	case p.eat("("):
		return p.group(depth, p.fold)
	case p.eat("["):
		set, err := p.class(depth)
		return &node{set: set}, err
	case p.eat("^"):
		return &node{op: opStart}, nil
	case p.eat("$"), p.eat(`\z`), p.eat(`\Z`):
		return &node{op: opEnd}, nil
	case p.eat(`\b`):
		return &node{op: opBoundary}, nil
	case p.eat("."):
		return &node{set: runes{'\n', '\n'}.complement()}, nil
	case p.eat(`\`):
		set, err := p.escape()
		return &node{set: p.folded(set)}, err
	case strings.ContainsRune("*+?", rune(p.text[0])):
		return nil, fmt.Errorf("%q where something to match is needed", p.text[0])
	}
	r, err := p.next()
	return &node{set: p.folded(runes{r, r})}, err
}

// flagged reads alternatives, with the case folded or not.
func (p *parser) flagged(depth int, fold bool) (*node, error) {
	outer := p.fold
	p.fold = fold
	n, err := p.alternatives(depth + 1)
	p.fold = outer
	return n, err
}

// look reads what is looked at.
func (p *parser) look(depth int, op op, mode byte) (*node, error) {
	n, err := p.group(depth, p.fold)
	return &node{op: op, mode: mode, parts: []*node{n}}, err
}

func (p *parser) group(depth int, fold bool) (*node, error) {
	n, err := p.flagged(depth, fold)
	if err != nil {
		return nil, err
	}
	if !p.eat(")") {
		return nil, errors.New("a group is not closed")
	}
	return n, nil
}

// class reads what follows the bracket that opens a class.
func (p *parser) class(depth int) (runes, error) {
	negated := p.eat("^")
	set, err := p.members(depth)
	return p.folded(set.normal()).negated(negated), err
}

// members reads what is in a class, and the bracket that closes it.
func (p *parser) members(depth int) (runes, error) {
	if depth > maxDepth {
		return nil, errors.New("classes are nested too deep")
	}
	var set runes
	for first := true; ; first = false {
		switch {
		case !first && p.eat("]"):
			return set, nil
		case strings.HasPrefix(p.text, "[:"):
			return nil, fmt.Errorf("a class with %.2s", p.text)
		case p.eat("&&"):
			other, err := p.members(depth + 1)
			return slices.Concat(set.normal().complement(), other.normal().complement()).normal().complement(), err
		case p.eat("["):
			inner, err := p.class(depth + 1)
			if err != nil {
				return nil, err
			}
			set = append(set, inner...)
			continue
		}
		low, err := p.classItem()
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(p.text, "-") && !strings.HasPrefix(p.text, "-]") && len(low) == 2 && low[0] == low[1] {
			p.eat("-")
			high, err := p.classItem()
			if err != nil {
				return nil, err
			}
			if len(high) != 2 || high[0] != high[1] || high[0] < low[0] {
				return nil, errors.New("a range that does not end in a later character")
			}
			low = runes{low[0], high[0]}
		}
		set = append(set, low...)
	}
}

func (p *parser) classItem() (runes, error) {
	if p.eat(`\`) {
		return p.escape()
	}
	r, err := p.next()
	return runes{r, r}, err
}

// escape reads what follows a backslash.
func (p *parser) escape() (runes, error) {
	r, err := p.next()
	if err != nil {
		return nil, err
	}
	if i := strings.IndexRune("rntfvae", r); i >= 0 {
		c := rune("\r\n\t\f\v\a\x1b"[i])
		return runes{c, c}, nil
	}
	switch r {
	case 's', 'S':
		return tables(unicode.White_Space).negated(r == 'S'), nil
	case 'd', 'D':
		return property("Nd", unicode.Nd).negated(r == 'D'), nil
	case 'w', 'W':
		return wordCharacters().negated(r == 'W'), nil
	case 'p', 'P':
		return p.property(r == 'P')
	case 'x', 'u':
		return p.codePoint(r)
	}
	if r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
		return nil, fmt.Errorf(`an escape \%c`, r)
	}
	return runes{r, r}, nil
}

// property reads {NAME} or {^NAME}.
func (p *parser) property(negated bool) (runes, error) {
	name, rest, ok := strings.Cut(p.text, "}")
	if !ok || !strings.HasPrefix(name, "{") {
		return nil, errors.New("a property without a name")
	}
	p.text = rest
	name, inverse := strings.CutPrefix(name[1:], "^")
	plain := strings.NewReplacer(" ", "", "_", "", "-", "").Replace
	for _, known := range []map[string]*unicode.RangeTable{unicode.Categories, unicode.Scripts,
		{"White_Space": unicode.White_Space, "space": unicode.White_Space}} {
		for k, table := range known {
			if strings.EqualFold(plain(k), plain(name)) {
				return property(k, table).negated(negated != inverse), nil
			}
		}
	}
	for alias, k := range unicode.CategoryAliases {
		if strings.EqualFold(plain(alias), plain(name)) {
			return property(k, unicode.Categories[k]).negated(negated != inverse), nil
		}
	}
	return nil, fmt.Errorf("a property %.40q", name)
}

// codePoint reads the digits of \xHH, \x{H...} and \uHHHH.
func (p *parser) codePoint(kind rune) (runes, error) {
	digits, rest, ok := strings.Cut(p.text, "}")
	switch n := map[rune]int{'x': 2, 'u': 4}[kind]; {
	case kind == 'x' && ok && strings.HasPrefix(digits, "{"):
		digits = digits[1:]
	case len(p.text) < n:
		return nil, errors.New("a code point without digits")
	default:
		digits, rest = p.text[:n], p.text[n:]
	}
	v, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || v > unicode.MaxRune {
		return nil, errors.New("a code point without digits")
	}
	p.text = rest
	return runes{rune(v), rune(v)}, nil
}

// folded adds the other case of ASCII letters if case is folded.
func (p *parser) folded(set runes) runes {
	if !p.fold {
		return set
	}
	for r := 'a'; r <= 'z'; r++ {
		if upper := unicode.ToUpper(r); set.has(r) != set.has(upper) {
			set = append(slices.Clone(set), r, r, upper, upper).normal()
		}
	}
	if p.longS && set.has('s') {
		set = append(slices.Clone(set), 'ſ', 'ſ').normal()
	}
	return set
}
