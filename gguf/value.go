package gguf

import "fmt"

// valueType numbers the types of metadata values as the GGUF specification
// does.
type valueType uint32

const (
	typeUint8 valueType = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
)

// valueTypes gives each type its name in listings and its size in a file; for
// strings and arrays that is the least they take.
var valueTypes = map[valueType]struct {
	name string
	size int64
}{
	typeUint8:   {"UINT8", 1},
	typeInt8:    {"INT8", 1},
	typeUint16:  {"UINT16", 2},
	typeInt16:   {"INT16", 2},
	typeUint32:  {"UINT32", 4},
	typeInt32:   {"INT32", 4},
	typeFloat32: {"FLOAT32", 4},
	typeBool:    {"BOOL", 1},
	typeString:  {"STRING", 8},
	typeArray:   {"ARRAY", 12},
	typeUint64:  {"UINT64", 8},
	typeInt64:   {"INT64", 8},
	typeFloat64: {"FLOAT64", 8},
}

// valueTypeOf returns the GGUF type of a Go value; for a slice it is that of
// the elements and array is true.
func valueTypeOf(v any) (t valueType, array bool, err error) {
	switch v.(type) {
	case uint8:
		return typeUint8, false, nil
	case int8:
		return typeInt8, false, nil
	case uint16:
		return typeUint16, false, nil
	case int16:
		return typeInt16, false, nil
	case uint32:
		return typeUint32, false, nil
	case int32:
		return typeInt32, false, nil
	case float32:
		return typeFloat32, false, nil
	case bool:
		return typeBool, false, nil
	case string:
		return typeString, false, nil
	case uint64:
		return typeUint64, false, nil
	case int64:
		return typeInt64, false, nil
	case float64:
		return typeFloat64, false, nil
	case []uint8:
		return typeUint8, true, nil
	case []int8:
		return typeInt8, true, nil
	case []uint16:
		return typeUint16, true, nil
	case []int16:
		return typeInt16, true, nil
	case []uint32:
		return typeUint32, true, nil
	case []int32:
		return typeInt32, true, nil
	case []float32:
		return typeFloat32, true, nil
	case []bool:
		return typeBool, true, nil
	case []string:
		return typeString, true, nil
	case []uint64:
		return typeUint64, true, nil
	case []int64:
		return typeInt64, true, nil
	case []float64:
		return typeFloat64, true, nil
	}
	return 0, false, fmt.Errorf("a value of Go type %T cannot be stored as metadata", v)
}

// TypeName returns the GGUF name of the type of a metadata value, such as
// "UINT32", or "[STRING]" for an array.
func TypeName(v any) string {
	t, array, err := valueTypeOf(v)
	if err != nil {
		return fmt.Sprintf("%T", v)
	}
	if array {
		return "[" + valueTypes[t].name + "]"
	}
	return valueTypes[t].name
}
