package vocab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
// filled up with unused tokens to that size, and tokens beyond it are left out.
//
// The error wraps gguf.ErrCorrupt if a file contradicts itself and
// gguf.ErrUnsupported if the vocabulary is not SentencePiece's.
func Load(dir string, size int64) ([]gguf.KV, error) {
	if size < 1 || size > maxPieces {
		return nil, fmt.Errorf("%w: %s: a vocabulary of %d tokens", gguf.ErrCorrupt, dir, size)
	}
	config, err := loadTokenizerConfig(dir)
	if err != nil {
		return nil, err
	}
	t, err := loadTokens(dir, int(size), config)
	if err != nil {
		return nil, err
	}
	special, err := loadSpecial(dir, size, config)
	if err != nil {
		return nil, err
	}
	var kvs []gguf.KV
	if v, ok := config.value["add_prefix_space"].(bool); ok {
		kvs = append(kvs, gguf.KV{Key: "tokenizer.ggml.add_space_prefix", Value: v})
	}
	kvs = append(kvs,
		gguf.KV{Key: "tokenizer.ggml.model", Value: "llama"},
		gguf.KV{Key: "tokenizer.ggml.pre", Value: "default"},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: t.texts},
		gguf.KV{Key: "tokenizer.ggml.scores", Value: t.scores},
		gguf.KV{Key: "tokenizer.ggml.token_type", Value: t.types},
	)
	return append(kvs, special...), nil
}

// tokens is the vocabulary by id.
type tokens struct {
	texts  []string
	scores []float32
	types  []int32
}

func (t *tokens) set(id int, text string, score float32, typ gguf.TokenType) {
	t.texts[id], t.scores[id], t.types[id] = text, score, int32(typ)
}

// loadTokens merges the SentencePiece model with the tokens added later.
func loadTokens(dir string, size int, config tokenizerConfig) (*tokens, error) {
	pieces, err := loadPieces(dir)
	if err != nil {
		return nil, err
	}
	t := &tokens{make([]string, size), make([]float32, size), make([]int32, size)}
	for id := range size {
		switch {
		case id >= len(pieces):
			t.set(id, "[PAD"+strconv.Itoa(id)+"]", scoreAbsent, gguf.TokenUnused)
		case pieces[id].Type == gguf.TokenUserDefined: // only added tokens are, to convert_hf_to_gguf.py
			t.set(id, pieces[id].Text, pieces[id].Score, gguf.TokenNormal)
		default:
			t.set(id, pieces[id].Text, pieces[id].Score, pieces[id].Type)
		}
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

	err = eachMember(config.path, "added_tokens_decoder", func(key string, raw json.RawMessage) error {
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
		switch text := *added.Content; {
		case id >= size:
		case added.Special || looksSpecial(text):
			t.set(id, text, scoreAdded, gguf.TokenControl)
		default:
			t.set(id, strings.ReplaceAll(text, "▁", " "), scoreAdded, gguf.TokenUserDefined)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return t, nil
}

// loadPieces reads tokenizer.model.
func loadPieces(dir string) ([]Piece, error) {
	path := filepath.Join(dir, "tokenizer.model")
	data, err := sidecar.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, "tokenizer.json")); err == nil {
			return nil, fmt.Errorf("%w: %s has tokenizer.json but no SentencePiece tokenizer.model; byte-level vocabularies such as Llama 3's cannot be converted, for others put the original model's tokenizer.model there", gguf.ErrUnsupported, dir)
		}
		return nil, fmt.Errorf("%s: no tokenizer: %w", dir, err)
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
