package edit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ggufkit/ggufkit/gguf"
)

// kind is a type of values, and how one and several are read.
type kind struct {
	names []string // the first is gguf.TypeName's, in lower case
	one   func(text string) (any, error)
	many  func(items []json.RawMessage) (any, error)
}

// kindOf returns the kind of a Go type. item reads an element of an array.
func kindOf[T any](parse func(text string) (T, error), item func(json.RawMessage) (string, error), names ...string) kind {
	return kind{
		names: names,
		one:   func(text string) (any, error) { return parse(text) },
		many: func(items []json.RawMessage) (any, error) {
			list := make([]T, len(items))
			for i, raw := range items {
				text, err := item(raw)
				if err == nil {
					list[i], err = parse(text)
				}
				if err != nil {
					return nil, fmt.Errorf("element %d: %w", i, err)
				}
			}
			return list, nil
		},
	}
}

func unsigned[T uint8 | uint16 | uint32 | uint64](bits int, names ...string) kind {
	return kindOf(func(text string) (T, error) {
		n, err := strconv.ParseUint(text, 10, bits)
		if err != nil {
			return 0, notInteger(text, bits, "without a sign")
		}
		return T(n), nil
	}, number, names...)
}

func signed[T int8 | int16 | int32 | int64](bits int, names ...string) kind {
	return kindOf(func(text string) (T, error) {
		n, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return 0, notInteger(text, bits, "with a sign")
		}
		return T(n), nil
	}, number, names...)
}

func notInteger(text string, bits int, sign string) error {
	return fmt.Errorf("%q is not an integer of %d bits %s", text, bits, sign)
}

func float[T float32 | float64](bits int, names ...string) kind {
	return kindOf(func(text string) (T, error) {
		f, err := strconv.ParseFloat(text, bits)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return 0, fmt.Errorf("%q is not a finite number of %d bits", text, bits)
		}
		return T(f), nil
	}, number, names...)
}

var kinds = []kind{
	unsigned[uint8](8, "uint8", "u8"),
	signed[int8](8, "int8", "i8"),
	unsigned[uint16](16, "uint16", "u16"),
	signed[int16](16, "int16", "i16"),
	unsigned[uint32](32, "uint32", "u32"),
	signed[int32](32, "int32", "i32"),
	unsigned[uint64](64, "uint64", "u64"),
	signed[int64](64, "int64", "i64"),
	float[float32](32, "float32", "f32"),
	float[float64](64, "float64", "f64"),
	kindOf(func(text string) (bool, error) {
		if text != "true" && text != "false" {
			return false, fmt.Errorf("%q is neither true nor false", text)
		}
		return text == "true", nil
	}, boolean, "bool"),
	kindOf(func(text string) (string, error) {
		if !utf8.ValidString(text) {
			return "", fmt.Errorf("%q is not UTF-8", text)
		}
		return text, nil
	}, quoted, "string", "str"),
}

// ParseValue reads a value of a type: uint8 to float64 (or u8 to f64), bool, str, or an array
// of one of them as JSON, arr[str]:["a","b"]. int and float are those that the key had, given as was,
// or else uint32 (int32 if negative) and float32.
func ParseValue(typeName, text string, was any) (any, error) {
	name := strings.ToLower(typeName)
	switch name {
	case "int":
		name = strings.ToLower(gguf.TypeName(was))
		if was == nil || !strings.Contains(name, "int") {
			name = "uint32"
			if strings.HasPrefix(text, "-") {
				name = "int32"
			}
		}
	case "float":
		name = strings.ToLower(gguf.TypeName(was))
		if was == nil || !strings.HasPrefix(name, "float") {
			name = "float32"
		}
	}
	element, isArray := strings.CutSuffix(name, "]")
	if isArray {
		element = strings.TrimPrefix(strings.TrimPrefix(element, "arr"), "[")
	}
	for _, k := range kinds {
		for _, n := range k.names {
			switch {
			case n != element:
			case isArray:
				items, err := jsonList(text)
				if err != nil {
					return nil, err
				}
				return k.many(items)
			default:
				return k.one(text)
			}
		}
	}
	var names []string
	for _, k := range kinds {
		names = append(names, k.names[len(k.names)-1])
	}
	return nil, fmt.Errorf("%q is not a type: %s, int, float, or arr[TYPE] with JSON", typeName, strings.Join(names, ", "))
}

// jsonList returns the elements of a list in JSON.
func jsonList(text string) ([]json.RawMessage, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("%q is not UTF-8", text)
	}
	var items []json.RawMessage
	d := json.NewDecoder(strings.NewReader(text))
	if err := d.Decode(&items); err != nil || items == nil {
		return nil, fmt.Errorf("%q is not a list in JSON", text)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there is something after the list: %q", text)
	}
	return items, nil
}

func number(raw json.RawMessage) (string, error) {
	if c := raw[0]; c != '-' && (c < '0' || c > '9') {
		return "", fmt.Errorf("%s is not a number", raw)
	}
	return string(raw), nil
}

func boolean(raw json.RawMessage) (string, error) { return string(raw), nil }

func quoted(raw json.RawMessage) (text string, err error) {
	if raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return "", fmt.Errorf("%s is not a string", raw)
	}
	// The decoder puts this character where half of a surrogate pair is.
	if strings.ContainsRune(text, utf8.RuneError) && !bytes.ContainsRune(raw, utf8.RuneError) && !bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`)) {
		return "", fmt.Errorf("%s is not Unicode", raw)
	}
	return text, nil
}

// ParseSet reads KEY=TYPE:VALUE.
func ParseSet(s string) (Set, error) {
	key, typeName, text, ok := gguf.CutAssignment(s)
	if !ok {
		return Set{}, fmt.Errorf("%q is not of the form KEY=TYPE:VALUE", s)
	}
	return Set{key, typeName, text}, nil
}
