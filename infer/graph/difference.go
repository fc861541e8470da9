package graph

import (
	"fmt"
	"reflect"
	"slices"
)

// Difference returns an error that says in what other is not s, nil if they are equal:
// the first key of the metadata, by the tags of Spec, that differs.
func (s *Spec) Difference(other *Spec) error {
	switch {
	case s.Architecture != other.Architecture:
		return fmt.Errorf("is a %s model, the first a %s", other.Architecture, s.Architecture)
	case s.Vocabulary != other.Vocabulary:
		return fmt.Errorf("the vocabulary has %d tokens, that of the first %d", other.Vocabulary, s.Vocabulary)
	}
	c := comparison{prefix: s.Architecture + "."}
	return c.compare(reflect.ValueOf(*s), reflect.ValueOf(*other))
}

// comparison is where in two Specs what is compared stands.
type comparison struct {
	prefix string
	layer  string // "layer 3: ", "" outside of the layers
	key    string
}

func (c comparison) compare(first, other reflect.Value) error {
	switch first.Kind() {
	case reflect.Interface:
		first, other = first.Elem(), other.Elem()
		if first.Type() != other.Type() {
			return c.kinds(first, other)
		}
		return c.compare(first, other)
	case reflect.Slice:
		if first.Len() != other.Len() {
			return c.differ(first.Len(), other.Len())
		}
		for i := range first.Len() {
			at := c
			if first.Type().Elem() == reflect.TypeFor[Layer]() {
				at.layer = fmt.Sprintf("layer %d: ", i)
			}
			if err := at.compare(first.Index(i), other.Index(i)); err != nil {
				return err
			}
		}
		return nil
	case reflect.Struct:
		for i := range first.NumField() {
			field, at := first.Type().Field(i), c
			if at.key = field.Tag.Get("key"); at.key == "" {
				at.key = field.Name
			}
			if err := at.compare(first.Field(i), other.Field(i)); err != nil {
				return err
			}
		}
		return nil
	}
	if first, other := first.Interface(), other.Interface(); first != other {
		return c.differ(first, other)
	}
	return nil
}

// kinds tells mixers of two kinds apart by the first key of the one that has more of them: the
// other has 0 of what it counts, as a network has of experts.
func (c comparison) kinds(first, other reflect.Value) error {
	mine, theirs := keys(first.Type()), keys(other.Type())
	switch {
	case len(mine) > len(theirs):
		c.key = mine[0].Tag.Get("key")
		return c.differ(first.FieldByIndex(mine[0].Index).Interface(), 0)
	case len(theirs) > 0:
		c.key = theirs[0].Tag.Get("key")
		return c.differ(0, other.FieldByIndex(theirs[0].Index).Interface())
	}
	return c.differ(first.Type().Name(), other.Type().Name())
}

// keys lists the fields of a mixer that are keys of the metadata.
func keys(mixer reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(mixer), func(f reflect.StructField) bool { return f.Tag.Get("key") == "" })
}

func (c comparison) differ(first, other any) error {
	return fmt.Errorf("%s%s%s is %v, that of the first %v", c.layer, c.prefix, c.key, other, first)
}
