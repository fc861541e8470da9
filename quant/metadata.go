package quant

import (
	"fmt"
	"math"
	"strconv"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/imatrix"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// maxOverride is the most bytes that llama-quantize can keep of a key or string
// value that it sets itself: it has 128 for them, with a zero at the end.
const maxOverride = 127

// ParseOverrideKV reads KEY=TYPE:VALUE as llama-quantize's --override-kv does.
// TYPE is int, float, bool or str. Integers become uint32, without their sign;
// floats become float32.
func ParseOverrideKV(s string) (gguf.KV, error) {
	key, kind, value, ok := gguf.CutAssignment(s)
	if !ok {
		return gguf.KV{}, fmt.Errorf("%q is not of the form KEY=TYPE:VALUE", s)
	}
	if len(key) > maxOverride {
		return gguf.KV{}, fmt.Errorf("%q: the key has more than %d bytes", s, maxOverride)
	}
	switch kind {
	case "int":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n > math.MaxUint32 || n < -math.MaxUint32 {
			return gguf.KV{}, fmt.Errorf("%q: %q is not an integer of 32 bits", s, value)
		}
		return gguf.KV{Key: key, Value: uint32(max(n, -n))}, nil
	case "float":
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return gguf.KV{}, fmt.Errorf("%q: %q is not a number", s, value)
		}
		return gguf.KV{Key: key, Value: float32(f)}, nil
	case "bool":
		if value != "true" && value != "false" {
			return gguf.KV{}, fmt.Errorf("%q: %q is neither true nor false", s, value)
		}
		return gguf.KV{Key: key, Value: value == "true"}, nil
	case "str":
		if len(value) > maxOverride {
			return gguf.KV{}, fmt.Errorf("%q: the value has more than %d bytes", s, maxOverride)
		}
		return gguf.KV{Key: key, Value: value}, nil
	}
	return gguf.KV{}, fmt.Errorf("%q: %q is not one of the types int, float, bool and str", s, kind)
}

const keyFileType = "general.file_type"

// viewMetadata returns the metadata of src as llama-quantize leaves them. What
// it sets stands at the end, in this order.
func viewMetadata(src *gguf.Metadata, ft recipe.FileType, overrides []gguf.KV, importance *imatrix.Matrix) *gguf.Metadata {
	const quantizationVersion = 2 // GGML_QNT_VERSION
	m := src.Clone()
	m.Set("general.quantization_version", uint32(quantizationVersion))
	if ft != recipe.Copy {
		m.Set(keyFileType, uint32(ft))
	} else if v, ok := m.Get(keyFileType); ok {
		m.Set(keyFileType, v)
	}
	m.DeleteSplit()
	for _, kv := range overrides {
		m.Set(kv.Key, kv.Value)
	}
	if importance == nil {
		return m
	}
	m.Set("quantize.imatrix.file", cut(importance.Name()))
	if datasets := importance.Datasets(); len(datasets) > 0 {
		m.Set("quantize.imatrix.dataset", cut(datasets[0]))
	}
	m.Set("quantize.imatrix.entries_count", uint32(len(importance.Tensors())))
	if chunks := importance.Chunks(); chunks > 0 {
		m.Set("quantize.imatrix.chunks_count", uint32(chunks))
	}
	return m
}

func cut(s string) string { return s[:min(len(s), maxOverride)] }
