package vocab

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/gguf"
)

// addedTokens returns the tokens that were added to the model's of a tokenizer.json, as
// transformers 5 counts them (TokenizersBackend, PreTrainedTokenizerBase): those of tokenizer.json
// first, then what tokenizer_config.json or the older files have beside them or say of
// them, then the special tokens that are only named. size is the number of embeddings.
func (f *sources) addedTokens(model map[string]int64, size int) ([]addedToken, error) {
	special, err := f.specialTokens()
	if err != nil {
		return nil, err
	}
	listed, err := f.listedTokens(special)
	if err != nil {
		return nil, err
	}
	a := adder{model: model, at: make(map[string]int)}
	for _, t := range f.fast.AddedTokens {
		if err := a.add(t); err != nil {
			return nil, err
		}
	}
	for _, t := range listed {
		t.Special = t.Special || special.names[t.Content]
		if err := a.add(t); err != nil {
			return nil, err
		}
	}
	named := slices.Concat(special.named, special.extra)
	for _, t := range named {
		if _, known := model[t.Content]; a.has(t.Content) || special.byClass[t.Content] && !known && a.number() >= int64(size) {
			continue
		}
		if err := a.add(t); err != nil {
			return nil, err
		}
	}
	if special.class == qwen2Class { // which adds all of them once more
		for _, t := range named {
			if t.Special, t.Normalized = true, false; a.has(t.Content) {
				if err := a.add(t); err != nil {
					return nil, err
				}
			}
		}
	}
	if f.fast.Decoder.isByteLevel() {
		for i := range a.list {
			if t := &a.list[i]; !t.Normalized {
				t.Content = spelled(t.Content)
			}
		}
	}
	return a.list, nil
}

// spelled returns the text that a byte-level decoder makes of a token, which is what
// convert_hf_to_gguf.py writes: Ġ is a space. A token that is no text then stays as it is.
func spelled(token string) string {
	var text []byte
	for _, r := range token {
		b, ok := pretoken.ByteOf(r)
		if !ok {
			return token
		}
		text = append(text, b)
	}
	if !utf8.Valid(text) {
		return token
	}
	return string(text)
}

// adder numbers tokens as tokenizers does.
type adder struct {
	model map[string]int64 // ids of the tokens that none was added to
	list  []addedToken
	at    map[string]int // in list, by content
	next  int64          // above all ids in list
}

// number returns the id of the next token that is new.
func (a *adder) number() int64 { return max(a.next, int64(len(a.model))) }

func (a *adder) has(text string) bool { _, ok := a.at[text]; return ok }

// add adds a token, or replaces what was said of it before.
func (a *adder) add(t addedToken) error {
	if t.Content == "" {
		return nil
	}
	at, known := a.at[t.Content]
	id := a.number()
	if known {
		id = a.list[at].ID
	} else if old, ok := a.model[t.Content]; ok {
		id = old
	}
	if t.ID != unnumbered && t.ID != id {
		return fmt.Errorf("%w: added token %.80q has id %d and comes as number %d", gguf.ErrCorrupt, t.Content, t.ID, id)
	}
	t.ID = id
	if known {
		a.list[at] = t
		return nil
	}
	a.at[t.Content] = len(a.list)
	a.list = append(a.list, t)
	a.next = max(a.next, id+1)
	return nil
}

// unnumbered is the ID of a token that is only named.
const unnumbered = -1

// listedTokens returns the tokens that have ids outside of tokenizer.json, by id:
// those of tokenizer_config.json's added_tokens_decoder or, without one, of added_tokens.json.
// Of the latter those with an id of tokenizer.json's are not counted.
func (f *sources) listedTokens(special *specialTokens) ([]addedToken, error) {
	if special.decoder {
		return byID(f.addedTokensDecoder())
	}
	list, err := f.addedTokensJSON()
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Special = special.early[list[i].Content]
		list[i].Normalized = !list[i].Special
	}
	return byID(slices.Concat(list, f.fast.AddedTokens), nil)
}

// byID sorts tokens by id; of several with one id the last stays.
func byID(list []addedToken, err error) ([]addedToken, error) {
	slices.Reverse(list)
	slices.SortStableFunc(list, func(a, b addedToken) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(list, func(a, b addedToken) bool { return a.ID == b.ID }), err
}

// specialTokens are the tokens that are special because something names them.
type specialTokens struct {
	decoder bool            // tokenizer_config.json has an added_tokens_decoder
	named   []addedToken    // for a role: bos_token, ..., and any other key that ends in _token
	extra   []addedToken    // for none: extra_special_tokens, additional_special_tokens
	names   map[string]bool // texts in named
	early   map[string]bool // what added_tokens.json is compared with
	class   string          // transformers' class of tokenizers
	byClass map[string]bool // texts that it names
}

// has reports whether transformers counts a token among all_special_tokens.
func (s *specialTokens) has(text string) bool {
	return s.names[text] || slices.ContainsFunc(s.extra, func(t addedToken) bool { return t.Content == text })
}

const qwen2Class = "Qwen2Tokenizer"

// tokenizerClass returns the class that transformers' AutoTokenizer takes, as far as it makes a difference.
func (f *sources) tokenizerClass(given jsontext.Value) (string, error) {
	var model struct {
		Type  string `json:"model_type"`
		Class string `json:"tokenizer_class"`
	}
	if err := sidecar.ReadJSON(f.folder, "config.json", &model); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	class := model.Class
	if given.Kind() == '"' {
		if err := pyjson.Unmarshal(given, &class); err != nil {
			return "", err
		}
	}
	class = strings.TrimSuffix(class, "Fast")
	switch model.Type {
	case "qwen2": // whatever its files say
		return qwen2Class, nil
	case "mistral", "mixtral": // likewise
		return "", nil
	case "qwen2_moe", "qwen3", "qwen3_moe":
		if class == "" {
			return qwen2Class, nil
		}
	}
	return class, nil
}

// classTokens are the tokens that classes of tokenizers have for roles that no file gives one.
var classTokens = map[string]map[string]string{
	"GPT2Tokenizer":  {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>"},
	qwen2Class:       {"eos": "<|endoftext|>", "unk": "<|endoftext|>", "pad": "<|endoftext|>"},
	"GemmaTokenizer": {"bos": "<bos>", "eos": "<eos>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>"},
	"BertTokenizer":  {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"},
}

// readSpecialTokens collects them as PreTrainedTokenizerBase does. special_tokens_map.json goes before
// tokenizer_config.json, if that has no added_tokens_decoder.
func (f *sources) readSpecialTokens() (*specialTokens, error) {
	const extra, additional, specific = "extra_special_tokens", "additional_special_tokens", "model_specific_special_tokens"
	config, err := readOrdered[jsontext.Value](f.folder, configFile)
	if err != nil {
		return nil, err
	}
	var byRole members      // the keys of tokenizers' own roles, and extra ones
	var own, mapped members // tokens for roles that only some models have: of the configuration, of the map
	for _, key := range config.keys {
		switch value := config.values[key]; {
		case isRole(key) || key == extra:
			byRole.set(key, value)
		case isOwnRole(key) && isToken(value):
			own.set(key, value)
		}
	}
	if list, ok := config.values[additional]; ok && !config.has(extra) {
		byRole.set(extra, list)
	}
	if err := own.update(byRole.values[extra]); err != nil {
		return nil, err
	}
	if len(own.keys) == 0 {
		if err := own.update(config.values[specific]); err != nil {
			return nil, err
		}
	}
	s := &specialTokens{decoder: config.has("added_tokens_decoder"), names: make(map[string]bool), early: make(map[string]bool), byClass: make(map[string]bool)}
	var late []addedToken
	if !s.decoder {
		file, err := readOrdered[jsontext.Value](f.folder, specialMapFile)
		if err != nil {
			return nil, err
		}
		for _, key := range file.keys {
			switch value := file.values[key]; {
			case key == extra && value.Kind() == '{':
				if err := own.update(value); err != nil {
					return nil, err
				}
			case key == extra:
				s.extra = readTokens(value)
			case isRole(key):
				byRole.set(key, value)
			case isOwnRole(key):
				mapped.set(key, value)
			}
		}
		if !byRole.has(extra) && !file.has(extra) {
			late = readTokens(file.values[additional])
		}
	}
	if s.class, err = f.tokenizerClass(config.values["tokenizer_class"]); err != nil {
		return nil, err
	}
	for role, text := range classTokens[s.class] {
		if !byRole.has(role + "_token") {
			byRole.set(role+"_token", jsontext.Value(strconv.Quote(text)))
			s.byClass[text] = true
		}
	}
	s.extra = slices.Concat(readTokens(byRole.values[extra]), s.extra)
	for _, role := range roles {
		s.name(byRole.values[role+"_token"])
	}
	for _, t := range slices.Concat(s.named, s.extra) {
		s.early[t.Content] = true
	}
	s.extra = append(s.extra, late...)
	for _, m := range []members{mapped, own} {
		for _, key := range m.keys {
			s.name(m.values[key])
		}
	}
	return s, nil
}

// name notes the token that a role has.
func (s *specialTokens) name(value jsontext.Value) {
	if t, ok := readToken(value); ok {
		t.Special = true
		s.named = append(s.named, t)
		s.names[t.Content] = true
	}
}

// isRole reports whether a key names a token for a role that transformers knows.
func isRole(key string) bool {
	role, ok := strings.CutSuffix(key, "_token")
	return ok && slices.Contains(roles, role)
}

// isOwnRole reports whether a key names a token for a role that only some models have.
func isOwnRole(key string) bool { return strings.HasSuffix(key, "_token") && !isRole(key) }

// isToken reports whether a value of tokenizer_config.json is a token: a text, or an object that says so.
func isToken(value jsontext.Value) bool {
	var object struct {
		Type string `json:"__type"`
	}
	return value.Kind() == '"' || value.Kind() == '{' && pyjson.Unmarshal(value, &object) == nil && object.Type == "AddedToken"
}

// readToken reads a special token that stands as a text or as an object.
func readToken(value jsontext.Value) (addedToken, bool) {
	t := addedToken{Special: true}
	var err error
	switch value.Kind() {
	case '"':
		err = pyjson.Unmarshal(value, &t.Content)
	case '{':
		t.Special = !isToken(value) // which says itself what it is
		err = pyjson.Unmarshal(value, &t)
	}
	t.ID = unnumbered
	return t, err == nil && t.Content != ""
}

// readTokens reads a list of special tokens.
func readTokens(value jsontext.Value) []addedToken {
	var list []jsontext.Value
	if value.Kind() != '[' || pyjson.Unmarshal(value, &list) != nil {
		return nil
	}
	var tokens []addedToken
	for _, item := range list {
		if t, ok := readToken(item); ok {
			tokens = append(tokens, t)
		}
	}
	return tokens
}
