package vocab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
)

// Scores of tokens that do not come from the SentencePiece model.
const (
	scoreAbsent = -10000
	scoreAdded  = -1000
)

// Load returns the tokenizer.* pairs for the checkpoint in dir, in order. size
// is vocab_size of config.json, the number of embeddings: the vocabulary is
// filled up with unused tokens to that size. Tokens beyond it are left out of
// SentencePiece vocabularies and an error in others.
//
// The error wraps gguf.ErrCorrupt if a file contradicts itself and
// gguf.ErrUnsupported if the vocabulary is of another kind.
func Load(dir string, size int64) ([]gguf.KV, error) {
	if size < 1 || size > maxPieces {
		return nil, fmt.Errorf("%w: %s: a vocabulary of %d tokens", gguf.ErrCorrupt, dir, size)
	}
	config, err := loadTokenizerConfig(dir)
	if err != nil {
		return nil, err
	}
	fast, err := loadTokenizerJSON(dir)
	if err != nil {
		return nil, err
	}
	var kvs []gguf.KV
	if v, ok := config.value["add_prefix_space"].(bool); ok {
		kvs = append(kvs, gguf.KV{Key: "tokenizer.ggml.add_space_prefix", Value: v})
	}
	tokens, err := loadVocabulary(dir, int(size), fast, config)
	if err != nil {
		return nil, err
	}
	special, err := loadSpecial(dir, size, fast, config)
	if err != nil {
		return nil, err
	}
	return slices.Concat(kvs, tokens, special), nil
}

// loadTokenizerJSON returns nil if there is no tokenizer.json.
func loadTokenizerJSON(dir string) (*tokenizerJSON, error) {
	fast := new(tokenizerJSON)
	err := sidecar.ReadJSON(filepath.Join(dir, "tokenizer.json"), fast)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return fast, err
}

// loadVocabulary returns the pairs from tokenizer.ggml.model on that are the
// vocabulary. A SentencePiece model goes before tokenizer.json.
func loadVocabulary(dir string, size int, fast *tokenizerJSON, config tokenizerConfig) ([]gguf.KV, error) {
	t, err := loadTokens(dir, size, config)
	switch {
	case err == nil:
		return []gguf.KV{
			{Key: "tokenizer.ggml.model", Value: "llama"},
			{Key: "tokenizer.ggml.pre", Value: "default"},
			{Key: "tokenizer.ggml.tokens", Value: t.texts},
			{Key: "tokenizer.ggml.scores", Value: t.scores},
			{Key: "tokenizer.ggml.token_type", Value: t.types},
		}, nil
	case fast == nil || !errors.Is(err, errNoPieces):
		return nil, err
	}
	kvs, err := loadByteLevel(fast, size, config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "tokenizer.json"), err)
	}
	return kvs, nil
}

// tokens is the vocabulary by id.
type tokens struct {
	texts  []string
	scores []float32
	types  []int32
}

// newTokens returns so many tokens that stand for nothing.
func newTokens(size int) *tokens {
	t := &tokens{make([]string, size), make([]float32, size), make([]int32, size)}
	for id := range size {
		t.set(id, "[PAD"+strconv.Itoa(id)+"]", scoreAbsent, gguf.TokenUnused)
	}
	return t
}

func (t *tokens) set(id int, text string, score float32, typ gguf.TokenType) {
	t.texts[id], t.scores[id], t.types[id] = text, score, int32(typ)
}

// add sets a token that was added to a vocabulary.
func (t *tokens) add(a addedToken, score float32) {
	if a.Special || looksSpecial(a.Content) {
		t.set(int(a.ID), a.Content, score, gguf.TokenControl)
	} else {
		t.set(int(a.ID), strings.ReplaceAll(a.Content, "▁", " "), score, gguf.TokenUserDefined)
	}
}

// loadTokens merges the SentencePiece model with the tokens added later.
func loadTokens(dir string, size int, config tokenizerConfig) (*tokens, error) {
	pieces, err := loadPieces(dir)
	if err != nil {
		return nil, err
	}
	t := newTokens(size)
	for id, p := range pieces[:min(size, len(pieces))] {
		if p.Type == gguf.TokenUserDefined { // only added tokens are, to convert_hf_to_gguf.py
			p.Type = gguf.TokenNormal
		}
		t.set(id, p.Text, p.Score, p.Type)
	}

	path := filepath.Join(dir, "added_tokens.json")
	err = eachMember(path, "", func(text string, raw json.RawMessage) error {
		var id int
		if err := json.Unmarshal(raw, &id); err != nil || id < 0 {
			return fmt.Errorf("token %q has id %s", text, raw)
		}
		if id < size {
			t.set(id, text, scoreAdded, gguf.TokenUserDefined)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}

	added, err := config.addedTokens()
	if err != nil {
		return nil, err
	}
	for _, a := range added {
		if a.ID < int64(size) {
			t.add(a, scoreAdded)
		}
	}
	return t, nil
}

// errNoPieces means that there is no tokenizer.model.
var errNoPieces = errors.New("no tokenizer")

// loadPieces reads tokenizer.model.
func loadPieces(dir string) ([]Piece, error) {
	path := filepath.Join(dir, "tokenizer.model")
	data, err := sidecar.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: %w", dir, errNoPieces, err)
	}
	if err != nil {
		return nil, err
	}
	pieces, err := ParseSentencePiece(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return pieces, nil
}

// looksSpecial tells control tokens that their checkpoints do not mark as such
// (TextModel.does_token_look_special).
func looksSpecial(text string) bool {
	switch text {
	case "<pad>", "<mask>", "<2mass>", "[@BOS@]":
		return true
	}
	between := func(start, end string) bool { return strings.HasPrefix(text, start) && strings.HasSuffix(text, end) }
	return between("<|", "|>") || between("<｜", "｜>") || between("<unused", ">")
}

// tokenizerConfig is tokenizer_config.json, empty if there is none.
type tokenizerConfig struct {
	path  string
	value map[string]any
}

func loadTokenizerConfig(dir string) (tokenizerConfig, error) {
	c := tokenizerConfig{path: filepath.Join(dir, "tokenizer_config.json")}
	err := sidecar.ReadJSON(c.path, &c.value)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if c.value == nil {
		c.value = make(map[string]any) // readPostProcessor fills gaps in it
	}
	return c, err
}

// token returns the token that has a role, such as "bos", if there is one.
func (c tokenizerConfig) token(role string) (text string, ok bool) {
	text, ok = c.value[role+"_token"].(string)
	if object, isObject := c.value[role+"_token"].(map[string]any); isObject {
		text, ok = object["content"].(string)
	}
	return text, ok
}

// unnumbered is the ID of a token that is only named.
const unnumbered = -1

// namedTokens returns the tokens that have roles.
func (c tokenizerConfig) namedTokens() []addedToken {
	var list []addedToken
	for _, role := range roles {
		if text, ok := c.token(role); ok {
			list = append(list, addedToken{ID: unnumbered, Content: text, Special: true})
		}
	}
	return list
}

// addedTokens returns added_tokens_decoder, in the file's order.
func (c tokenizerConfig) addedTokens() ([]addedToken, error) {
	var list []addedToken
	err := eachMember(c.path, "added_tokens_decoder", func(key string, raw json.RawMessage) error {
		var added struct {
			Content *string `json:"content"`
			Special bool    `json:"special"`
		}
		id, err := strconv.Atoi(key)
		if err != nil || id < 0 {
			return fmt.Errorf("added_tokens_decoder: id %q", key)
		}
		if err := json.Unmarshal(raw, &added); err != nil || added.Content == nil {
			return fmt.Errorf("added_tokens_decoder: token %d is %s", id, raw)
		}
		list = append(list, addedToken{int64(id), *added.Content, added.Special})
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return list, err
}

// eachMember calls visit for the members of a file's JSON object, or of the
// object that is its member of the given name, in the file's order: of two
// tokens with one id the later wins. There are no calls if that member is
// absent.
func eachMember(path, member string, visit func(key string, value json.RawMessage) error) error {
	data, err := sidecar.Read(path)
	if err != nil {
		return err
	}
	corrupt := func(err error) error { return fmt.Errorf("%w: %s: %w", gguf.ErrCorrupt, path, err) }
	if member != "" {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(data, &object); err != nil {
			return corrupt(err)
		}
		if data = object[member]; data == nil {
			return nil
		}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return corrupt(errors.New("not a JSON object where one is needed"))
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return corrupt(err)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return corrupt(err)
		}
		if err := visit(key.(string), value); err != nil {
			return corrupt(err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return corrupt(err)
	}
	return nil
}
