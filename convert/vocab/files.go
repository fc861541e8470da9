package vocab

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// sources are a tokenizer's JSON files.
type sources struct {
	folder         files.Folder
	fast           tokenizerJSON // empty if there is none
	hasFast        bool
	config         map[string]any // tokenizer_config.json, empty if there is none
	addPrefixSpace *bool          // in it
	warnings       []string
	model          *SentencePiece // of SentencePiece's BPE
	unknown        int64          // the token for what is unknown, of kinds that have one, else unnumbered
	flags          ordered[bool]  // what the normalizer does, as far as GGUF has keys for it
	specialTokens  func() (*specialTokens, error)
	names          func() []string // of the files in the folder
}

const (
	piecesFile     = "tokenizer.model"
	t5File         = "spiece.model"
	fairseqFile    = "sentencepiece.bpe.model"
	fastFile       = "tokenizer.json"
	configFile     = "tokenizer_config.json"
	addedFile      = "added_tokens.json"
	specialMapFile = "special_tokens_map.json"
	tekkenFile     = "tekken.json"
	wordsFile      = "vocab.txt"
)

func openFiles(folder files.Folder) (*sources, error) {
	f := &sources{folder: folder, unknown: unnumbered}
	f.specialTokens = sync.OnceValues(f.readSpecialTokens)
	f.names = sync.OnceValue(func() []string {
		names, _ := folder.List(".") // whose error opening a file says
		return names
	})
	err := sidecar.ReadJSON(folder, fastFile, &f.fast)
	f.hasFast = err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := sidecar.ReadJSON(folder, configFile, &f.config); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if v, ok := f.config["add_prefix_space"].(bool); ok {
		f.addPrefixSpace = &v
	}
	return f, nil
}

// isByteLevel reports whether a decoder reads the characters of tokens as bytes.
func (d *decoder) isByteLevel() bool {
	return d != nil && (d.Type == "ByteLevel" || slices.ContainsFunc(d.Decoders, (*decoder).isByteLevel))
}

func (f *sources) path(name string) string { return f.folder.Path(name) }

// tokenizerJSON is tokenizer.json.
type tokenizerJSON struct {
	AddedTokens   []addedToken   `json:"added_tokens"`
	PostProcessor *postProcessor `json:"post_processor"`
	Normalizer    *normalizer    `json:"normalizer"`
	PreTokenizer  *preTokenizer  `json:"pre_tokenizer"`
	Decoder       *decoder       `json:"decoder"`
	Model         jsontext.Value `json:"model"`
}

// decoder turns tokens into text.
type decoder struct {
	Type     string     `json:"type"`
	Decoders []*decoder `json:"decoders"`
}

// addedToken is a token that is found in text before the rest is cut up.
type addedToken struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	Special    bool   `json:"special"`
	Normalized bool   `json:"normalized"` // it is looked for in normalized text
}

// tokenText returns the text of a token that stands as a text or as an object.
func tokenText(value any) (text string, ok bool) {
	if object, isObject := value.(map[string]any); isObject {
		value = object["content"]
	}
	text, ok = value.(string)
	return text, ok
}

// addedTokensJSON returns the tokens of added_tokens.json, in the file's order.
func (f *sources) addedTokensJSON() ([]addedToken, error) {
	ids, err := readOrdered[int64](f.folder, addedFile)
	if err != nil {
		return nil, err
	}
	var list []addedToken
	for _, text := range ids.keys {
		id := ids.values[text]
		if id < 0 {
			return nil, fmt.Errorf("%w: %s: token %.80q has id %d", gguf.ErrCorrupt, f.path(addedFile), text, id)
		}
		list = append(list, addedToken{ID: id, Content: text})
	}
	return list, nil
}

// addedTokensDecoder returns added_tokens_decoder of tokenizer_config.json, in the file's order.
func (f *sources) addedTokensDecoder() ([]addedToken, error) {
	path := f.path(configFile)
	var config struct {
		Tokens ordered[struct {
			Content    *string `json:"content"`
			Special    bool    `json:"special"`
			Normalized *bool   `json:"normalized"`
		}] `json:"added_tokens_decoder"`
	}
	if err := sidecar.ReadJSON(f.folder, configFile, &config); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var list []addedToken
	for _, key := range config.Tokens.keys {
		t := config.Tokens.values[key]
		id, err := strconv.ParseInt(key, 10, 64)
		switch {
		case err != nil || id < 0:
			return nil, fmt.Errorf("%w: %s: added_tokens_decoder: id %.80q", gguf.ErrCorrupt, path, key)
		case t.Content == nil:
			return nil, fmt.Errorf("%w: %s: added_tokens_decoder: token %d has no content", gguf.ErrCorrupt, path, id)
		}
		normalized := !t.Special
		if t.Normalized != nil {
			normalized = *t.Normalized
		}
		list = append(list, addedToken{id, *t.Content, t.Special, normalized})
	}
	return list, nil
}

// members are those of a JSON object.
type members = ordered[jsontext.Value]

// update sets the members of a value that is an object; others have none.
func (o *ordered[V]) update(object jsontext.Value) error {
	if object.Kind() != '{' {
		return nil
	}
	var more ordered[V]
	if err := pyjson.Unmarshal(object, &more); err != nil {
		return err
	}
	for _, key := range more.keys {
		o.set(key, more.values[key])
	}
	return nil
}

// readOrdered reads an object of a file, which is empty if there is no file.
func readOrdered[V any](folder files.Folder, name string) (o ordered[V], err error) {
	err = sidecar.ReadJSON(folder, name, &o)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return o, err
}

// ordered is a map that keeps the order of insertion, as Python's do.
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

// UnmarshalJSONFrom reads an object.
func (o *ordered[V]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	start, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if start.Kind() != '{' {
		return errors.New("not an object, which is needed here")
	}
	for dec.PeekKind() != '}' {
		key, err := dec.ReadToken()
		if err != nil {
			return err
		}
		name := key.String() // which the next read would change
		var v V
		if err := json.UnmarshalDecode(dec, &v); err != nil {
			return err
		}
		o.set(name, v)
	}
	_, err = dec.ReadToken()
	return err
}
