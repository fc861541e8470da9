package edit

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ggufkit/ggufkit/gguf"
)

// Keys with rules of their own.
const (
	keyArchitecture = "general.architecture"
	keyAlignment    = "general.alignment"
	keyTokens       = "tokenizer.ggml.tokens"
	keyScores       = "tokenizer.ggml.scores"
	keyTokenTypes   = "tokenizer.ggml.token_type"
	keyMerges       = "tokenizer.ggml.merges"
	keyTemplate     = "tokenizer.chat_template"
)

// specialKeys are llama.cpp's keys of special tokens. One of them is misspelled there.
var specialKeys = func() map[string]string {
	keys := map[string]string{"separator": "tokenizer.ggml.seperator_token_id"}
	for _, name := range []string{
		"bos", "eos", "eot", "eom", "unknown", "padding", "cls", "mask", "prefix", "suffix", "middle",
		"fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep",
	} {
		keys[name] = "tokenizer.ggml." + name + "_token_id"
	}
	return keys
}()

// SpecialNames returns the names of special tokens.
func SpecialNames() []string { return slices.Sorted(maps.Keys(specialKeys)) }

// types are those that llama.cpp reads keys as: it ends if they are others.
var types = func() map[string]any {
	t := map[string]any{
		keyArchitecture: "", "general.quantization_version": uint32(0), "general.file_type": uint32(0), keyAlignment: uint32(0),
		"tokenizer.ggml.model": "", "tokenizer.ggml.pre": "", keyTokens: []string(nil), keyScores: []float32(nil), keyTokenTypes: []int32(nil),
		keyMerges: []string(nil), keyTemplate: "", "tokenizer.ggml.add_bos_token": false, "tokenizer.ggml.add_eos_token": false,
		"tokenizer.ggml.add_space_prefix": false, "tokenizer.ggml.remove_extra_whitespaces": false, "tokenizer.ggml.token_type_count": uint32(0),
	}
	for _, key := range specialKeys {
		t[key] = uint32(0)
	}
	for _, name := range []string{"general.name", "general.author", "general.version", "general.organization", "general.description", "general.url", "general.license"} {
		t[name] = ""
	}
	return t
}()

// partTypes are types of keys that begin with the architecture.
var partTypes = map[string]any{
	"block_count": uint32(0), "context_length": uint32(0), "embedding_length": uint32(0), "vocab_size": uint32(0), "expert_count": uint32(0),
	"expert_used_count": uint32(0), "rope.dimension_count": uint32(0), "rope.freq_base": float32(0), "rope.scaling.type": "", "rope.scaling.factor": float32(0),
	"attention.layer_norm_rms_epsilon": float32(0), "attention.layer_norm_epsilon": float32(0), "attention.key_length": uint32(0),
	"attention.value_length": uint32(0), "attention.sliding_window": uint32(0),
}

// essential are keys without which no model is loaded, beside those of its architecture.
var essential = []string{"tokenizer.ggml.model", keyTokens, keyScores, keyTokenTypes, keyMerges}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// check returns an error for a change that is not to be made.
func (e *editor) check(c Changed) error {
	architecture, _ := gguf.Value[string](e.meta, keyArchitecture)
	gone := c.From
	if c.Is == nil {
		gone = c.Key
	}
	switch {
	case gone == keyArchitecture:
		return errors.New(keyArchitecture + " cannot be removed or renamed: without it no file is a model")
	case gone != "" && (slices.Contains(essential, gone) || architecture != "" && strings.HasPrefix(gone, architecture+".")):
		return refuse("readers need %s", gone)
	}
	for _, key := range []string{c.Key, c.From} {
		if count, _ := e.meta.Uint("split.count"); strings.HasPrefix(key, "split.") && (count > 0 || c.Is != nil) {
			return fmt.Errorf("%s says which file of a set this is: see 'ggufkit split' and 'ggufkit join'", key)
		}
	}
	if c.Is == nil {
		return nil
	}
	if err := checkKey(c.Key); err != nil {
		return err
	}
	want, known := types[c.Key]
	if part, ok := strings.CutPrefix(c.Key, architecture+"."); ok && !known {
		want, known = partTypes[part]
	}
	switch {
	case c.Was != nil && reflect.TypeOf(c.Was) == reflect.TypeOf(c.Is) && c.From == "":
	case known && reflect.TypeOf(want) != reflect.TypeOf(c.Is):
		return refuse("%s is %s for those who read it, not %s", c.Key, gguf.TypeName(want), gguf.TypeName(c.Is))
	case c.Was != nil && reflect.TypeOf(c.Was) != reflect.TypeOf(c.Is):
		return refuse("%s is of type %s, not %s", c.Key, gguf.TypeName(c.Was), gguf.TypeName(c.Is))
	}
	switch c.Key {
	case keyArchitecture:
		is, _ := c.Is.(string)
		switch {
		case is == "":
			return errors.New(keyArchitecture + " cannot be empty")
		case c.Was != nil && c.Was != is:
			return refuse("the keys of the model begin with %s, so that nobody finds them as %s", c.Was, is)
		}
	case keyTokenTypes:
		list, _ := c.Is.([]int32)
		for id, t := range list {
			if t < int32(gguf.TokenNormal) || t > int32(gguf.TokenByte) {
				return refuse("token %d is of type %d, which there is not", id, t)
			}
		}
	}
	return nil
}

// checkKey returns an error for a key that the specification does not allow, or that nobody could type.
func checkKey(key string) error {
	switch {
	case key == "":
		return errors.New("the key is empty")
	case len(key) > MaxKey:
		return fmt.Errorf("the key has %d bytes, at most %d are possible: %.40q and so on", len(key), MaxKey, key)
	case !utf8.ValidString(key):
		return fmt.Errorf("the key %q is not UTF-8", key)
	case strings.ContainsFunc(key, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }):
		return fmt.Errorf("the key %q has a space or a control character", key)
	case strings.ContainsFunc(key, func(r rune) bool { return r > unicode.MaxASCII }):
		return refuse("the key %q is not ASCII, as the specification has it", key)
	}
	return nil
}

// checkAll returns an error for metadata that do not go together.
func (e *editor) checkAll(meta *gguf.Metadata, all []Changed) error {
	if _, err := meta.Alignment(); err != nil {
		return err
	}
	touched := func(keys ...string) bool {
		return slices.ContainsFunc(all, func(c Changed) bool { return slices.Contains(keys, c.Key) || slices.Contains(keys, c.From) })
	}
	tokens, err := gguf.Value[[]string](meta, keyTokens)
	if err != nil {
		return nil // of another type, which was forced, or none
	}
	if touched(keyTokens) {
		for _, t := range e.tensors {
			if t.Name == "token_embd.weight" && t.Rows() != int64(len(tokens)) {
				return refuse("there are %d tokens and %d rows of %s", len(tokens), t.Rows(), t.Name)
			}
		}
	}
	if touched(keyTokens, keyScores, keyTokenTypes) {
		for _, key := range []string{keyScores, keyTokenTypes} {
			if v, ok := meta.Get(key); ok {
				if list := reflect.ValueOf(v); list.Kind() == reflect.Slice && list.Len() != len(tokens) {
					return refuse("%s has %d elements for %d tokens", key, list.Len(), len(tokens))
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(specialKeys)) {
		if key := specialKeys[name]; touched(key, keyTokens) {
			if id, err := meta.Uint(key); err == nil && id >= uint64(len(tokens)) {
				return refuse("%s is %d, and there are %d tokens", key, id, len(tokens))
			}
		}
	}
	return nil
}
