package jinja

import (
	"slices"
	"strconv"
	"strings"
)

// expression reads an expression with conditions.
func (p *parser) expression() expr { return deeper(p, p.condition) }

func (p *parser) condition() expr {
	known := len(p.unknown)
	e := p.or()
	for p.skipName("if") {
		c := &conditional{then: e, test: p.or()}
		if p.skipName("else") {
			c.otherwise = p.expression()
		}
		e = c
		p.unknown = p.unknown[:known]
	}
	return e
}

func (p *parser) or() expr {
	left := p.and()
	for p.skipName("or") {
		left = &logical{"or", left, p.and()}
	}
	return left
}

func (p *parser) and() expr {
	left := p.not()
	for p.skipName("and") {
		left = &logical{"and", left, p.not()}
	}
	return left
}

func (p *parser) not() expr {
	if p.skipName("not") {
		return &unary{"not", deeper(p, p.not)}
	}
	return p.comparison()
}

func (p *parser) comparison() expr {
	c := &compare{first: p.sum()}
	for {
		switch {
		case p.op("==", "!=", "<", "<=", ">", ">="):
			c.ops = append(c.ops, p.next().text)
		case p.skipName("in"):
			c.ops = append(c.ops, "in")
		case p.is("not") && p.look().kind == tokenName && p.look().text == "in":
			p.next()
			p.next()
			c.ops = append(c.ops, "not in")
		default:
			if len(c.ops) == 0 {
				return c.first
			}
			return c
		}
		c.operands = append(c.operands, p.sum())
	}
}

// operators reads operands with left-associative operators between them.
func (p *parser) operators(operand func() expr, ops ...string) expr {
	left := operand()
	for p.op(ops...) {
		op := p.next().text
		left = &binary{op, left, operand()}
	}
	return left
}

func (p *parser) sum() expr { return p.operators(p.concat, "+", "-") }

func (p *parser) concat() expr {
	parts := []expr{p.product()}
	for p.skipOp("~") {
		parts = append(parts, p.product())
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return &concat{parts}
}

func (p *parser) product() expr { return p.operators(p.power, "*", "/", "//", "%") }

func (p *parser) power() expr {
	return p.operators(func() expr { return p.unary(true) }, "**")
}

func (p *parser) unary(filters bool) expr {
	var e expr
	if p.op("-", "+") {
		op := p.next().text
		e = &unary{op, deeper(p, func() expr { return p.unary(false) })}
	} else {
		e = p.primary()
	}
	e = p.postfix(e)
	for filters {
		switch {
		case p.op("|"):
			e = p.filter(e, false)
		case p.is("is"):
			e = p.test(e)
		case p.op("("):
			e = p.call(e)
		default:
			return e
		}
	}
	return e
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case tokenName:
		switch t.text {
		case "true", "True":
			return &constant{true}
		case "false", "False":
			return &constant{false}
		case "none", "None":
			return &constant{nil}
		}
		if slices.Contains(specials, t.text) {
			p.special[t.text] = true
		}
		return &name{t.text}
	case tokenString:
		s := t.text
		if p.current().kind == tokenString {
			var b strings.Builder
			for b.WriteString(s); p.current().kind == tokenString; {
				b.WriteString(p.next().text)
			}
			s = b.String()
		}
		return &constant{s}
	case tokenInteger:
		i, ok := parseInt(t.text, 0)
		if !ok {
			p.fail("invalid number")
		}
		return &constant{i}
	case tokenFloat:
		f, _ := strconv.ParseFloat(t.text, 64)
		return &constant{f}
	case tokenOperator:
		switch t.text {
		case "(":
			e := deeper(p, func() expr { return p.tuple(tupleRules{condition: true, empty: true}) })
			p.expectOp(")")
			return e
		case "[":
			l := &listExpr{}
			p.items("]", func() { l.items = append(l.items, p.expression()) })
			return l
		case "{":
			d := &dictExpr{}
			p.items("}", func() {
				d.keys = append(d.keys, p.expression())
				p.expectOp(":")
				d.values = append(d.values, p.expression())
			})
			return d
		}
	}
	p.fail("unexpected %s", t)
	return nil
}

// items reads what stands between brackets, with commas between.
func (p *parser) items(end string, one func()) {
	for first := true; !p.op(end); first = false {
		if !first {
			if p.expectOp(","); p.op(end) {
				break
			}
		}
		one()
	}
	p.next()
}

// tupleRules say which expressions a tuple may have.
type tupleRules struct {
	condition bool   // with if
	empty     bool   // () is one
	end       string // a name that ends it
}

// ends reports whether a tuple is over.
func (p *parser) ends(name string) bool {
	kind := p.current().kind
	return kind == tokenVariableEnd || kind == tokenBlockEnd || p.op(")") || name != "" && p.is(name)
}

// tuple reads a tuple, or an expression if there is no comma.
func (p *parser) tuple(rules tupleRules) expr {
	var items []expr
	several := false
	for !p.ends(rules.end) {
		if rules.condition {
			items = append(items, p.expression())
		} else {
			items = append(items, deeper(p, p.or))
		}
		if !p.skipOp(",") {
			break
		}
		several = true
	}
	switch {
	case several, len(items) == 0 && rules.empty:
		return &tupleExpr{items}
	case len(items) == 0:
		p.fail("expected an expression, got %s", p.current())
	}
	return items[0]
}

func (p *parser) postfix(e expr) expr {
	for {
		switch {
		case p.skipOp("."):
			switch t := p.next(); t.kind {
			case tokenName:
				e = &attribute{e, t.text}
			case tokenInteger:
				i, _ := parseInt(t.text, 0)
				e = &subscript{e, &constant{i}}
			default:
				p.fail("expected name or number")
			}
		case p.skipOp("["):
			e = p.subscript(e)
		case p.op("("):
			e = p.call(e)
		default:
			return e
		}
	}
}

func (p *parser) subscript(e expr) expr {
	var items []expr
	for first := true; !p.op("]"); first = false {
		if !first {
			p.expectOp(",")
		}
		items = append(items, p.subscribed())
	}
	p.next()
	if len(items) == 1 {
		return &subscript{e, items[0]}
	}
	return &subscript{e, &tupleExpr{items}}
}

func (p *parser) subscribed() expr {
	var bounds [3]expr
	colons := 0
	for ; colons < 3; colons++ {
		if !p.op(":", "]", ",") {
			bounds[colons] = p.expression()
		}
		if colons == 2 || !p.skipOp(":") {
			break
		}
	}
	if colons == 0 {
		if bounds[0] == nil {
			p.fail("expected an expression, got %s", p.current())
		}
		return bounds[0]
	}
	return &slice{bounds[0], bounds[1], bounds[2]}
}

func (p *parser) arguments() argumentExprs {
	var a argumentExprs
	given := make(map[string]bool)
	ensure := func(ok bool) {
		if !ok {
			p.fail("invalid syntax for function call expression")
		}
	}
	p.expectOp("(")
	p.items(")", func() {
		switch {
		case p.skipOp("*"):
			ensure(a.spread == nil && a.spread2 == nil)
			a.spread = p.expression()
		case p.skipOp("**"):
			ensure(a.spread2 == nil)
			a.spread2 = p.expression()
		case p.current().kind == tokenName && p.look().kind == tokenOperator && p.look().text == "=":
			ensure(a.spread2 == nil)
			name := p.next().text
			p.next()
			if given[name] {
				p.fail("keyword argument repeated: %s", name)
			}
			given[name] = true
			a.names = append(a.names, name)
			a.named = append(a.named, p.expression())
		default:
			ensure(a.spread == nil && a.spread2 == nil && a.names == nil)
			a.pos = append(a.pos, p.expression())
		}
	})
	return a
}

func (p *parser) call(e expr) expr { return &call{e, p.arguments()} }

// dotted reads the name of a filter or test.
func (p *parser) dotted() string {
	name := p.expect(tokenName).text
	for p.skipOp(".") {
		name += "." + p.expect(tokenName).text
	}
	return name
}

// filter reads filters, the first without a "|" if inline is set. It returns e
// if there is none.
func (p *parser) filter(e expr, inline bool) expr {
	for ; inline || p.skipOp("|"); inline = false {
		f := &filterExpr{of: e, name: p.dotted()}
		if _, ok := filters[f.name]; !ok {
			p.notFound("filter", f.name)
		}
		if p.op("(") {
			f.args = p.arguments()
		}
		e = f
	}
	return e
}

func (p *parser) test(e expr) expr {
	p.next()
	negated := p.skipName("not")
	t := &testExpr{of: e, name: p.dotted()}
	if _, ok := tests[t.name]; !ok {
		p.notFound("test", t.name)
	}
	if p.op("(") {
		t.args = p.arguments()
	} else if kind := p.current().kind; kind == tokenString || kind == tokenInteger || kind == tokenFloat || p.op("[", "{") ||
		kind == tokenName && !p.is("else", "or", "and") {
		if p.is("is") {
			p.fail("you cannot chain multiple tests with is")
		}
		t.args.pos = []expr{p.postfix(p.primary())}
	}
	if negated {
		return &unary{"not", t}
	}
	return t
}
