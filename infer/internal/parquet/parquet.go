// Package parquet reads the rows of Parquet files as JSON. It takes the footer and the headers of pages from parquet-go's packages for
// these, and pages itself: parquet-go's own reader, which does much more, makes a program 7 MB larger.
//
// The format: https://github.com/apache/parquet-format.
package parquet

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/ggufkit/ggufkit/gguf"
)

const (
	magic      = "PAR1"
	tailLength = 8 // the length of the footer, and the magic
	maxFooter  = 16 << 20
	maxLists   = 1 << 18 // elements of all lists of a footer
)

func corrupt(what string, args ...any) error {
	return fmt.Errorf("%w: "+what, append([]any{gguf.ErrCorrupt}, args...)...)
}

func unsupported(what string, args ...any) error {
	return fmt.Errorf("%w: "+what, append([]any{gguf.ErrUnsupported}, args...)...)
}

// Rows returns the rows of a file as JSON objects whose members are its columns, nested ones as objects and lists. Pages are
// unpacked to at most limit bytes together, with their values. The error wraps gguf.ErrCorrupt or gguf.ErrUnsupported if it is not one of reading.
func Rows(r io.ReaderAt, size, limit int64) ([]json.RawMessage, error) {
	meta, err := readFooter(r, size)
	if err != nil {
		return nil, err
	}
	root, leaves, err := newSchema(meta.Schema)
	if err != nil {
		return nil, err
	}
	var rows []json.RawMessage
	for g, group := range meta.RowGroups {
		if len(group.Columns) != len(leaves) {
			return nil, corrupt("row group %d has %d columns of %d", g, len(group.Columns), len(leaves))
		}
		for i, leaf := range leaves {
			if leaf.entries, err = readColumn(r, size, leaf, &group.Columns[i], &limit); err != nil {
				return nil, fmt.Errorf("row group %d, column %.80q: %w", g, leaf.path, err)
			}
		}
		more, err := root.rows(leaves)
		if err != nil {
			return nil, fmt.Errorf("row group %d: %w", g, err)
		}
		if int64(len(more)) != group.NumRows {
			return nil, corrupt("row group %d has %d rows instead of %d", g, len(more), group.NumRows)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// readFooter reads what stands at the end of a file.
func readFooter(r io.ReaderAt, size int64) (*format.FileMetaData, error) {
	var tail [tailLength]byte
	if size < int64(len(magic)+tailLength) {
		return nil, corrupt("%d bytes are no Parquet file", size)
	}
	if _, err := r.ReadAt(tail[:], size-tailLength); err != nil {
		return nil, err
	}
	switch string(tail[4:]) {
	case magic:
	case "PARE":
		return nil, unsupported("an encrypted footer")
	default:
		return nil, corrupt("no Parquet file: it does not end with %s", magic)
	}
	length := int64(binary.LittleEndian.Uint32(tail[:]))
	if length > size-int64(len(magic)+tailLength) || length > maxFooter {
		return nil, corrupt("a footer of %d bytes", length)
	}
	data := make([]byte, length)
	if _, err := r.ReadAt(data, size-tailLength-length); err != nil {
		return nil, err
	}
	meta := new(format.FileMetaData)
	if _, err := decode(data, meta); err != nil {
		return nil, corrupt("footer: %v", err)
	}
	return meta, nil
}

// decode decodes what data begins with, and returns how long it is.
func decode(data []byte, into any) (int, error) {
	r := &bounded{BytesReader: new(thrift.CompactProtocol).NewReaderFromBytes(data), size: len(data), left: maxLists}
	err := thrift.NewDecoder(r).Decode(into)
	return r.BytesRead(), err
}

// bounded refuses lists that are longer than what is left of the data, before memory is taken for them.
type bounded struct {
	thrift.BytesReader
	size, left int
}

func (b *bounded) check(n int32) error {
	if n < 0 || int(n) > b.size-b.BytesRead() || int(n) > b.left {
		return fmt.Errorf("a list of %d elements", n)
	}
	b.left -= int(n)
	return nil
}

// ReadList implements thrift.Reader.
func (b *bounded) ReadList() (thrift.List, error) {
	l, err := b.BytesReader.ReadList()
	if err == nil {
		err = b.check(l.Size)
	}
	return l, err
}

// ReadSet implements thrift.Reader.
func (b *bounded) ReadSet() (thrift.Set, error) {
	s, err := b.BytesReader.ReadSet()
	if err == nil {
		err = b.check(s.Size)
	}
	return s, err
}

// ReadMap implements thrift.Reader.
func (b *bounded) ReadMap() (thrift.Map, error) {
	m, err := b.BytesReader.ReadMap()
	if err == nil {
		err = b.check(m.Size)
	}
	return m, err
}

// node is a column, or a group of them.
type node struct {
	name     string
	path     string
	optional bool
	repeated bool
	def, rep uint8 // levels from which on it is there, and with which it comes again
	kind     nodeKind
	children []*node
	leaves   []*node // below it, or itself

	// Of columns:
	element format.SchemaElement
	write   func([]byte) (json.RawMessage, error)
	entries []entry // that were not read yet, of a row group
}

type nodeKind int

const (
	group nodeKind = iota
	column
	list // its only child is repeated, and what that has is an element
	dictionary
)

// entry is a value of a column or, if its definition level is below the column's, what is not there.
type entry struct {
	rep, def uint8
	value    json.RawMessage
}

// entrySize is what one takes, about.
const entrySize = 32

// maxDepth bounds how deep groups are nested.
const maxDepth = 50

// newSchema returns the tree of columns that a footer lists depth first, and its leaves.
func newSchema(elements []format.SchemaElement) (root *node, leaves []*node, err error) {
	rest := elements
	var next func(parent *node, depth int) (*node, error)
	next = func(parent *node, depth int) (*node, error) {
		if len(rest) == 0 || depth > maxDepth {
			return nil, corrupt("the schema ends too early, or is nested too deep")
		}
		e := rest[0]
		rest = rest[1:]
		n := &node{name: e.Name, element: e}
		if parent != nil {
			n.path = e.Name
			if parent.path != "" {
				n.path = parent.path + "." + e.Name
			}
			n.def, n.rep = parent.def, parent.rep
			switch e.RepetitionType.V {
			case format.Optional:
				n.optional = true
				n.def++
			case format.Repeated:
				n.repeated = true
				n.def, n.rep = n.def+1, n.rep+1
			}
		}
		if !e.NumChildren.Valid || e.NumChildren.V == 0 && e.Type.Valid {
			if !e.Type.Valid {
				return nil, corrupt("column %.80q without a type", n.path)
			}
			n.kind, n.leaves = column, []*node{n}
			n.write, err = writer(&e)
			if err != nil {
				return nil, fmt.Errorf("column %.80q: %w", n.path, err)
			}
			leaves = append(leaves, n)
			return n, nil
		}
		for range e.NumChildren.V {
			child, err := next(n, depth+1)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(n.children, func(c *node) bool { return c.name == child.name }) {
				return nil, corrupt("two columns %.80q", child.path)
			}
			n.children = append(n.children, child)
			n.leaves = append(n.leaves, child.leaves...)
		}
		if len(n.leaves) == 0 {
			return nil, unsupported("group %.80q without columns", n.path)
		}
		n.recognize()
		return n, nil
	}
	if root, err = next(nil, 0); err != nil {
		return nil, nil, err
	}
	if len(rest) > 0 || root.kind == column {
		return nil, nil, corrupt("the schema has %d elements too many, or no columns", len(rest))
	}
	root.kind = group
	return root, leaves, nil
}

// recognize finds out whether a group stands for a list or a dictionary.
func (n *node) recognize() {
	_, isList := n.element.LogicalType.Value.(*format.ListType)
	_, isMap := n.element.LogicalType.Value.(*format.MapType)
	if c := n.element.ConvertedType; c.Valid {
		isList = isList || c.V == deprecated.List
		isMap = isMap || c.V == deprecated.Map || c.V == deprecated.MapKeyValue
	}
	if len(n.children) != 1 || !n.children[0].repeated {
		return
	}
	inner := n.children[0]
	switch {
	case isList:
		n.kind = list
		// Of a repeated group the only member is the element, but in old files the group may be.
		if inner.kind == group && len(inner.children) == 1 && inner.name != "array" && inner.name != n.name+"_tuple" {
			inner.kind = list
		}
	case isMap && inner.kind == group && len(inner.children) == 2:
		n.kind = dictionary
	}
}
