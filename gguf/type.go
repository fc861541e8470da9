package gguf

import (
	"fmt"
	"strconv"
	"strings"
)

// Type is the storage type of a tensor, numbered as ggml's enum ggml_type.
type Type uint32

// The tensor types a GGUF file can hold. Numbers that are absent were used by
// formats ggml has removed; files that still name them are refused.
const (
	F32     Type = 0
	F16     Type = 1
	Q4_0    Type = 2
	Q4_1    Type = 3
	Q5_0    Type = 6
	Q5_1    Type = 7
	Q8_0    Type = 8
	Q8_1    Type = 9
	Q2_K    Type = 10
	Q3_K    Type = 11
	Q4_K    Type = 12
	Q5_K    Type = 13
	Q6_K    Type = 14
	Q8_K    Type = 15
	IQ2_XXS Type = 16
	IQ2_XS  Type = 17
	IQ3_XXS Type = 18
	IQ1_S   Type = 19
	IQ4_NL  Type = 20
	IQ3_S   Type = 21
	IQ2_S   Type = 22
	IQ4_XS  Type = 23
	I8      Type = 24
	I16     Type = 25
	I32     Type = 26
	I64     Type = 27
	F64     Type = 28
	IQ1_M   Type = 29
	BF16    Type = 30
	TQ1_0   Type = 34
	TQ2_0   Type = 35
	MXFP4   Type = 39
	NVFP4   Type = 40
	Q1_0    Type = 41
	Q2_0    Type = 42
)

// words is a run of count fields of size bytes each, at offset inside a block:
// what has to be byte-swapped when a block crosses between byte orders.
type words struct{ offset, size, count int }

// geometry is the shape of one block of a type.
type geometry struct {
	name       string
	blockSize  int     // elements
	blockBytes int     // bytes
	words      []words // fields wider than a byte
}

// geometries describes every type; the layouts are ggml's block structs
// (ggml-common.h).
var geometries = map[Type]geometry{
	F32:     {"F32", 1, 4, []words{{0, 4, 1}}},
	F16:     {"F16", 1, 2, []words{{0, 2, 1}}},
	Q4_0:    {"Q4_0", 32, 18, []words{{0, 2, 1}}},
	Q4_1:    {"Q4_1", 32, 20, []words{{0, 2, 2}}},
	Q5_0:    {"Q5_0", 32, 22, []words{{0, 2, 1}}},
	Q5_1:    {"Q5_1", 32, 24, []words{{0, 2, 2}}},
	Q8_0:    {"Q8_0", 32, 34, []words{{0, 2, 1}}},
	Q8_1:    {"Q8_1", 32, 36, []words{{0, 2, 2}}},
	Q2_K:    {"Q2_K", 256, 84, []words{{80, 2, 2}}},
	Q3_K:    {"Q3_K", 256, 110, []words{{108, 2, 1}}},
	Q4_K:    {"Q4_K", 256, 144, []words{{0, 2, 2}}},
	Q5_K:    {"Q5_K", 256, 176, []words{{0, 2, 2}}},
	Q6_K:    {"Q6_K", 256, 210, []words{{208, 2, 1}}},
	Q8_K:    {"Q8_K", 256, 292, []words{{0, 4, 1}, {260, 2, 16}}},
	IQ2_XXS: {"IQ2_XXS", 256, 66, []words{{0, 2, 33}}},
	IQ2_XS:  {"IQ2_XS", 256, 74, []words{{0, 2, 33}}},
	IQ3_XXS: {"IQ3_XXS", 256, 98, []words{{0, 2, 1}}},
	IQ1_S:   {"IQ1_S", 256, 50, []words{{0, 2, 1}, {34, 2, 8}}},
	IQ4_NL:  {"IQ4_NL", 32, 18, []words{{0, 2, 1}}},
	IQ3_S:   {"IQ3_S", 256, 110, []words{{0, 2, 1}}},
	IQ2_S:   {"IQ2_S", 256, 82, []words{{0, 2, 1}}},
	IQ4_XS:  {"IQ4_XS", 256, 136, []words{{0, 2, 2}}},
	I8:      {"I8", 1, 1, nil},
	I16:     {"I16", 1, 2, []words{{0, 2, 1}}},
	I32:     {"I32", 1, 4, []words{{0, 4, 1}}},
	I64:     {"I64", 1, 8, []words{{0, 8, 1}}},
	F64:     {"F64", 1, 8, []words{{0, 8, 1}}},
	IQ1_M:   {"IQ1_M", 256, 56, nil},
	BF16:    {"BF16", 1, 2, []words{{0, 2, 1}}},
	TQ1_0:   {"TQ1_0", 256, 54, []words{{52, 2, 1}}},
	TQ2_0:   {"TQ2_0", 256, 66, []words{{64, 2, 1}}},
	MXFP4:   {"MXFP4", 32, 17, nil},
	NVFP4:   {"NVFP4", 64, 36, nil},
	Q1_0:    {"Q1_0", 128, 18, []words{{0, 2, 1}}},
	Q2_0:    {"Q2_0", 64, 18, []words{{0, 2, 1}}},
}

// Valid reports whether t is a type this package knows.
func (t Type) Valid() bool {
	_, ok := geometries[t]
	return ok
}

// String returns ggml's name of the type in capitals, such as "Q4_K".
func (t Type) String() string {
	if g, ok := geometries[t]; ok {
		return g.name
	}
	return "type " + strconv.FormatUint(uint64(t), 10)
}

// BlockSize returns the number of elements in one block, 1 for plain types and
// 0 for unknown ones.
func (t Type) BlockSize() int { return geometries[t].blockSize }

// BlockBytes returns the number of bytes in one block, 0 for unknown types.
func (t Type) BlockBytes() int { return geometries[t].blockBytes }

// Quantized reports whether t stores blocks of several elements.
func (t Type) Quantized() bool { return geometries[t].blockSize > 1 }

// RowBytes returns the bytes that n elements take. n must be a multiple of
// the block size.
func (t Type) RowBytes(n int64) int64 {
	g := geometries[t]
	if g.blockSize == 0 || n%int64(g.blockSize) != 0 {
		panic(fmt.Sprintf("gguf: a row of %d elements cannot be %s", n, t))
	}
	return n / int64(g.blockSize) * int64(g.blockBytes)
}

// ParseType finds a type by its name, in any letter case, or by its number.
func ParseType(s string) (Type, error) {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil && Type(n).Valid() {
		return Type(n), nil
	}
	name := strings.ToUpper(s)
	for t, g := range geometries {
		if g.name == name {
			return t, nil
		}
	}
	return 0, fmt.Errorf("%q is not a tensor type", s)
}

// swapBytes reverses the byte order of every multi-byte field in whole blocks
// of type t.
func (t Type) swapBytes(p []byte) {
	g := geometries[t]
	for ; len(p) >= g.blockBytes; p = p[g.blockBytes:] {
		for _, w := range g.words {
			for i := range w.count {
				field := p[w.offset+i*w.size:][:w.size]
				for a, b := 0, w.size-1; a < b; a, b = a+1, b-1 {
					field[a], field[b] = field[b], field[a]
				}
			}
		}
	}
}
