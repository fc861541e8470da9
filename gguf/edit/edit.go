// Package edit changes the metadata of GGUF files: it makes new metadata of those that are
// there, and refuses what would leave a file that nobody can use. Writing them is gguf's
// ([gguf.File.Patch], [gguf.Write]).
package edit

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ggufkit/ggufkit/gguf"
)

// ErrRefused means that an edit is not made because readers of the file would not take what it
// leaves. Plan makes it nevertheless if it is forced.
var ErrRefused = errors.New("refused")

// A Change is something to do to the metadata.
type Change interface {
	// plan returns the changes of single pairs.
	plan(e *editor) ([]Changed, error)
}

// Set gives a key a value: in the place of the one that it has, or else at the end.
type Set struct {
	Key, Type, Text string // see ParseValue
}

// Delete removes a key.
type Delete struct{ Key string }

// Rename gives the value of a key another key, in its place.
type Rename struct{ From, To string }

// TokenType says what a token is for. Token is its id or its text.
type TokenType struct {
	Token string
	Type  gguf.TokenType
}

// SpecialToken makes a token, given by its id or its text, the one that Name says: bos, eos, eot,
// eom, unknown, separator, padding, mask or another of which llama.cpp has a key.
type SpecialToken struct{ Name, Token string }

// Template makes text the chat template, and removes the others that there are.
type Template struct{ Text string }

// Changed is a pair of metadata that an edit changes.
type Changed struct {
	// Key is what it is called in the end, or was if it is removed; From is what it was
	// called before, if it is renamed.
	Key, From string
	// Was and Is are nil for a pair that is added or removed.
	Was, Is any
	early   bool // of pairs that are added, those that come first
}

// editor is what changes are planned with.
type editor struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	tokens  map[string][]int // by text, once it is needed
	types   []int32          // of tokens, once they are changed
}

// MaxKey is how many bytes a key may have, by the specification.
const MaxKey = 1<<16 - 1

// Plan returns the metadata of a file as the changes leave them, and which pairs these
// change. The error wraps ErrRefused if readers would not take what is left; force lets that pass.
// What no file can be is an error all the same, as are changes that contradict each other.
func Plan(src gguf.Source, changes []Change, force bool) (*gguf.Metadata, []Changed, error) {
	e := &editor{meta: src.Metadata(), tensors: src.Tensors()}
	var all []Changed
	for _, change := range changes {
		changed, err := change.plan(e)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, changed...)
	}
	if e.types != nil {
		was, _ := e.meta.Get(keyTokenTypes)
		all = append(all, Changed{Key: keyTokenTypes, Was: was, Is: e.types})
	}
	if err := contradiction(all); err != nil {
		return nil, nil, err
	}
	for _, c := range all {
		if err := e.check(c); err != nil && (!force || !errors.Is(err, ErrRefused)) {
			return nil, nil, err
		}
	}
	meta := e.apply(all)
	if err := e.checkAll(meta, all); err != nil && (!force || !errors.Is(err, ErrRefused)) {
		return nil, nil, err
	}
	return meta, slices.DeleteFunc(all, func(c Changed) bool { return c.From == "" && reflect.DeepEqual(c.Was, c.Is) }), nil
}

// contradiction returns an error if two changes are about one key.
func contradiction(all []Changed) error {
	seen := make(map[string]bool)
	for _, c := range all {
		for _, key := range []string{c.Key, c.From} {
			if key != "" && seen[key] {
				return fmt.Errorf("%s is changed twice", key)
			}
			seen[key] = true
		}
	}
	return nil
}

// apply returns the metadata with the changes.
func (e *editor) apply(all []Changed) *gguf.Metadata {
	by := make(map[string]Changed)
	for _, c := range all {
		by[c.Key] = c
		if c.From != "" {
			by[c.From] = c
		}
	}
	meta := &gguf.Metadata{}
	for _, kv := range e.meta.All() {
		c, changed := by[kv.Key]
		switch {
		case !changed:
			meta.Set(kv.Key, kv.Value)
		case c.Is != nil && !c.early:
			meta.Set(c.Key, c.Is)
		}
	}
	for _, early := range []bool{true, false} {
		for _, c := range all {
			if c.Is != nil && c.early == early && (early || c.Was == nil) {
				meta.Set(c.Key, c.Is)
			}
		}
	}
	return meta
}

func (s Set) plan(e *editor) ([]Changed, error) {
	was, _ := e.meta.Get(s.Key)
	is, err := ParseValue(s.Type, s.Text, was)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Key, err)
	}
	return []Changed{{Key: s.Key, Was: was, Is: is}}, nil
}

func (d Delete) plan(e *editor) ([]Changed, error) {
	was, err := e.get(d.Key)
	return []Changed{{Key: d.Key, Was: was}}, err
}

func (r Rename) plan(e *editor) ([]Changed, error) {
	was, err := e.get(r.From)
	if err != nil {
		return nil, err
	}
	if _, taken := e.meta.Get(r.To); taken {
		return nil, fmt.Errorf("%s cannot be renamed: there is a %s already", r.From, r.To)
	}
	return []Changed{{Key: r.To, From: r.From, Was: was, Is: was}}, nil
}

func (e *editor) get(key string) (any, error) {
	v, ok := e.meta.Get(key)
	if !ok {
		return nil, fmt.Errorf("%w: %s", gguf.ErrNoKey, key)
	}
	return v, nil
}

func (t Template) plan(e *editor) ([]Changed, error) {
	if !utf8.ValidString(t.Text) {
		return nil, errors.New("the chat template is not UTF-8")
	}
	var changed []Changed
	was, _ := e.meta.Get(keyTemplate)
	if was == t.Text {
		return nil, nil
	}
	for _, kv := range e.meta.All() { // with those for tools and the list of them
		if strings.HasPrefix(kv.Key, keyTemplate) && kv.Key != keyTemplate {
			changed = append(changed, Changed{Key: kv.Key, Was: kv.Value})
		}
	}
	return append(changed, Changed{Key: keyTemplate, Was: was, Is: t.Text, early: true}), nil
}

func (t TokenType) plan(e *editor) ([]Changed, error) {
	id, err := e.token(t.Token)
	if err != nil {
		return nil, err
	}
	if e.types == nil {
		types, err := gguf.Value[[]int32](e.meta, keyTokenTypes)
		if err != nil {
			return nil, err
		}
		e.types = slices.Clone(types)
	}
	if id >= len(e.types) {
		return nil, fmt.Errorf("token %d has no type: %s has %d", id, keyTokenTypes, len(e.types))
	}
	e.types[id] = int32(t.Type)
	return nil, nil
}

func (s SpecialToken) plan(e *editor) ([]Changed, error) {
	key, ok := specialKeys[s.Name]
	if !ok {
		return nil, fmt.Errorf("%q is no special token, one of: %s", s.Name, strings.Join(SpecialNames(), ", "))
	}
	id, err := e.token(s.Token)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	was, _ := e.meta.Get(key)
	return []Changed{{Key: key, Was: was, Is: uint32(id)}}, nil
}

// token returns the id of a token that is given by it or by its text.
func (e *editor) token(s string) (int, error) {
	tokens, err := gguf.Value[[]string](e.meta, keyTokens)
	if err != nil {
		return 0, err
	}
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		if n >= uint64(len(tokens)) {
			return 0, fmt.Errorf("token %d is not among the %d of the vocabulary", n, len(tokens))
		}
		return int(n), nil
	}
	if e.tokens == nil {
		e.tokens = make(map[string][]int)
		for id, text := range tokens {
			e.tokens[text] = append(e.tokens[text], id)
		}
	}
	switch ids := e.tokens[s]; len(ids) {
	case 0:
		return 0, fmt.Errorf("there is no token %q", s)
	case 1:
		return ids[0], nil
	default:
		return 0, fmt.Errorf("the tokens %v all are %q: name one by its id", ids, s)
	}
}

var tokenTypes = map[string]gguf.TokenType{
	"normal": gguf.TokenNormal, "unknown": gguf.TokenUnknown, "control": gguf.TokenControl,
	"user_defined": gguf.TokenUserDefined, "unused": gguf.TokenUnused, "byte": gguf.TokenByte,
}

// ParseTokenType reads the name of a type of tokens, or its number.
func ParseTokenType(s string) (gguf.TokenType, error) {
	if t, ok := tokenTypes[strings.ReplaceAll(strings.ToLower(s), "-", "_")]; ok {
		return t, nil
	}
	if n, err := strconv.Atoi(s); err == nil && n >= int(gguf.TokenNormal) && n <= int(gguf.TokenByte) {
		return gguf.TokenType(n), nil
	}
	return 0, fmt.Errorf("%q is no type of tokens: normal, unknown, control, user_defined, unused, byte, or 1 to 6", s)
}
