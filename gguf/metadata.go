package gguf

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
)

// KV is one metadata pair. Value is of one of the Go types uint8, int8,
// uint16, int16, uint32, int32, uint64, int64, float32, float64, bool, string,
// or a slice of one of them.
type KV struct {
	Key   string
	Value any
}

// Metadata is the ordered set of key-value pairs of a GGUF file.
// The zero value is empty and ready to use.
type Metadata struct {
	kvs   []KV
	index map[string]int
}

// NewMetadata returns metadata with the given pairs, in their order. It panics
// if two have the same key or a value is of a type GGUF cannot hold.
func NewMetadata(kvs ...KV) *Metadata {
	m := &Metadata{}
	for _, kv := range kvs {
		if _, ok := m.index[kv.Key]; ok {
			panic("gguf: two values for key " + kv.Key)
		}
		m.Set(kv.Key, kv.Value)
	}
	return m
}

// Len returns the number of pairs.
func (m *Metadata) Len() int { return len(m.kvs) }

// All returns the pairs in order. The caller must not change the slice.
func (m *Metadata) All() []KV { return m.kvs }

// Clone returns a copy that can be changed independently. Slices inside
// values are shared.
func (m *Metadata) Clone() *Metadata {
	c := &Metadata{}
	for _, kv := range m.kvs {
		c.Set(kv.Key, kv.Value)
	}
	return c
}

// Set puts the pair at the end, after removing an earlier one with the same
// key: the order ggml's gguf_set_val functions leave. It panics if the value
// is of a type GGUF cannot hold.
func (m *Metadata) Set(key string, value any) {
	if _, _, err := valueTypeOf(value); err != nil {
		panic("gguf: key " + key + ": " + err.Error())
	}
	m.Delete(key)
	if m.index == nil {
		m.index = make(map[string]int)
	}
	m.index[key] = len(m.kvs)
	m.kvs = append(m.kvs, KV{key, value})
}

// Delete removes the pair with the given key, if there is one.
func (m *Metadata) Delete(key string) {
	i, ok := m.index[key]
	if !ok {
		return
	}
	m.kvs = slices.Delete(m.kvs, i, i+1)
	delete(m.index, key)
	for j := i; j < len(m.kvs); j++ {
		m.index[m.kvs[j].Key] = j
	}
}

// Get returns the value of a key and whether there is one.
func (m *Metadata) Get(key string) (any, bool) {
	i, ok := m.index[key]
	if !ok {
		return nil, false
	}
	return m.kvs[i].Value, true
}

// Value returns the value of key as a T. The error wraps ErrNoKey if there is
// no such key.
func Value[T any](m *Metadata, key string) (T, error) {
	var zero T
	v, ok := m.Get(key)
	if !ok {
		return zero, fmt.Errorf("%w: %s", ErrNoKey, key)
	}
	t, ok := v.(T)
	if !ok {
		return zero, fmt.Errorf("%w: metadata key %s is of type %s", ErrCorrupt, key, TypeName(v))
	}
	return t, nil
}

// Uint returns the value of key, an integer of any width that is not
// negative. The error wraps ErrNoKey if there is no such key.
func (m *Metadata) Uint(key string) (uint64, error) {
	v, ok := m.Get(key)
	if !ok {
		return 0, fmt.Errorf("%w: %s", ErrNoKey, key)
	}
	var signed int64
	switch v := v.(type) {
	case uint8:
		return uint64(v), nil
	case uint16:
		return uint64(v), nil
	case uint32:
		return uint64(v), nil
	case uint64:
		return v, nil
	case int8:
		signed = int64(v)
	case int16:
		signed = int64(v)
	case int32:
		signed = int64(v)
	case int64:
		signed = v
	default:
		return 0, fmt.Errorf("%w: metadata key %s is of type %s, not an integer", ErrCorrupt, key, TypeName(v))
	}
	if signed < 0 {
		return 0, fmt.Errorf("%w: metadata key %s is negative: %d", ErrCorrupt, key, signed)
	}
	return uint64(signed), nil
}

// Float returns the value of key, a float of either width. The error wraps
// ErrNoKey if there is no such key.
func (m *Metadata) Float(key string) (float64, error) {
	v, ok := m.Get(key)
	if !ok {
		return 0, fmt.Errorf("%w: %s", ErrNoKey, key)
	}
	var f float64
	switch v := v.(type) {
	case float32:
		f = float64(v)
	case float64:
		f = v
	default:
		return 0, fmt.Errorf("%w: metadata key %s is of type %s, not a float", ErrCorrupt, key, TypeName(v))
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, fmt.Errorf("%w: metadata key %s is %v", ErrCorrupt, key, f)
	}
	return f, nil
}

const keyAlignment = "general.alignment"

// maxAlignment bounds what is written between tensors. Larger than any page but the
// hugest, it is far above what files have.
const maxAlignment = 1 << 20

// Alignment returns the alignment of tensor data in bytes: general.alignment,
// or 32 where it is absent. It is a power of two, at most 1 MiB.
func (m *Metadata) Alignment() (int64, error) {
	v, ok := m.Get(keyAlignment)
	if !ok {
		return 32, nil
	}
	a, ok := v.(uint32)
	if !ok || a == 0 || a&(a-1) != 0 {
		return 0, fmt.Errorf("%w: %s is %v, not a power of two as uint32", ErrCorrupt, keyAlignment, v)
	}
	if a > maxAlignment {
		return 0, fmt.Errorf("%w: %s is %d, more than %d", ErrUnsupported, keyAlignment, a, maxAlignment)
	}
	return int64(a), nil
}

// PairDiff is a key whose values differ: nil where it is missing.
type PairDiff struct {
	Key  string
	A, B any
}

// DiffPairs returns the keys that a and b have different values for, of type or of content, to the bit: those of a
// in its order, then those that only b has. sameOrder says whether the keys that both have are in the same order.
func DiffPairs(a, b *Metadata) (diffs []PairDiff, sameOrder bool) {
	sameOrder = true
	last := -1
	for _, kv := range a.All() {
		i, ok := b.index[kv.Key]
		if !ok {
			diffs = append(diffs, PairDiff{kv.Key, kv.Value, nil})
			continue
		}
		sameOrder = sameOrder && i > last
		last = i
		if other := b.kvs[i].Value; !bytes.Equal(appendValue(nil, kv.Value), appendValue(nil, other)) {
			diffs = append(diffs, PairDiff{kv.Key, kv.Value, other})
		}
	}
	for _, kv := range b.All() {
		if _, ok := a.index[kv.Key]; !ok {
			diffs = append(diffs, PairDiff{kv.Key, nil, kv.Value})
		}
	}
	return diffs, sameOrder
}

// CutAssignment splits KEY=TYPE:VALUE, as users write pairs of metadata.
func CutAssignment(s string) (key, typeName, text string, ok bool) {
	key, typed, equals := strings.Cut(s, "=")
	typeName, text, colon := strings.Cut(typed, ":")
	return key, typeName, text, equals && colon && key != ""
}
