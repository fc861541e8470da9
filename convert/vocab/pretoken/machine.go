package pretoken

import (
	"errors"
	"unicode/utf8"
)

// program is an expression made ready to run, by backtracking: the first alternative that leads to a match
// is taken, as in Oniguruma.
type program []instruction

type instruction struct {
	op       opcode
	set      *charset
	min, max int  // of a run
	other    int  // the instruction to go on with: after a jump, a failed fork, or a look or atom, which come before theirs
	negated  bool // of a look
	back     int  // characters that a look goes back
}

type opcode byte

const (
	runOf    opcode = iota // from min to max characters of a set, as many as possible
	fork                   // the next instruction or else the other
	lazyFork               // the other instruction or else the next
	jump                   //
	look                   // what follows up to found matches here or some characters before, or does not
	atom                   // what follows up to found, as it matches first
	atStart                // of a line or of the text
	atEnd                  // of a line or of the text
	boundary               // of a word
	found
)

// charset is a set of characters.
type charset struct {
	ascii [2]uint64
	runes runes
}

func newCharset(set runes) *charset {
	c := &charset{runes: set}
	for r := range rune(utf8.RuneSelf) {
		if set.has(r) {
			c.ascii[r>>6] |= 1 << (r & 63)
		}
	}
	return c
}

func (c *charset) has(r rune) bool {
	if r < utf8.RuneSelf {
		return c.ascii[r>>6]>>(r&63)&1 != 0
	}
	return c.runes.has(r)
}

// compile makes a program of an expression. It refuses repetitions of what may be nothing.
func compile(expression string) (program, error) {
	n, err := read(expression, true)
	if err != nil {
		return nil, err
	}
	var p program
	if err := p.compile(n); err != nil {
		return nil, err
	}
	return append(p, instruction{op: found}), nil
}

// maxProgram is well above what expressions in use need (300 instructions).
const maxProgram = 1 << 14

func (p *program) add(i instruction) int {
	*p = append(*p, i)
	return len(*p) - 1
}

func (p *program) here(at int) { (*p)[at].other = len(*p) }

func (p *program) compile(n *node) error {
	if len(*p) > maxProgram {
		return errors.New("an expression that is too large")
	}
	switch n.op {
	case opSet:
		p.add(instruction{op: runOf, set: newCharset(n.set), min: 1, max: 1})
	case opSequence:
		for _, part := range n.parts {
			if err := p.compile(part); err != nil {
				return err
			}
		}
	case opAlternatives:
		return p.alternatives(n.parts)
	case opRepeat:
		return p.repeat(n)
	case opAhead, opBehind:
		return p.look(n)
	case opStart:
		p.add(instruction{op: atStart})
	case opEnd:
		p.add(instruction{op: atEnd})
	case opBoundary:
		p.add(instruction{op: boundary})
	}
	return nil
}

func (p *program) look(n *node) error {
	i := instruction{op: look, negated: n.mode == '!'}
	if n.op == opBehind {
		var ok bool
		if i.back, ok = n.parts[0].width(); !ok || i.back > maxCount {
			return errors.New("a look behind at texts of more than one length, or long ones")
		}
	}
	at := p.add(i)
	if err := p.compile(n.parts[0]); err != nil {
		return err
	}
	p.add(instruction{op: found})
	p.here(at)
	return nil
}

// width returns the number of characters that all matches of a node have.
func (n *node) width() (int, bool) {
	switch n.op {
	case opSet:
		return 1, true
	case opSequence, opAlternatives:
		width := 0
		for i, part := range n.parts {
			w, ok := part.width()
			if !ok || n.op == opAlternatives && i > 0 && w != width {
				return 0, false
			}
			if n.op == opAlternatives {
				width = w
			} else {
				width += w
			}
		}
		return width, true
	case opRepeat:
		w, ok := n.parts[0].width()
		return n.min * w, ok && n.min == n.max
	}
	return 0, true
}

func (p *program) alternatives(parts []*node) error {
	var jumps []int
	for i, part := range parts {
		last := i == len(parts)-1
		at := 0
		if !last {
			at = p.add(instruction{op: fork})
		}
		if err := p.compile(part); err != nil {
			return err
		}
		if !last {
			jumps = append(jumps, p.add(instruction{op: jump}))
			p.here(at)
		}
	}
	for _, at := range jumps {
		p.here(at)
	}
	return nil
}

func (p *program) repeat(n *node) error {
	inner := n.parts[0]
	switch {
	case n.mode == '+':
		at := p.add(instruction{op: atom})
		greedy := *n
		greedy.mode = 0
		if err := p.repeat(&greedy); err != nil {
			return err
		}
		p.add(instruction{op: found})
		p.here(at)
		return nil
	case inner.single() != nil && n.mode != '?':
		p.add(instruction{op: runOf, set: newCharset(inner.single().set), min: n.min, max: n.max})
		return nil
	case inner.nullable():
		return errors.New("a repetition of what may be nothing")
	}
	for range n.min {
		if err := p.compile(inner); err != nil {
			return err
		}
	}
	choice := fork
	if n.mode == '?' {
		choice = lazyFork
	}
	if n.max == many {
		at := p.add(instruction{op: choice})
		if err := p.compile(inner); err != nil {
			return err
		}
		p.add(instruction{op: jump, other: at})
		p.here(at)
		return nil
	}
	var forks []int
	for range n.max - n.min {
		forks = append(forks, p.add(instruction{op: choice}))
		if err := p.compile(inner); err != nil {
			return err
		}
	}
	for _, at := range forks {
		p.here(at)
	}
	return nil
}

// single returns the set that a node is in groups that change nothing, or nil.
func (n *node) single() *node {
	for (n.op == opSequence || n.op == opAlternatives) && len(n.parts) == 1 {
		n = n.parts[0]
	}
	if n.op != opSet {
		return nil
	}
	return n
}

// nullable reports whether a node matches without a character.
func (n *node) nullable() bool {
	switch n.op {
	case opSet:
		return false
	case opSequence:
		for _, part := range n.parts {
			if !part.nullable() {
				return false
			}
		}
	case opAlternatives:
		for _, part := range n.parts {
			if part.nullable() {
				return true
			}
		}
		return false
	case opRepeat:
		return n.min == 0 || n.parts[0].nullable()
	}
	return true
}

// machine runs programs on a text.
type machine struct {
	stack []frame
	steps int // that are left, below zero none; programs of ours run without a limit
}

const noLimit = int(^uint(0) >> 1)

// frame is where to go on if the way that was taken fails.
type frame struct{ at, position, least int } // the end of a run may be anywhere from least on

// match returns the end of the match of a program at a position, -1 if there is none.
func (m *machine) match(p program, at int, text string, position int) int {
	base := len(m.stack)
	defer func() { m.stack = m.stack[:base] }()
	for {
		m.steps--
		ok := m.steps >= 0
		if !ok {
			return -1
		}
		switch i := &p[at]; i.op {
		case found:
			return position
		case jump:
			at = i.other
			continue
		case fork:
			m.stack = append(m.stack, frame{i.other, position, position})
			at++
			continue
		case lazyFork:
			m.stack = append(m.stack, frame{at + 1, position, position})
			at = i.other
			continue
		case runOf:
			end, least := position, position
			n := 0
			for n != i.max && end < len(text) {
				r, size := utf8.DecodeRuneInString(text[end:])
				if !i.set.has(r) {
					break
				}
				end += size
				if n++; n == i.min {
					least = end
				}
			}
			m.steps -= n
			if ok = n >= i.min; ok {
				if end > least {
					m.stack = append(m.stack, frame{at + 1, end, least})
					m.stack[len(m.stack)-1].shorten(text)
				}
				position = end
			}
		case look:
			from := position
			m.steps -= i.back
			for range i.back {
				_, size := utf8.DecodeLastRuneInString(text[:from])
				from -= size
				ok = ok && size > 0
			}
			ok = (ok && m.match(p, at+1, text, from) >= 0) != i.negated
		case atom:
			end := m.match(p, at+1, text, position)
			if ok = end >= 0; ok {
				position = end
			}
		case atStart:
			ok = position == 0 || text[position-1] == '\n'
		case atEnd:
			ok = position == len(text) || text[position] == '\n'
		case boundary:
			before, _ := utf8.DecodeLastRuneInString(text[:position])
			after, _ := utf8.DecodeRuneInString(text[position:])
			ok = (position > 0 && wordCharacters().has(before)) != (position < len(text) && wordCharacters().has(after))
		}
		if ok {
			if p[at].op == look || p[at].op == atom {
				at = p[at].other
			} else {
				at++
			}
			continue
		}
		if len(m.stack) == base {
			return -1
		}
		f := &m.stack[len(m.stack)-1]
		at, position = f.at, f.position
		if position > f.least {
			f.shorten(text)
		} else {
			m.stack = m.stack[:len(m.stack)-1]
		}
	}
}

// shorten takes the last character from a run.
func (f *frame) shorten(text string) {
	_, size := utf8.DecodeLastRuneInString(text[f.least:f.position])
	f.position -= size
}

// Edges are those of matches at which text is cut.
type Edges byte

// What a match is to words.
const (
	BothEdges Edges = iota // a match is a word
	Starts                 // it begins one
	Ends                   // it ends one
)

// cut cuts text at the edges of the matches, empty ones too.
func (m *machine) cut(p program, edges Edges, text string, visit func(string)) {
	start := 0
	for i := 0; i < len(text); {
		end := m.match(p, 0, text, i)
		if end >= 0 && start < i && (edges != Ends || end == i) {
			visit(text[start:i])
			start = i
		}
		if end > i {
			if edges != Starts {
				visit(text[start:end])
				start = end
			}
			i = end
			continue
		}
		_, size := utf8.DecodeRuneInString(text[i:])
		i += size
	}
	if start < len(text) {
		visit(text[start:])
	}
}

// step is an expression made ready to run: a function, or a program.
type step struct {
	byHand  func(text string, visit func(string))
	program program
	edges   Edges
}

func newStep(expression string) (step, error) {
	if f, ok := byHand[expression]; ok {
		return step{byHand: f}, nil
	}
	p, err := compile(expression)
	return step{program: p}, err
}

// chain cuts with one step after the other.
func (m *machine) chain(steps []step, text string, visit func(string)) {
	if len(steps) == 0 {
		visit(text)
		return
	}
	next := func(part string) { m.chain(steps[1:], part, visit) }
	if f := steps[0].byHand; f != nil {
		f(text, next)
		return
	}
	m.cut(steps[0].program, steps[0].edges, text, next)
}

// splitter is a pre-tokenizer made ready to run.
type splitter struct{ expressions, spelled []step }

func newSplitter(expressions, spelled []Step) (*splitter, error) {
	s := &splitter{}
	for _, list := range []struct {
		from []Step
		to   *[]step
	}{{expressions, &s.expressions}, {spelled, &s.spelled}} {
		for _, from := range list.from {
			ready, err := newStep(from.Expression)
			if err != nil {
				return nil, err
			}
			ready.edges = from.Edges
			*list.to = append(*list.to, ready)
		}
	}
	return s, nil
}

// split calls visit with the words of text and reports whether so many steps were enough.
func (s *splitter) split(text string, steps int, visit func(string)) bool {
	m := &machine{steps: steps}
	m.chain(s.expressions, text, func(word string) {
		if len(s.spelled) == 0 {
			visit(word)
			return
		}
		chars := make([]rune, len(word))
		for i := range len(word) {
			chars[i] = ByteRunes[word[i]]
		}
		m.chain(s.spelled, string(chars), func(part string) {
			n := utf8.RuneCountInString(part)
			visit(word[:n])
			word = word[n:]
		})
	})
	return m.steps >= 0
}
