package yamldoc

import (
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Plain is a value that is no text for PyYAML, which follows YAML 1.1: a number, a truth
// value (also yes, no, on and off) or a date.
type Plain struct {
	Text string // as it is written
	True bool   // whether Python takes it for true
}

// Load decodes a single document as PyYAML's safe_load does: of a key that is there twice,
// the last counts. A value is nil, a string, a Plain, a []any or a map[string]any.
func Load(data []byte) (any, error) { return load(data, false) }

// LoadFields is Load, but for mappings, which are []Field, and merge keys, which are an error.
func LoadFields(data []byte) (any, error) { return load(data, true) }

// Field is a key of a mapping, with its line, from 1 on, and value.
type Field struct {
	Name  string
	Line  int
	Value any
}

func load(data []byte, fields bool) (any, error) {
	body, err := parse(data, false)
	if err != nil || body == nil {
		return nil, err
	}
	l := loader{fields: fields, anchors: make(map[string]any)}
	v := l.value(body)
	return v, l.err
}

type loader struct {
	fields  bool // of mappings are wanted
	anchors map[string]any
	err     error // the first
}

func (l *loader) value(n ast.Node) any {
	switch n := n.(type) {
	case nil:
		return nil
	case *ast.StringNode:
		if quoted := n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType; quoted {
			return n.Value
		}
		return resolve(n.Value)
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.AnchorNode:
		v := l.value(n.Value)
		l.anchors[n.Name.GetToken().Value] = v
		return v
	case *ast.AliasNode:
		v, ok := l.anchors[n.Value.GetToken().Value]
		if !ok && l.err == nil {
			l.err = fail(n.GetToken(), "an alias of nothing")
		}
		return v
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for _, v := range n.Values {
			list = append(list, l.value(v))
		}
		return list
	case *ast.MappingNode:
		return l.pairs(n.Values)
	case *ast.MappingValueNode:
		return l.pairs([]*ast.MappingValueNode{n})
	}
	return resolve(strings.TrimSpace(n.GetToken().Value))
}

func (l *loader) pairs(pairs []*ast.MappingValueNode) any {
	if !l.fields {
		return l.mapping(pairs)
	}
	fields := []Field{}
	for _, pair := range pairs {
		name, ok := l.value(pair.Key).(string)
		if (!ok || pair.Key.IsMergeKey()) && l.err == nil {
			l.err = fail(pair.Key.GetToken(), "a key that is no name")
		}
		fields = append(fields, Field{name, pair.Key.GetToken().Position.Line, l.value(pair.Value)})
	}
	return fields
}

// mapping returns a mapping. What it merges stands in for keys that it lacks.
func (l *loader) mapping(pairs []*ast.MappingValueNode) map[string]any {
	m := make(map[string]any)
	var merged []any
	for _, pair := range pairs {
		v := l.value(pair.Value)
		if pair.Key.IsMergeKey() {
			if list, ok := v.([]any); ok {
				merged = append(merged, list...)
			} else {
				merged = append(merged, v)
			}
			continue
		}
		var key ast.Node = pair.Key
		if explicit, ok := key.(*ast.MappingKeyNode); ok { // ? key
			key = explicit.Value
		}
		if name, ok := l.value(key).(string); ok { // no other is ever asked for
			m[name] = v
		}
	}
	for _, other := range merged {
		other, _ := other.(map[string]any)
		for name, v := range other {
			if _, ok := m[name]; !ok {
				m[name] = v
			}
		}
	}
	return m
}

var (
	plainNull  = regexp.MustCompile(`^(~|null|Null|NULL|)$`)
	plainTrue  = regexp.MustCompile(`^(yes|Yes|YES|true|True|TRUE|on|On|ON)$`)
	plainFalse = regexp.MustCompile(`^(no|No|NO|false|False|FALSE|off|Off|OFF)$`)
	plainInt   = regexp.MustCompile(`^([-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+)$`)
	plainFloat = regexp.MustCompile(`^([-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?|\.[0-9][0-9_]*([eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
	plainDate  = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]*)?([ \t]*(Z|[-+][0-9]{1,2}(:[0-9]{2})?))?)$`)
)

// resolve returns what a plain scalar is by the rules of yaml/resolver.py.
func resolve(text string) any {
	switch {
	case plainNull.MatchString(text):
		return nil
	case plainTrue.MatchString(text), plainDate.MatchString(text):
		return Plain{text, true}
	case plainFalse.MatchString(text):
		return Plain{text, false}
	case plainInt.MatchString(text), plainFloat.MatchString(text):
		digits, _, _ := strings.Cut(strings.ToLower(strings.TrimLeft(text, "+-0xXbB")), "e")
		return Plain{text, strings.ContainsAny(digits, "123456789abcdfin")}
	}
	return text
}
