package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// SyntaxError means that a template is not one.
type SyntaxError struct {
	Line    int
	Message string
}

// Error implements error.
func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Message) }

// parser turns tokens into statements.
type parser struct {
	tokens []token
	at     int
	depth  int
	blocks map[string][]stmt

	soft    bool // unknown filters and tests fail only when they are reached
	unknown []error
	loops   int  // around the statement, within its macro
	inLoop  bool // a loop is anywhere around the statement
	special map[string]bool
}

// parse returns a template's statements and named blocks.
func parse(source string, plain bool) ([]stmt, map[string][]stmt) {
	p := &parser{tokens: lex(source, plain), blocks: make(map[string][]stmt), special: make(map[string]bool)}
	body := p.statements()
	if t := p.current(); t.kind != tokenEnd {
		p.fail("unexpected %s", t)
	}
	if len(p.unknown) > 0 {
		panic(failure{p.unknown[0]})
	}
	return body, p.blocks
}

// notFound notes that a filter or test does not exist.
func (p *parser) notFound(kind, name string) {
	if !p.soft {
		p.unknown = append(p.unknown, &SyntaxError{p.current().line, fmt.Sprintf("no %s named '%s'", kind, name)})
	}
}

func (p *parser) fail(format string, args ...any) {
	panic(failure{&SyntaxError{p.current().line, fmt.Sprintf(format, args...)}})
}

// deeper runs f one level down.
func deeper[T any](p *parser, f func() T) T {
	if p.depth++; p.depth > maxDepth/4 {
		panic(failure{fmt.Errorf("line %d: %w: nested more than %d deep", p.current().line, ErrLimit, maxDepth/4)})
	}
	defer func() { p.depth-- }()
	return f()
}

func (p *parser) current() token { return p.tokens[p.at] }

func (p *parser) look() token { return p.tokens[min(p.at+1, len(p.tokens)-1)] }

func (p *parser) next() token {
	t := p.current()
	if t.kind != tokenEnd {
		p.at++
	}
	return t
}

// is reports whether the current token is one of the names.
func (p *parser) is(names ...string) bool {
	t := p.current()
	return t.kind == tokenName && slices.Contains(names, t.text)
}

// op reports whether the current token is one of the operators.
func (p *parser) op(ops ...string) bool {
	t := p.current()
	return t.kind == tokenOperator && slices.Contains(ops, t.text)
}

func (p *parser) skipName(name string) bool {
	if !p.is(name) {
		return false
	}
	p.next()
	return true
}

func (p *parser) skipOp(op string) bool {
	if !p.op(op) {
		return false
	}
	p.next()
	return true
}

func (p *parser) expect(kind tokenKind) token {
	if t := p.current(); t.kind != kind {
		p.fail("expected %s, got %s", kind, t)
	}
	return p.next()
}

func (p *parser) expectOp(op string) {
	if !p.skipOp(op) {
		p.fail("expected %q, got %s", op, p.current())
	}
}

func (p *parser) expectName(name string) {
	if !p.skipName(name) {
		p.fail("expected %q, got %s", name, p.current())
	}
}

// statements reads up to the tag that starts with one of the names, which it
// leaves as the current token, or up to the end.
func (p *parser) statements(end ...string) []stmt {
	return deeper(p, func() []stmt {
		var body []stmt
		for {
			switch t := p.current(); t.kind {
			case tokenData:
				body = append(body, &textStmt{t.text})
				p.next()
			case tokenVariableBegin:
				p.next()
				body = append(body, &outputStmt{p.tuple(tupleRules{condition: true})})
				p.expect(tokenVariableEnd)
			case tokenBlockBegin:
				p.next()
				if p.is(end...) {
					return body
				}
				body = append(body, p.statement()...)
				p.expect(tokenBlockEnd)
			default:
				if len(end) > 0 {
					p.fail("unexpected end of template, looking for %s", strings.Join(end, ", "))
				}
				return body
			}
		}
	})
}

// body reads what follows the beginning of a tag, up to the closing tag.
func (p *parser) body(end ...string) []stmt {
	p.skipOp(":")
	p.expect(tokenBlockEnd)
	return p.statements(end...)
}

// scoped reads a body in which unknown filters are errors.
func (p *parser) scoped(end ...string) []stmt {
	soft := p.soft
	p.soft = false
	defer func() { p.soft = soft }()
	return p.body(end...)
}

func (p *parser) statement() []stmt {
	t := p.current()
	if t.kind != tokenName {
		p.fail("tag name expected")
	}
	p.next()
	switch t.text {
	case "for":
		return []stmt{p.forLoop()}
	case "if":
		return []stmt{p.ifBlock()}
	case "set":
		return []stmt{p.set()}
	case "with":
		return []stmt{p.with()}
	case "macro":
		name := p.expect(tokenName).text
		p.stored(name)
		return []stmt{&macroStmt{p.macro(name, "endmacro")}}
	case "call":
		return []stmt{p.callBlock()}
	case "filter":
		s := &filterStmt{value: p.filter(&name{blockText}, true)}
		s.body = p.scoped("endfilter")
		p.next()
		return []stmt{s}
	case "print":
		var out []stmt
		for p.current().kind != tokenBlockEnd {
			if len(out) > 0 {
				p.expectOp(",")
			}
			out = append(out, &outputStmt{p.expression()})
		}
		return out
	case "autoescape":
		s := &autoescapeStmt{on: p.expression()}
		s.body = p.scoped("endautoescape")
		p.next()
		return []stmt{s}
	case "generation":
		m := &macroExpr{name: "caller"}
		p.finish(m, "endgeneration")
		return []stmt{&generationStmt{m}}
	case "block":
		return []stmt{p.block()}
	case "break", "continue":
		if p.loops == 0 {
			p.fail("%s outside of a loop", t.text)
		}
		return []stmt{&loopControlStmt{map[string]ending{"break": broke, "continue": continued}[t.text]}}
	case "include", "extends", "import", "from":
		for p.current().kind != tokenBlockEnd && p.current().kind != tokenEnd {
			p.next()
		}
		return []stmt{&noLoaderStmt{t.text}}
	}
	p.fail("unknown tag '%s'", t.text)
	return nil
}

func (p *parser) forLoop() stmt {
	inLoop := p.inLoop
	p.inLoop = true
	f := &forStmt{target: p.target(false, "in")}
	p.expectName("in")
	f.iter = p.tuple(tupleRules{end: "recursive"})
	if p.skipName("if") {
		f.test = p.expression()
	}
	f.recursive = p.skipName("recursive")
	p.loops++
	f.body = p.scoped("endfor", "else")
	p.loops--
	if p.next().text == "else" {
		f.otherwise = p.scoped("endfor")
		p.next()
	}
	p.inLoop = inLoop
	return f
}

func (p *parser) ifBlock() stmt {
	soft := p.soft
	p.soft = true
	defer func() { p.soft = soft }()
	s := &ifStmt{}
	for {
		s.tests = append(s.tests, p.tuple(tupleRules{}))
		s.bodies = append(s.bodies, p.body("elif", "else", "endif"))
		switch p.next().text {
		case "else":
			s.otherwise = p.body("endif")
			p.next()
			return s
		case "endif":
			return s
		}
	}
}

func (p *parser) set() stmt {
	t := p.target(true, "")
	if p.skipOp("=") {
		return &setStmt{t, p.tuple(tupleRules{condition: true})}
	}
	s := &setBlockStmt{target: t, value: p.filter(&name{blockText}, false)}
	s.body = p.scoped("endset")
	p.next()
	return s
}

func (p *parser) with() stmt {
	s := &withStmt{}
	for p.current().kind != tokenBlockEnd {
		if len(s.targets) > 0 {
			p.expectOp(",")
		}
		s.targets = append(s.targets, p.target(false, ""))
		p.expectOp("=")
		s.values = append(s.values, p.expression())
	}
	s.body = p.scoped("endwith")
	p.next()
	return s
}

// specials are the names that a macro has without declaring them.
var specials = []string{"caller", "kwargs", "varargs"}

// macro reads the parameters and the body of a macro.
func (p *parser) macro(name, end string) *macroExpr {
	m := &macroExpr{name: name}
	if end == "endmacro" || p.op("(") {
		p.signature(m)
	}
	if end == "endcall" {
		return m // its call is read first
	}
	p.finish(m, end)
	return m
}

// finish reads a macro's body and finds out which special names it uses.
func (p *parser) finish(m *macroExpr, end string) {
	outer := p.special
	p.special = make(map[string]bool)
	m.body = p.macroBody(end)
	p.next()
	used := p.special
	p.special = outer
	for name := range used {
		p.special[name] = true
	}
	for _, name := range specials {
		if used[name] && name == "caller" && slices.Contains(m.params, name) && !slices.Contains(m.params[len(m.params)-len(m.defaults):], name) {
			p.fail("the special caller argument must be left out or have a default")
		}
	}
	m.usesCaller = used["caller"]
	m.usesKwargs = used["kwargs"] && !slices.Contains(m.params, "kwargs")
	m.usesVarargs = used["varargs"] && !slices.Contains(m.params, "varargs")
}

// macroBody reads a body that is a function of its own.
func (p *parser) macroBody(end string) []stmt {
	loops := p.loops
	p.loops = 0
	defer func() { p.loops = loops }()
	return p.scoped(end)
}

func (p *parser) signature(m *macroExpr) {
	p.expectOp("(")
	given := make(map[string]bool)
	for !p.op(")") {
		if len(m.params) > 0 {
			p.expectOp(",")
		}
		name := p.expect(tokenName).text
		if given[name] {
			p.fail("duplicate argument '%s'", name)
		}
		given[name] = true
		p.stored(name)
		if m.params = append(m.params, name); p.skipOp("=") {
			m.defaults = append(m.defaults, p.expression())
		} else if len(m.defaults) > 0 {
			p.fail("non-default argument follows default argument")
		}
	}
	p.next()
}

func (p *parser) callBlock() stmt {
	s := &callStmt{caller: p.macro("caller", "endcall")}
	c, ok := p.expression().(*call)
	if !ok {
		p.fail("expected call")
	}
	s.call = c
	p.finish(s.caller, "endcall")
	return s
}

func (p *parser) block() stmt {
	s := &blockStmt{name: p.expect(tokenName).text}
	s.scoped = p.skipName("scoped")
	if p.skipName("required") {
		p.fail("%v: required blocks", errUnsupported)
	}
	if _, twice := p.blocks[s.name]; twice {
		p.fail("block '%s' defined twice", s.name)
	}
	p.blocks[s.name] = nil
	p.blocks[s.name] = p.macroBody("endblock")
	p.next()
	p.skipName(s.name)
	return s
}

// stored checks a name that is assigned to.
func (p *parser) stored(name string) {
	switch {
	case slices.Contains([]string{"true", "false", "none", "True", "False", "None"}, name):
		p.fail("can't assign to '%s'", name)
	case name == "loop" && p.inLoop:
		p.fail("can't assign to the special loop variable")
	}
}

// target reads what is assigned to: a name, an attribute of a namespace if
// attributes is set, or several with commas between them.
func (p *parser) target(attributes bool, end string) target {
	var items []target
	several := false
	for !p.ends(end) {
		items = append(items, p.oneTarget(attributes))
		if !p.skipOp(",") {
			break
		}
		several = true
	}
	if several {
		return &tupleTarget{items}
	}
	if len(items) == 0 {
		p.fail("expected a name, got %s", p.current())
	}
	return items[0]
}

func (p *parser) oneTarget(attributes bool) target {
	if p.skipOp("(") {
		t := deeper(p, func() target { return p.target(attributes, "") })
		p.expectOp(")")
		return t
	}
	name := p.expect(tokenName).text
	if attributes && p.skipOp(".") {
		return &namespaceTarget{name, p.expect(tokenName).text}
	}
	p.stored(name)
	return &nameTarget{name}
}
