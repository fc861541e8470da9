package gguf

import (
	"fmt"
	"iter"
	"slices"
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
	IQ4_KS  Type = 144 // of ik_llama.cpp
)

// Field is a run of numbers that are wider than a byte, in a block or in the header of a
// row.
type Field struct {
	Offset int  // of the first, in bytes
	Type   Type // of one of them: F16, BF16, F32, F64, or an I type whatever its bits mean
	Count  int
}

// spec is what is known of a type, but for what its bits mean: that is the business of
// package quant.
type spec struct {
	name       string
	blockSize  int     // elements
	blockBytes int     // bytes
	fields     []Field // of a block
	header     []Field // in front of the blocks of each row: they leave no gap
	// narrower is what llama-quantize takes for rows that are not whole blocks (the
	// fallbacks of tensor_type_fallback in llama-quant.cpp); F32 if it takes none.
	narrower Type
	// needsImatrix says that llama-quantize refuses to make it without an importance
	// matrix (tensor_requires_imatrix).
	needsImatrix bool
}

// specs has every type; the layouts are ggml's block structs (ggml-common.h), that of
// IQ4_KS is ik_llama.cpp's.
var specs = [...]spec{
	F32:     {name: "F32", blockSize: 1, blockBytes: 4, fields: []Field{{0, F32, 1}}},
	F16:     {name: "F16", blockSize: 1, blockBytes: 2, fields: []Field{{0, F16, 1}}},
	Q4_0:    {name: "Q4_0", blockSize: 32, blockBytes: 18, fields: []Field{{0, F16, 1}}, narrower: F16},
	Q4_1:    {name: "Q4_1", blockSize: 32, blockBytes: 20, fields: []Field{{0, F16, 2}}, narrower: F16},
	Q5_0:    {name: "Q5_0", blockSize: 32, blockBytes: 22, fields: []Field{{0, F16, 1}}, narrower: F16},
	Q5_1:    {name: "Q5_1", blockSize: 32, blockBytes: 24, fields: []Field{{0, F16, 2}}, narrower: F16},
	Q8_0:    {name: "Q8_0", blockSize: 32, blockBytes: 34, fields: []Field{{0, F16, 1}}, narrower: F16},
	Q8_1:    {name: "Q8_1", blockSize: 32, blockBytes: 36, fields: []Field{{0, F16, 2}}},
	Q2_K:    {name: "Q2_K", blockSize: 256, blockBytes: 84, fields: []Field{{80, F16, 2}}, narrower: Q4_0},
	Q3_K:    {name: "Q3_K", blockSize: 256, blockBytes: 110, fields: []Field{{108, F16, 1}}, narrower: Q4_0},
	Q4_K:    {name: "Q4_K", blockSize: 256, blockBytes: 144, fields: []Field{{0, F16, 2}}, narrower: Q5_0},
	Q5_K:    {name: "Q5_K", blockSize: 256, blockBytes: 176, fields: []Field{{0, F16, 2}}, narrower: Q5_1},
	Q6_K:    {name: "Q6_K", blockSize: 256, blockBytes: 210, fields: []Field{{208, F16, 1}}, narrower: Q8_0},
	Q8_K:    {name: "Q8_K", blockSize: 256, blockBytes: 292, fields: []Field{{0, F32, 1}, {260, I16, 16}}},
	IQ2_XXS: {name: "IQ2_XXS", blockSize: 256, blockBytes: 66, fields: []Field{{0, F16, 1}, {2, I16, 32}}, narrower: IQ4_NL, needsImatrix: true},
	IQ2_XS:  {name: "IQ2_XS", blockSize: 256, blockBytes: 74, fields: []Field{{0, F16, 1}, {2, I16, 32}}, narrower: IQ4_NL, needsImatrix: true},
	IQ3_XXS: {name: "IQ3_XXS", blockSize: 256, blockBytes: 98, fields: []Field{{0, F16, 1}}, narrower: IQ4_NL, needsImatrix: true},
	IQ1_S:   {name: "IQ1_S", blockSize: 256, blockBytes: 50, fields: []Field{{0, F16, 1}, {34, I16, 8}}, narrower: IQ4_NL, needsImatrix: true},
	IQ4_NL:  {name: "IQ4_NL", blockSize: 32, blockBytes: 18, fields: []Field{{0, F16, 1}}, narrower: F16},
	IQ3_S:   {name: "IQ3_S", blockSize: 256, blockBytes: 110, fields: []Field{{0, F16, 1}}, narrower: IQ4_NL},
	IQ2_S:   {name: "IQ2_S", blockSize: 256, blockBytes: 82, fields: []Field{{0, F16, 1}}, narrower: IQ4_NL, needsImatrix: true},
	IQ4_XS:  {name: "IQ4_XS", blockSize: 256, blockBytes: 136, fields: []Field{{0, F16, 1}, {2, I16, 1}}, narrower: IQ4_NL},
	I8:      {name: "I8", blockSize: 1, blockBytes: 1},
	I16:     {name: "I16", blockSize: 1, blockBytes: 2, fields: []Field{{0, I16, 1}}},
	I32:     {name: "I32", blockSize: 1, blockBytes: 4, fields: []Field{{0, I32, 1}}},
	I64:     {name: "I64", blockSize: 1, blockBytes: 8, fields: []Field{{0, I64, 1}}},
	F64:     {name: "F64", blockSize: 1, blockBytes: 8, fields: []Field{{0, F64, 1}}},
	IQ1_M:   {name: "IQ1_M", blockSize: 256, blockBytes: 56, narrower: IQ4_NL, needsImatrix: true},
	BF16:    {name: "BF16", blockSize: 1, blockBytes: 2, fields: []Field{{0, BF16, 1}}},
	TQ1_0:   {name: "TQ1_0", blockSize: 256, blockBytes: 54, fields: []Field{{52, F16, 1}}, narrower: Q4_0},
	TQ2_0:   {name: "TQ2_0", blockSize: 256, blockBytes: 66, fields: []Field{{64, F16, 1}}, narrower: Q4_0},
	MXFP4:   {name: "MXFP4", blockSize: 32, blockBytes: 17, narrower: F16},
	NVFP4:   {name: "NVFP4", blockSize: 64, blockBytes: 36},
	Q1_0:    {name: "Q1_0", blockSize: 128, blockBytes: 18, fields: []Field{{0, F16, 1}}},
	Q2_0:    {name: "Q2_0", blockSize: 64, blockBytes: 18, fields: []Field{{0, F16, 1}}, narrower: Q4_0},
	IQ4_KS:  {name: "IQ4_KS", blockSize: 256, blockBytes: 136, header: []Field{{0, F32, 1}}},
}

// spec returns what is known of t, which has no name if that is nothing.
func (t Type) spec() *spec {
	if int64(t) < int64(len(specs)) {
		return &specs[t]
	}
	return &spec{}
}

// Types yields every type that this package knows, by their numbers.
func Types() iter.Seq[Type] {
	return func(yield func(Type) bool) {
		for i := range specs {
			if t := Type(i); t.Valid() && !yield(t) {
				return
			}
		}
	}
}

// Valid reports whether t is a type this package knows.
func (t Type) Valid() bool { return t.spec().name != "" }

// String returns ggml's name of the type in capitals, such as "Q4_K".
func (t Type) String() string {
	if t.Valid() {
		return t.spec().name
	}
	return "type " + strconv.FormatUint(uint64(t), 10)
}

// BlockSize returns the number of elements in one block, 1 for plain types and
// 0 for unknown ones.
func (t Type) BlockSize() int { return t.spec().blockSize }

// BlockBytes returns the number of bytes in one block, 0 for unknown types.
func (t Type) BlockBytes() int { return t.spec().blockBytes }

// Fields returns the numbers in a block that are wider than a byte. The caller must not
// change them.
func (t Type) Fields() []Field { return t.spec().fields }

// Header returns the numbers that a row has in front of its blocks, such as a scale for
// all of them: nothing for most types. The caller must not change them.
func (t Type) Header() []Field { return t.spec().header }

// HeaderBytes returns the number of bytes that a row has in front of its blocks.
func (t Type) HeaderBytes() int {
	n := 0
	for _, f := range t.spec().header {
		n += f.Count * f.Type.BlockBytes()
	}
	return n
}

// Quantized reports whether t stores blocks of several elements.
func (t Type) Quantized() bool { return t.spec().blockSize > 1 }

// RowBytes returns the bytes that a row of n elements takes. n must be a multiple of
// the block size.
func (t Type) RowBytes(n int64) int64 {
	s := t.spec()
	if s.blockSize == 0 || n%int64(s.blockSize) != 0 {
		panic(fmt.Sprintf("gguf: a row of %d elements cannot be %s", n, t))
	}
	return int64(t.HeaderBytes()) + n/int64(s.blockSize)*int64(s.blockBytes)
}

// Narrower returns the type that llama-quantize takes for rows that are not whole blocks
// of t: one of about the same size with smaller blocks, or F16. It may take several steps.
func (t Type) Narrower() (Type, bool) {
	narrower := t.spec().narrower
	return narrower, narrower != F32
}

// NeedsImatrix reports whether llama-quantize refuses to make tensors of type t without an
// importance matrix. That is a precaution: see quant.NeedsImportance for what cannot be
// done at all.
func (t Type) NeedsImatrix() bool { return t.spec().needsImatrix }

// ParseType finds a type by its name, in any letter case, or by its number.
func ParseType(s string) (Type, error) {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil && Type(n).Valid() {
		return Type(n), nil
	}
	name := strings.ToUpper(s)
	for t := range Types() {
		if t.String() == name {
			return t, nil
		}
	}
	return 0, fmt.Errorf("%q is not a tensor type", s)
}

// swapBytes reverses the byte order of every number in whole rows, of so many bytes each.
func (t Type) swapBytes(p []byte, rowBytes int64) {
	header, blockBytes := t.HeaderBytes(), t.BlockBytes()
	for ; len(p) > 0; p = p[rowBytes:] {
		row := p[:rowBytes]
		swapFields(row, t.Header())
		for block := row[header:]; len(block) > 0; block = block[blockBytes:] {
			swapFields(block, t.Fields())
		}
	}
}

func swapFields(p []byte, fields []Field) {
	for _, f := range fields {
		size := f.Type.BlockBytes()
		for i := range f.Count {
			slices.Reverse(p[f.Offset+i*size:][:size])
		}
	}
}
