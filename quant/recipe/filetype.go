package recipe

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// FileType is a mix of tensor types that a model can be quantized to, numbered
// as llama.cpp's enum llama_ftype: the value of general.file_type.
type FileType uint32

// The file types that llama.cpp can write. Absent numbers were used by formats
// it has removed.
const (
	F32       FileType = 0
	F16       FileType = 1
	Q4_0      FileType = 2
	Q4_1      FileType = 3
	Q8_0      FileType = 7
	Q5_0      FileType = 8
	Q5_1      FileType = 9
	Q2_K      FileType = 10
	Q3_K_S    FileType = 11
	Q3_K_M    FileType = 12
	Q3_K_L    FileType = 13
	Q4_K_S    FileType = 14
	Q4_K_M    FileType = 15
	Q5_K_S    FileType = 16
	Q5_K_M    FileType = 17
	Q6_K      FileType = 18
	IQ2_XXS   FileType = 19
	IQ2_XS    FileType = 20
	Q2_K_S    FileType = 21
	IQ3_XS    FileType = 22
	IQ3_XXS   FileType = 23
	IQ1_S     FileType = 24
	IQ4_NL    FileType = 25
	IQ3_S     FileType = 26
	IQ3_M     FileType = 27
	IQ2_S     FileType = 28
	IQ2_M     FileType = 29
	IQ4_XS    FileType = 30
	IQ1_M     FileType = 31
	BF16      FileType = 32
	TQ1_0     FileType = 36
	TQ2_0     FileType = 37
	MXFP4_MOE FileType = 38
	NVFP4     FileType = 39
	Q1_0      FileType = 40
	Q2_0      FileType = 41
)

// File types that publishers of models call so: one of llama.cpp's, with token embeddings and output matrix
// in Q8_0, as llama-quantize makes it with --token-embedding-type q8_0 --output-tensor-type q8_0. These
// numbers are no file's: that of FileType.Of is.
const (
	Q6_K_L  = wideEnds | Q6_K
	Q5_K_L  = wideEnds | Q5_K_M
	Q4_K_L  = wideEnds | Q4_K_M
	Q3_K_XL = wideEnds | Q3_K_L
	Q2_K_L  = wideEnds | Q2_K

	wideEnds FileType = 1 << 16
)

// Copy is no file type: it stands for leaving all tensors as they are.
const Copy FileType = math.MaxUint32

// fileTypes gives each file type its name and the type most of its tensors
// have (llama_ftype_get_default_type of llama-quant.cpp). Names and base types
// differ for some: IQ2_S, IQ2_M and IQ3_XS are not mostly what they are called.
var fileTypes = []struct {
	fileType FileType
	name     string
	base     gguf.Type
}{
	{F32, "F32", gguf.F32},
	{F16, "F16", gguf.F16},
	{BF16, "BF16", gguf.BF16},
	{Q8_0, "Q8_0", gguf.Q8_0},
	{Q6_K_L, "Q6_K_L", gguf.Q6_K},
	{Q6_K, "Q6_K", gguf.Q6_K},
	{Q5_K_L, "Q5_K_L", gguf.Q5_K},
	{Q5_K_M, "Q5_K_M", gguf.Q5_K},
	{Q5_K_S, "Q5_K_S", gguf.Q5_K},
	{Q5_1, "Q5_1", gguf.Q5_1},
	{Q5_0, "Q5_0", gguf.Q5_0},
	{Q4_K_L, "Q4_K_L", gguf.Q4_K},
	{Q4_K_M, "Q4_K_M", gguf.Q4_K},
	{Q4_K_S, "Q4_K_S", gguf.Q4_K},
	{Q4_1, "Q4_1", gguf.Q4_1},
	{Q4_0, "Q4_0", gguf.Q4_0},
	{IQ4_NL, "IQ4_NL", gguf.IQ4_NL},
	{IQ4_XS, "IQ4_XS", gguf.IQ4_XS},
	{Q3_K_XL, "Q3_K_XL", gguf.Q3_K},
	{Q3_K_L, "Q3_K_L", gguf.Q3_K},
	{Q3_K_M, "Q3_K_M", gguf.Q3_K},
	{Q3_K_S, "Q3_K_S", gguf.Q3_K},
	{IQ3_M, "IQ3_M", gguf.IQ3_S},
	{IQ3_S, "IQ3_S", gguf.IQ3_S},
	{IQ3_XS, "IQ3_XS", gguf.IQ3_S},
	{IQ3_XXS, "IQ3_XXS", gguf.IQ3_XXS},
	{Q2_K_L, "Q2_K_L", gguf.Q2_K},
	{Q2_K, "Q2_K", gguf.Q2_K},
	{Q2_K_S, "Q2_K_S", gguf.Q2_K},
	{IQ2_M, "IQ2_M", gguf.IQ2_S},
	{IQ2_S, "IQ2_S", gguf.IQ2_XS},
	{IQ2_XS, "IQ2_XS", gguf.IQ2_XS},
	{IQ2_XXS, "IQ2_XXS", gguf.IQ2_XXS},
	{IQ1_M, "IQ1_M", gguf.IQ1_M},
	{IQ1_S, "IQ1_S", gguf.IQ1_S},
	{TQ2_0, "TQ2_0", gguf.TQ2_0},
	{TQ1_0, "TQ1_0", gguf.TQ1_0},
	{MXFP4_MOE, "MXFP4_MOE", gguf.MXFP4},
	{NVFP4, "NVFP4", gguf.NVFP4},
	{Q2_0, "Q2_0", gguf.Q2_0},
	{Q1_0, "Q1_0", gguf.Q1_0},
}

// aliases are the short names llama-quantize accepts.
var aliases = map[string]FileType{"Q3_K": Q3_K_M, "Q4_K": Q4_K_M, "Q5_K": Q5_K_M}

// FileTypes returns all file types, those with more bits first.
func FileTypes() []FileType {
	all := make([]FileType, len(fileTypes))
	for i, f := range fileTypes {
		all[i] = f.fileType
	}
	return all
}

// ParseFileType finds a file type by llama.cpp's name, in any letter case and with
// or without MOSTLY_ before it, or by its number; COPY is Copy.
func ParseFileType(s string) (FileType, error) {
	name := strings.TrimPrefix(strings.ToUpper(s), "MOSTLY_")
	if name == Copy.String() {
		return Copy, nil
	}
	number, err := strconv.ParseUint(s, 10, 32)
	for _, f := range fileTypes {
		if f.name == name || err == nil && f.fileType == FileType(number) && !f.fileType.wide() {
			return f.fileType, nil
		}
	}
	if f, ok := aliases[name]; ok {
		return f, nil
	}
	return 0, fmt.Errorf("%q is not a file type", s)
}

// wide reports whether f is a file type of llama.cpp with other token embeddings and output.
func (f FileType) wide() bool { return f != Copy && f&wideEnds != 0 }

// Of returns the file type of llama.cpp that f is, or is a variant of.
func (f FileType) Of() FileType {
	if f.wide() {
		return f &^ wideEnds
	}
	return f
}

// Spell returns f as llama-quantize knows it, a file type and options: of Q4_K_L it is Q4_K_M with
// types of the token embeddings and the output matrix, unless the options have them.
func (f FileType) Spell(opts Options) (FileType, Options) {
	if !f.wide() {
		return f, opts
	}
	q8 := gguf.Q8_0
	if opts.OutputType == nil {
		opts.OutputType = &q8
	}
	if opts.TokenEmbeddingType == nil {
		opts.TokenEmbeddingType = &q8
	}
	return f.Of(), opts
}

// String returns the name of the file type, such as "Q4_K_M": llama.cpp's, or its publishers'.
func (f FileType) String() string {
	if f == Copy {
		return "COPY"
	}
	for _, known := range fileTypes {
		if known.fileType == f {
			return known.name
		}
	}
	return "file type " + strconv.FormatUint(uint64(f), 10)
}

// Base returns the type that tensors have unless a rule says otherwise. The
// error wraps gguf.ErrUnsupported if f is not a file type.
func (f FileType) Base() (gguf.Type, error) {
	for _, known := range fileTypes {
		if known.fileType == f {
			return known.base, nil
		}
	}
	return 0, fmt.Errorf("%w: %s", gguf.ErrUnsupported, f)
}

// Mostly returns the file type called after the type that most elements of some tensors
// have, such as Q4_0, if they are at least half of what is quantized in all tensors.
func Mostly(some, all []gguf.TensorInfo) (f FileType, ok bool) {
	var quantized int64
	for _, t := range all {
		if t.Type.Quantized() {
			quantized += t.Elements()
		}
	}
	elements := make(map[gguf.Type]int64)
	for _, t := range some {
		elements[t.Type] += t.Elements()
		quantized -= 2 * t.Elements()
	}
	if quantized > 0 {
		return 0, false
	}
	var most int64
	for _, known := range fileTypes {
		if n := elements[known.base]; n > most && !known.fileType.wide() {
			f, most = known.fileType, n
		}
	}
	return f, most > 0
}

// NameOf returns what a model says that its mix of types is called, "" if it does not say.
func NameOf(meta *gguf.Metadata) string {
	number, err := meta.Uint("general.file_type")
	if err != nil {
		return ""
	}
	if f := FileType(number); uint64(f) == number && !f.wide() {
		return f.String()
	}
	return "file type " + strconv.FormatUint(number, 10)
}
