package parquet

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// rows puts the entries of the columns together (Melnik et al., Dremel: Interactive Analysis of Web-Scale Datasets).
func (n *node) rows(leaves []*node) (rows []json.RawMessage, err error) {
	for len(leaves[0].entries) > 0 {
		for _, leaf := range leaves {
			if len(leaf.entries) == 0 || leaf.entries[0].rep != 0 {
				return nil, leaf.inconsistent()
			}
		}
		var b bytes.Buffer
		if err := n.content(&b); err != nil {
			return nil, err
		}
		rows = append(rows, b.Bytes())
	}
	for _, leaf := range leaves {
		if len(leaf.entries) > 0 {
			return nil, leaf.inconsistent()
		}
	}
	return rows, nil
}

func (n *node) inconsistent() error {
	return corrupt("column %.80q does not have the levels of the others", n.path)
}

// absent reads what is not there, of all columns below.
func (n *node) absent() error {
	for _, leaf := range n.leaves {
		if len(leaf.entries) == 0 || leaf.entries[0].def >= n.def {
			return leaf.inconsistent()
		}
		leaf.entries = leaf.entries[1:]
	}
	return nil
}

// isThere reports whether the next value of a column or group is.
func (n *node) isThere() bool {
	return len(n.leaves[0].entries) > 0 && n.leaves[0].entries[0].def >= n.def
}

// value writes what a column or group has in a row: null if nothing.
func (n *node) value(b *bytes.Buffer) error {
	switch {
	case n.repeated:
		return n.elements(b, '[', ']', n.content)
	case n.optional && !n.isThere():
		b.WriteString("null")
		return n.absent()
	}
	return n.content(b)
}

// elements writes all of a repeated column or group.
func (n *node) elements(b *bytes.Buffer, open, end byte, element func(*bytes.Buffer) error) error {
	b.WriteByte(open)
	defer b.WriteByte(end)
	if !n.isThere() {
		return n.absent()
	}
	for {
		if err := element(b); err != nil {
			return err
		}
		first := n.leaves[0].entries
		if len(first) == 0 || first[0].rep < n.rep {
			return nil
		}
		for _, leaf := range n.leaves {
			if len(leaf.entries) == 0 || leaf.entries[0].rep != n.rep {
				return leaf.inconsistent()
			}
		}
		b.WriteByte(',')
	}
}

// content writes what is there.
func (n *node) content(b *bytes.Buffer) error {
	switch n.kind {
	case column:
		if len(n.entries) == 0 || n.entries[0].value == nil {
			return n.inconsistent()
		}
		b.Write(n.entries[0].value)
		n.entries = n.entries[1:]
		return nil
	case list:
		return n.children[0].value(b)
	case dictionary:
		pairs := n.children[0]
		return pairs.elements(b, '{', '}', func(b *bytes.Buffer) error { return member(b, pairs.children[0], pairs.children[1]) })
	}
	b.WriteByte('{')
	for i, child := range n.children {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(child.name)
		if err != nil {
			return err
		}
		b.Write(name)
		b.WriteByte(':')
		if err := child.value(b); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// member writes a key, as a text, and what it has.
func member(b *bytes.Buffer, key, value *node) error {
	if key.kind != column || key.repeated || key.optional {
		return unsupported("column %.80q is a key", key.path)
	}
	start := b.Len()
	if err := key.content(b); err != nil {
		return err
	}
	if text := b.Bytes()[start:]; text[0] != '"' {
		quoted := strconv.Quote(string(text)) // of a number or flag
		b.Truncate(start)
		b.WriteString(quoted)
	}
	b.WriteByte(':')
	return value.value(b)
}
