package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// deepestJSON is how many objects and lists may be inside each other.
const deepestJSON = 100

// FromJSON returns a value of JSON as templates are given it: nil, bool, int64, float64, string, []any, or a Dict, since objects keep their order.
func FromJSON(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	value, err := fromJSON(d, deepestJSON)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something stands behind it")
	}
	return value, nil
}

func fromJSON(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case json.Number:
		if n, err := token.Int64(); err == nil {
			return n, nil
		}
		return token.Float64()
	case json.Delim:
		if depth == 0 {
			return nil, fmt.Errorf("it is deeper than %d", deepestJSON)
		}
		object, list := Dict{}, []any{}
		for d.More() {
			var key any
			if token == '{' {
				if key, err = d.Token(); err != nil {
					return nil, err
				}
			}
			value, err := fromJSON(d, depth-1)
			if err != nil {
				return nil, err
			}
			if name, ok := key.(string); ok {
				object = append(object, Entry{Key: name, Value: value})
			} else {
				list = append(list, value)
			}
		}
		if _, err := d.Token(); err != nil {
			return nil, err
		}
		if token == '{' {
			return object, nil
		}
		return list, nil
	}
	return token, nil
}
