package vocab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
)

// special collects what gguf-py's SpecialVocab does: which tokens have a role,
// and which of them a tokenizer adds to a text.
type special struct {
	size  int64 // of the vocabulary
	roles []string
	ids   ordered[uint32]
	add   ordered[bool]
}

// ordered is a map that keeps the order of insertion.
type ordered[V any] struct {
	keys   []string
	values map[string]V
}

func (o *ordered[V]) has(key string) bool { _, ok := o.values[key]; return ok }

func (o *ordered[V]) set(key string, v V) {
	if o.values == nil {
		o.values = make(map[string]V)
	}
	if !o.has(key) {
		o.keys = append(o.keys, key)
	}
	o.values[key] = v
}

// roles are those that transformers knows.
var roles = []string{"bos", "eos", "unk", "sep", "pad", "cls", "mask"}

// idKeys and addKeys give the roles that have a key.
var (
	idKeys = map[string]string{
		"bos": "tokenizer.ggml.bos_token_id", "eos": "tokenizer.ggml.eos_token_id", "unk": "tokenizer.ggml.unknown_token_id",
		"sep": "tokenizer.ggml.seperator_token_id", //nolint:misspell // so it is in the format
		"pad": "tokenizer.ggml.padding_token_id", "mask": "tokenizer.ggml.mask_token_id",
		"eot": "tokenizer.ggml.eot_token_id", "eom": "tokenizer.ggml.eom_token_id",
	}
	addKeys = map[string]string{
		"bos": "tokenizer.ggml.add_bos_token", "eos": "tokenizer.ggml.add_eos_token", "sep": "tokenizer.ggml.add_sep_token",
	}
)

// tokenizerJSON is tokenizer.json.
type tokenizerJSON struct {
	AddedTokens   []addedToken    `json:"added_tokens"`
	PostProcessor *postProcessor  `json:"post_processor"`
	Normalizer    *normalizer     `json:"normalizer"`
	PreTokenizer  *preTokenizer   `json:"pre_tokenizer"`
	Model         json.RawMessage `json:"model"`
}

// addedToken is a token that is found in text before the rest is cut up.
type addedToken struct {
	ID      int64  `json:"id"`
	Content string `json:"content"`
	Special bool   `json:"special"`
}

type postProcessor struct {
	Type       string           `json:"type"`
	Single     []templateItem   `json:"single"`
	Pair       []templateItem   `json:"pair"`
	Processors []*postProcessor `json:"processors"`
}

// templateItem is either a special token or one of the texts A and B.
type templateItem struct {
	SpecialToken struct {
		ID string `json:"id"`
	}
	Sequence struct {
		ID string `json:"id"`
	}
}

type normalizer struct {
	Type         string        `json:"type"`
	Lowercase    *bool         `json:"lowercase"`
	StripAccents *bool         `json:"strip_accents"`
	Normalizers  []*normalizer `json:"normalizers"`
}

// loadSpecial returns the pairs after the vocabulary. fast is nil if there is no
// tokenizer.json.
func loadSpecial(dir string, size int64, fast *tokenizerJSON, config tokenizerConfig) ([]gguf.KV, error) {
	s := special{size: size, roles: slices.Clone(roles)}
	if fast == nil {
		fast = new(tokenizerJSON)
	}
	s.readPostProcessor(fast.PostProcessor, config.value)
	template, err := chatTemplate(dir, config)
	if err != nil {
		return nil, err
	}
	if err := s.readTokenizerConfig(fast, config); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "tokenizer.json"), err)
	}
	if err := s.readConfig(filepath.Join(dir, "config.json")); err != nil {
		return nil, err
	}

	var kvs []gguf.KV
	for _, role := range s.ids.keys {
		if key, ok := idKeys[role]; ok {
			kvs = append(kvs, gguf.KV{Key: key, Value: s.ids.values[role]})
		}
	}
	for _, role := range s.add.keys {
		if key, ok := addKeys[role]; ok {
			kvs = append(kvs, gguf.KV{Key: key, Value: s.add.values[role]})
		}
	}
	kvs = append(kvs, template...)
	var n ordered[bool]
	fast.Normalizer.read(&n)
	for _, name := range []string{"nfc", "lowercase", "strip_accents"} {
		if n.has(name) {
			kvs = append(kvs, gguf.KV{Key: "tokenizer.ggml.normalizer." + name, Value: n.values[name]})
		}
	}
	if size == codeLlamaSize && !s.ids.has("eot") {
		kvs = append(kvs, gguf.KV{Key: idKeys["eot"], Value: uint32(codeLlamaEOT)})
	}
	return kvs, nil
}

// Code Llama's tokens for infilling have no other mark than this vocabulary size.
const (
	codeLlamaSize = 32016
	codeLlamaEOT  = 32010
)

// readPostProcessor finds out what the fast tokenizer adds to a text. Tokens it
// uses in a role that config does not fill are put there.
func (s *special) readPostProcessor(p *postProcessor, config map[string]any) {
	if p == nil {
		return
	}
	// An absent cls or sep token can stand in for bos or eos.
	if isEmpty(config["bos_token"]) && !isEmpty(config["cls_token"]) {
		config["bos_token"] = config["cls_token"]
	}
	if isEmpty(config["eos_token"]) && !isEmpty(config["sep_token"]) {
		config["eos_token"] = config["sep_token"]
	}
	processors := p.Processors
	if processors == nil {
		processors = []*postProcessor{p}
	}
	for _, p := range processors {
		switch {
		case p == nil:
		case p.Type == "ByteLevel":
			for _, role := range []string{"bos", "eos"} {
				if !s.add.has(role) {
					s.add.set(role, false)
				}
			}
		case p.Type == "TemplateProcessing":
			s.readTemplate(p, config)
		}
	}
}

func isEmpty(v any) bool { return v == nil || v == "" }

// readTemplate reads a TemplateProcessing: single is a text with tokens around
// it, pair is two of them.
func (s *special) readTemplate(p *postProcessor, config map[string]any) {
	first, last := "", ""
	if len(p.Single) > 1 {
		first, last = p.Single[0].SpecialToken.ID, p.Single[len(p.Single)-1].SpecialToken.ID
	}
	if first != "" {
		if first != config["bos_token"] && first != config["cls_token"] {
			for _, key := range []string{"bos_token", "cls_token"} {
				if isEmpty(config[key]) {
					config[key] = first
				}
			}
		}
		s.add.set("bos", first == config["bos_token"] || first == config["cls_token"])
	}
	if last != "" {
		if last != config["eos_token"] {
			// The token that ends texts is the end; what was said to be it ends turns.
			for _, role := range []string{"eot", "eom"} {
				if !slices.Contains(s.roles, role) {
					s.roles = append(s.roles, role)
					config[role+"_token"] = config["eos_token"]
					break
				}
			}
			config["eos_token"] = last
		}
		s.add.set("eos", true)
	}

	pair := p.Pair
	if first != "" && len(pair) > 0 && pair[0].SpecialToken.ID == first {
		pair = pair[1:]
	}
	if last != "" && len(pair) > 0 && pair[len(pair)-1].SpecialToken.ID == last {
		pair = pair[:len(pair)-1]
	}
	if len(pair) < 3 || pair[0].Sequence.ID != "A" || pair[len(pair)-1].Sequence.ID != "B" {
		return
	}
	between := pair[1 : len(pair)-1]
	separates := func(item templateItem) bool {
		id := item.SpecialToken.ID
		return id != "" && (id == config["sep_token"] || id == config["eos_token"])
	}
	add := separates(between[0]) && last == "" || len(between) == 2 && separates(between[1])
	s.add.set("sep", add)
	if add && isEmpty(config["sep_token"]) {
		config["sep_token"] = config["eos_token"]
	}
}

// readTokenizerConfig takes the flags and the tokens by role from
// tokenizer_config.json; only added tokens have ids there.
func (s *special) readTokenizerConfig(fast *tokenizerJSON, config tokenizerConfig) error {
	for _, role := range s.roles {
		if add, ok := config.value["add_"+role+"_token"].(bool); ok && !s.add.has(role) {
			s.add.set(role, add)
		}
		text, ok := config.token(role)
		if !ok {
			continue
		}
		for _, t := range fast.AddedTokens {
			if t.Content == text {
				if err := s.setID(role, int64(t.ID)); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// readConfig takes ids that are still open from config.json.
func (s *special) readConfig(path string) error {
	var config map[string]any
	if err := sidecar.ReadJSON(path, &config); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, role := range s.roles {
		// Lists of several ids, as eos_token_id may be, have no place in GGUF.
		if id, ok := config[role+"_token_id"].(int64); ok {
			if err := s.setID(role, id); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	return nil
}

// setID gives a role a token unless it has one or the vocabulary has no such
// token.
func (s *special) setID(role string, id int64) error {
	if id < 0 {
		return fmt.Errorf("%w: token %s has id %d", gguf.ErrCorrupt, role, id)
	}
	if id < int64(s.size) && !s.ids.has(role) {
		s.ids.set(role, uint32(id))
	}
	return nil
}

// unknown returns the type of a normalizer, or of one in it, that a tokenizer would
// have to know of and does not; "" if there is none.
func (n *normalizer) unknown() string {
	switch {
	case n == nil || n.Type == "NFC":
		return ""
	case n.Type != "Sequence":
		return n.Type
	}
	for _, part := range n.Normalizers {
		if name := part.unknown(); name != "" {
			return name
		}
	}
	return ""
}

// read notes what a normalizer does as far as GGUF has keys for it.
func (n *normalizer) read(flags *ordered[bool]) {
	if n == nil {
		return
	}
	switch n.Type {
	case "Lowercase":
		flags.set("lowercase", true)
	case "NFC":
		flags.set("nfc", true)
	case "StripAccents":
		flags.set("strip_accents", true)
	case "BertNormalizer":
		if n.Lowercase != nil {
			flags.set("lowercase", *n.Lowercase)
		}
		if n.StripAccents != nil {
			flags.set("strip_accents", *n.StripAccents)
		}
	case "Sequence":
		for _, part := range n.Normalizers {
			part.read(flags)
		}
	}
}
