// Package yamldoc reads YAML documents that may be made to exhaust a parser: those of
// recipes, model cards and tasks.
package yamldoc

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on what is parsed. The parser takes quadratic time and memory for deep
// nesting, and the decoder exponential time for aliases of aliases. Real documents,
// even cards with thousands of benchmark results, stay far below.
const (
	maxBytes = 1 << 20
	maxDepth = 32      // brackets, or lists and keys that begin on one line
	maxNodes = 1 << 17 // with a copy for each alias
)

// maxShown is how many characters Explain shows of a line.
const maxShown = 120

// bom may stand before a document in UTF-8.
var bom = []byte("\ufeff")

// Unmarshal decodes a single document into v, as PyYAML reads it: anchors, aliases and
// merge keys are followed, and of a key that is there twice the last counts. Explain tells where an error is.
func Unmarshal(data []byte, v any, opts ...yaml.DecodeOption) error {
	body, err := parse(data, true)
	if err != nil || body == nil {
		return err
	}
	opts = append(opts, yaml.AllowDuplicateMapKey())
	return yaml.NewDecoder(strings.NewReader(""), opts...).DecodeFromNode(body, v)
}

// parse returns a document, with its merge keys first if that is asked for, nil if it is
// empty.
func parse(data []byte, mergeFirst bool) (ast.Node, error) {
	data = bytes.TrimPrefix(data, bom)
	if len(data) > maxBytes {
		return nil, fmt.Errorf("larger than %d bytes", maxBytes)
	}
	if err := checkTokens(lexer.Tokenize(string(data))); err != nil {
		return nil, err
	}
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, err
	}
	c := counter{anchors: make(map[string]int), mergeFirst: mergeFirst}
	var body ast.Node
	for _, doc := range file.Docs {
		if _, directive := doc.Body.(*ast.DirectiveNode); directive || doc.Body == nil {
			continue
		}
		if body != nil {
			return nil, fail(doc.Body.GetToken(), "a second document")
		}
		body = doc.Body
		if _, err := c.count(body); err != nil {
			return nil, err
		}
	}
	return body, nil
}

// Explain returns the text of an error that Unmarshal returned for data, with the
// lines that lead to it and a caret below its place.
func Explain(data []byte, err error) string {
	var where yaml.Error
	if !errors.As(err, &where) || where.GetToken() == nil {
		return err.Error()
	}
	at := where.GetToken().Position
	var b strings.Builder
	fmt.Fprintf(&b, "[%d:%d] %s", at.Line, at.Column, where.GetMessage())
	lines := strings.Split(string(bytes.TrimPrefix(data, bom)), "\n")
	last := min(at.Line, len(lines))
	for number := max(1, last-3); number <= last; number++ {
		mark := " "
		if number == last {
			mark = ">"
		}
		line, before := []rune(strings.TrimRight(lines[number-1], "\r")), 0
		if number == last && at.Column > maxShown/2 {
			before = min(at.Column-maxShown/2, len(line))
		}
		line = line[before:]
		margin := fmt.Sprintf("%s %2d | ", mark, number)
		fmt.Fprintf(&b, "\n%s%s", margin, string(line[:min(len(line), maxShown)]))
		if number == last {
			fmt.Fprintf(&b, "\n%*s", len(margin)+at.Column-before, "^")
		}
	}
	return b.String()
}

func fail(at *token.Token, message string) error {
	return &yaml.SyntaxError{Message: message, Token: at}
}

// checkTokens finds what the parser would choke on. Nesting by indentation needs no
// bound of its own: it takes as many bytes as the square of its depth.
func checkTokens(tokens token.Tokens) error {
	var brackets, run, line, documents int
	for _, t := range tokens {
		if t.Type == token.TagType {
			return fail(t, fmt.Sprintf("the tag %.60s; none is needed", t.Value))
		}
		if brackets == 0 && t.Type != token.AnchorType && t.Position.Line > line {
			run = 0
		}
		line = t.Position.Line
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			brackets, run = brackets+1, 0
		case token.SequenceEndType, token.MappingEndType:
			brackets, run = max(0, brackets-1), 0
		case token.CollectEntryType:
			run = 0
		case token.SequenceEntryType, token.MappingKeyType, token.MappingValueType, token.AnchorType:
			run++
		case token.DocumentHeaderType:
			documents++
		}
		if brackets+run > maxDepth {
			return fail(t, "nested too deeply")
		}
		if documents > 1 {
			return fail(t, "a second document")
		}
	}
	return nil
}

// counter counts nodes.
type counter struct {
	anchors    map[string]int // nodes of each
	nodes      int
	mergeFirst bool // puts merge keys before others
}

// count returns the number of nodes that n stands for.
func (c *counter) count(n ast.Node) (int, error) {
	var children []ast.Node
	total := 1
	switch n := n.(type) {
	case *ast.MappingNode:
		if c.mergeFirst { // for the decoder, which takes the last value of a key
			slices.SortStableFunc(n.Values, func(a, b *ast.MappingValueNode) int { return rank(a) - rank(b) })
		}
		for _, v := range n.Values {
			children = append(children, v)
		}
	case *ast.MappingValueNode:
		children = []ast.Node{n.Key, n.Value}
	case *ast.MappingKeyNode:
		children = []ast.Node{n.Value}
	case *ast.SequenceNode:
		children = n.Values
	case *ast.AnchorNode:
		children = []ast.Node{n.Value}
	case *ast.AliasNode:
		total += c.anchors[n.Value.GetToken().Value]
	}
	c.nodes += total
	if c.nodes > maxNodes {
		return 0, fail(n.GetToken(), "too many values, those of aliases included")
	}
	for _, child := range children {
		size, err := c.count(child)
		if err != nil {
			return 0, err
		}
		total += size
	}
	if anchor, ok := n.(*ast.AnchorNode); ok {
		c.anchors[anchor.Name.GetToken().Value] = total
	}
	return total, nil
}

// rank is lower for merge keys.
func rank(v *ast.MappingValueNode) int {
	if v.Key.IsMergeKey() {
		return 0
	}
	return 1
}
