// Package pyjson reads JSON as Python's json module does, which wrote the files beside
// a checkpoint's tensors and reads them in transformers:
//
//   - names are told apart by case, and of two members with one name the last counts;
//   - NaN, Infinity and -Infinity are numbers, and numbers too large are infinite;
//   - half of a surrogate pair (\ud800) is no error; here it becomes U+FFFD.
//
// As for Python, a byte order mark, bytes that are not UTF-8, control characters in
// texts and anything after the document are errors, and nesting is bounded.
//
// Beyond Python, null leaves a variable as it was (pointers, slices, maps and any
// become nil), and 512.0 or 1e3 can be read into an integer.
//
//	var config struct {
//		HiddenSize int64   `json:"hidden_size"`
//		RopeTheta  float64 `json:"rope_theta"`
//	}
//	err := pyjson.Unmarshal(data, &config)
package pyjson

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Unmarshal decodes a document into what v points to, by the rules of
// encoding/json/v2. In an any, a number is an int64 if it is written as an integer
// and fits, else a float64. Errors name the place: an offset, and the path to the value
// (/rope_scaling/factor) if it is not of the kind that is needed.
func Unmarshal(data []byte, v any) error {
	text, err := strict(data)
	if err == nil {
		err = json.Unmarshal(text, v, jsontext.AllowDuplicateNames(true), json.WithUnmarshalers(unmarshalers))
	}
	return explain(err)
}

// explain says what is wrong without the names of Go's types.
func explain(err error) error {
	if where, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("offset %d: %w", where.ByteOffset, where.Err)
	}
	where, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return err
	}
	reason := where.Err
	if reason == nil {
		reason = fmt.Errorf("%s is not what is needed here", kinds[where.JSONKind])
	}
	if where.JSONPointer == "" {
		return fmt.Errorf("offset %d: %w", where.ByteOffset, reason)
	}
	return fmt.Errorf("%s (offset %d): %w", where.JSONPointer, where.ByteOffset, reason)
}

var kinds = map[jsontext.Kind]string{
	'n': "null", 't': "true", 'f': "false", '0': "a number", '"': "a text", '{': "an object", '[': "a list",
}

// unmarshalers read what is different from strict JSON.
var unmarshalers = json.JoinUnmarshalers(
	json.UnmarshalFromFunc(integer[int]),
	json.UnmarshalFromFunc(integer[int32]),
	json.UnmarshalFromFunc(integer[int64]),
	json.UnmarshalFromFunc(func(dec *jsontext.Decoder, v *float64) error {
		return number(dec, func(text string) (err error) {
			*v, err = parseFloat(text)
			return err
		})
	}),
	json.UnmarshalFromFunc(func(dec *jsontext.Decoder, v *float32) error {
		return number(dec, func(text string) error {
			f, err := parseFloat(text)
			*v = float32(f)
			return err
		})
	}),
	json.UnmarshalFromFunc(keepOnNull[string]),
	json.UnmarshalFromFunc(keepOnNull[bool]),
	json.UnmarshalFromFunc(func(dec *jsontext.Decoder, v *any) error {
		if dec.PeekKind() != '0' {
			return errors.ErrUnsupported // as usual
		}
		return number(dec, func(text string) (err error) {
			if i, err := strconv.ParseInt(text, 10, 64); err == nil {
				*v = i
				return nil
			}
			*v, err = parseFloat(text)
			return err
		})
	}),
)

// keepOnNull leaves *v as it is if the value is null.
func keepOnNull[T any](dec *jsontext.Decoder, _ *T) error {
	if dec.PeekKind() != 'n' {
		return errors.ErrUnsupported // as usual
	}
	_, err := dec.ReadToken()
	return err
}

// number calls parse with the text of a number, and not at all for null.
func number(dec *jsontext.Decoder, parse func(string) error) error {
	kind := dec.PeekKind()
	value, err := dec.ReadValue()
	if err != nil || kind == 'n' {
		return err
	}
	if kind != '0' {
		return fmt.Errorf("%s where a number is needed", kinds[kind])
	}
	return parse(string(value))
}

func integer[T int | int32 | int64](dec *jsontext.Decoder, v *T) error {
	return number(dec, func(text string) error {
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			f, err := parseFloat(text)
			if err != nil {
				return err
			}
			if f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
				return fmt.Errorf("%v is not a whole number of 64 bits", f)
			}
			i = int64(f)
		}
		if *v = T(i); int64(*v) != i {
			return fmt.Errorf("%d is too large", i)
		}
		return nil
	})
}

// What the numbers that JSON lacks become: numbers of the same length, so that offsets
// stay. Nothing else is written as nan: what looks like it becomes zero.
const (
	nan      = "0e0"
	zero     = "0.0"
	infinity = "1e999999"
)

func parseFloat(text string) (float64, error) {
	if text == nan {
		return math.NaN(), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) { // infinite
		err = nil
	}
	return f, err
}

// strict returns a document that means the same and that RFC 8259 allows, with no name
// twice in an object, and with everything at the offset where it was. It does not
// change data.
func strict(data []byte) ([]byte, error) {
	text := []byte(string(data))
	replaceSpecial(text)
	var whole jsontext.Value
	err := json.Unmarshal(text, &whole)
	if errors.Is(err, jsontext.ErrDuplicateName) {
		if err = blankDuplicates(text); err == nil {
			err = json.Unmarshal(text, &whole)
		}
	}
	return text, err
}

// replaceSpecial replaces NaN, infinities and halves of surrogate pairs.
func replaceSpecial(text []byte) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = replaceInString(text, i+1)
		case 'N':
			replaceNumber(text, i, "NaN", nan)
		case 'I':
			replaceNumber(text, i, "Infinity", infinity)
		case '-':
			replaceNumber(text, i, "-Infinity", "-"+infinity)
		case '0':
			replaceNumber(text, i, nan, zero)
		}
	}
}

// replaceNumber replaces what stands at offset i if it is from and nothing else.
func replaceNumber(text []byte, i int, from, to string) {
	end := i + len(from)
	if end > len(text) || string(text[i:end]) != from ||
		i > 0 && !strings.ContainsRune(" \t\r\n:,[", rune(text[i-1])) ||
		end < len(text) && !strings.ContainsRune(" \t\r\n,]}", rune(text[end])) {
		return
	}
	copy(text[i:], to)
}

// replaceInString replaces halves of surrogate pairs in the string that begins at
// offset i, and returns the offset of its closing quote.
func replaceInString(text []byte, i int) int {
	for ; i < len(text) && text[i] != '"'; i++ {
		if text[i] != '\\' {
			continue
		}
		switch first := escaped(text, i); {
		case first < 0xd800 || first > 0xdfff:
			i++ // the escaped character, maybe a quote
		case first < 0xdc00 && escaped(text, i+6)&^0x3ff == 0xdc00:
			i += 11
		default:
			copy(text[i:], `\ufffd`)
			i += 5
		}
	}
	return i
}

// escaped returns the code unit of the escape \uXXXX at offset i, -1 if there is none.
func escaped(text []byte, i int) int {
	if i+6 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(text[i+2:i+6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(unit)
}

// blankDuplicates overwrites with spaces all members of an object that a later one of
// the same name replaces.
func blankDuplicates(text []byte) error {
	type object struct {
		starts []int          // of each member's name
		last   map[string]int // its number, by its name
	}
	var objects []*object // nil for lists
	dec := jsontext.NewDecoder(strings.NewReader(string(text)), jsontext.AllowDuplicateNames(true))
	for {
		start := int(dec.InputOffset())
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if n := len(objects); n > 0 && objects[n-1] != nil && token.Kind() == '"' {
			if kind, length := dec.StackIndex(dec.StackDepth()); kind == '{' && length%2 == 1 {
				for text[start] != '"' {
					start++
				}
				o, name := objects[n-1], token.String()
				o.starts = append(o.starts, start)
				if number, ok := o.last[name]; ok {
					for i := o.starts[number]; i < o.starts[number+1]; i++ {
						text[i] = ' '
					}
				}
				o.last[name] = len(o.starts) - 1
			}
		}
		switch token.Kind() {
		case '{':
			objects = append(objects, &object{last: make(map[string]int)})
		case '[':
			objects = append(objects, nil)
		case '}', ']':
			objects = objects[:len(objects)-1]
		}
		if len(objects) == 0 {
			return nil
		}
	}
}
