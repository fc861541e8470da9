package gguf

import (
	"errors"
	"iter"
	"reflect"
)

// Prefetcher is a Source that can be told what is read next.
type Prefetcher interface {
	Source
	// Prefetch has rows [first, first+n) of a tensor read ahead. It does not wait for them.
	Prefetch(tensor int, first, n int64)
}

// Mapper is a Source that can have rows in memory, so that they need not be copied.
type Mapper interface {
	Source
	// Map maps all rows. The error wraps errors.ErrUnsupported if that cannot be done.
	Map() error
	// Rows returns rows [first, first+n) of a tensor, nil if they are not mapped. They are
	// used within Guard alone.
	Rows(tensor int, first, n int64) []byte
	// Guard calls use, and returns its error or that of touching rows that are gone.
	Guard(use func() error) error
}

// Grainer is a Source of which some rows are best read together, such as those that are
// columns of a file.
type Grainer interface {
	Source
	// Grain returns how many rows of a tensor, from a multiple of it on: 1 if that makes no
	// difference. Any rows can be read.
	Grain(tensor int) int64
}

// Identifier is a Source that makes rows as they are read, and knows which are made of
// the same.
type Identifier interface {
	Source
	// RowsID returns what the rows of a tensor are made of, and how: tensors for which it
	// returns the same, even of different Sources, have the same rows. It is comparable,
	// and nil for rows that are not made but only read.
	RowsID(tensor int) any
}

// Combiner is a Source over another one that makes rows of those, and can make them for several
// tensors at once: those of which they are made are then read once.
type Combiner interface {
	Wrapper
	// ReadTogether does what ReadRows does, for several tensors: those of Combiners of the same
	// Go type whose rows all come from the same tensor of the same Source, one for one.
	ReadTogether(reads []Read, first, n int64) error
}

// Read is what is read of a tensor, and where to.
type Read struct {
	Source Source
	Tensor int
	Dst    []byte
}

// madeOf is what tensors have in common that can be read together.
type madeOf struct {
	combiner reflect.Type
	source   Source
	tensor   int
}

// combines returns which tensors can be read together with one of src; ok is false if none can.
func combines(src Source, tensor int) (of madeOf, ok bool) {
	c, ok := src.(Combiner)
	if !ok {
		return madeOf{}, false
	}
	rows := src.Tensors()[tensor].Rows()
	o := c.Unwrap(tensor, 0, rows)
	if o.Source == nil || o.First != 0 || o.N != rows || !reflect.ValueOf(o.Source).Comparable() {
		return madeOf{}, false
	}
	return madeOf{reflect.TypeOf(src), o.Source, o.Tensor}, true
}

// readTogether reads rows [first, first+n) of tensors that can be read together.
func readTogether(reads []Read, first, n int64) error {
	switch len(reads) {
	case 0:
		return nil
	case 1:
		return reads[0].Source.ReadRows(reads[0].Dst, reads[0].Tensor, first, n)
	}
	return reads[0].Source.(Combiner).ReadTogether(reads, first, n)
}

// Wrapper is a Source over others. It need not be a FileSource, Prefetcher, Mapper or
// Grainer to have what these are for: Inputs, Prefetch, Map, MappedRows, RowsID and Grain
// look through it.
type Wrapper interface {
	Source
	// Unwrap returns where rows of a tensor come from: those from first on, at most n
	// and at least one, that come from one tensor, one for one and in order. It
	// returns the zero Origin for rows that come from no other Source.
	Unwrap(tensor int, first, n int64) Origin
}

// Origin says where rows of a Wrapper come from.
type Origin struct {
	Source Source // nil if the rows come from no other
	Tensor int    // index in its Tensors
	First  int64  // the row of it that is the first
	N      int64  // how many rows
	// Same says that they are those of Source byte for byte, not made of them.
	Same bool
}

// origins yields where rows of a tensor of src come from, but for those that come from
// no other Source; nothing if src is no Wrapper.
func origins(src Source, tensor int, first, n int64) iter.Seq[Origin] {
	return func(yield func(Origin) bool) {
		w, ok := src.(Wrapper)
		if !ok {
			return
		}
		for n > 0 {
			o := w.Unwrap(tensor, first, n)
			if o.Source == nil || !yield(o) {
				return
			}
			first, n = first+o.N, n-o.N
		}
	}
}

// Unwrap returns the innermost Source that has the tensor of src with all its rows as they
// are, and the tensor's index there. That is src itself if it is no Wrapper or makes them.
func Unwrap(src Source, tensor int) (Source, int) {
	for {
		rows := src.Tensors()[tensor].Rows()
		w, ok := src.(Wrapper)
		if !ok {
			return src, tensor
		}
		o := w.Unwrap(tensor, 0, rows)
		if !o.Same || o.N != rows || o.Source.Tensors()[o.Tensor].Rows() != rows {
			return src, tensor
		}
		src, tensor = o.Source, o.Tensor
	}
}

// Grain returns how many rows of a tensor are best read together, as far as src or what
// it wraps is a Grainer.
func Grain(src Source, tensor int) int64 {
	grain := int64(1)
	if g, ok := src.(Grainer); ok {
		grain = max(1, g.Grain(tensor))
	} else {
		for o := range origins(src, tensor, 0, src.Tensors()[tensor].Rows()) {
			grain = max(grain, Grain(o.Source, o.Tensor))
		}
	}
	return grain
}

// Prefetch has what rows [first, first+n) of a tensor come from read ahead, as far as
// src or what it wraps is a Prefetcher.
func Prefetch(src Source, tensor int, first, n int64) {
	if p, ok := src.(Prefetcher); ok {
		p.Prefetch(tensor, first, n)
		return
	}
	for o := range origins(src, tensor, first, n) {
		Prefetch(o.Source, o.Tensor, o.First, o.N)
	}
}

// Map maps all rows of src that can be mapped, for MappedRows. It must not be called
// while that is.
func Map(src Source) error {
	for i, t := range src.Tensors() {
		if err := mapRows(src, i, 0, t.Rows()); err != nil {
			return err
		}
	}
	return nil
}

func mapRows(src Source, tensor int, first, n int64) error {
	if m, ok := src.(Mapper); ok {
		if err := m.Map(); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		return nil
	}
	for o := range origins(src, tensor, first, n) {
		if !o.Same {
			continue
		}
		if err := mapRows(o.Source, o.Tensor, o.First, o.N); err != nil {
			return err
		}
	}
	return nil
}

// MappedRows returns rows [first, first+n) of a tensor and the Mapper whose Guard they
// are used within. It returns nil if they are not mapped, or not next to each other.
func MappedRows(src Source, tensor int, first, n int64) ([]byte, Mapper) {
	for {
		if m, ok := src.(Mapper); ok {
			return m.Rows(tensor, first, n), m
		}
		w, ok := src.(Wrapper)
		if !ok {
			return nil, nil
		}
		o := w.Unwrap(tensor, first, n)
		if !o.Same || o.N != n {
			return nil, nil
		}
		src, tensor, first = o.Source, o.Tensor, o.First
	}
}

// RowsID returns what the rows of a tensor are made of, as Identifier has it: of src, or
// of what it wraps. It is nil for rows that are not made.
func RowsID(src Source, tensor int) any {
	src, tensor = Unwrap(src, tensor)
	if src, ok := src.(Identifier); ok {
		return src.RowsID(tensor)
	}
	return nil
}
