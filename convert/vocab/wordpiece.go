package vocab

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
)

// wordPieces is tokenizer.json's model of type WordPiece.
type wordPieces struct {
	Vocab   map[string]int64 `json:"vocab"`
	Unknown string           `json:"unk_token"`
	Prefix  *string          `json:"continuing_subword_prefix"`
	MaxWord *int64           `json:"max_input_chars_per_word"`
}

// What all vocabularies of WordPiece have: GGUF has no place for anything else.
const (
	partPrefix = "##" // of tokens that go on with a word
	maxWord    = 100  // characters, from which on a word is unknown
)

// wordPieceNames are the values of tokenizer.ggml.pre that convert_hf_to_gguf.py writes for
// vocabularies of WordPiece. They mean the same; the first is that of bert-base-uncased.
var wordPieceNames = []string{"bert-bge", "bert-bge-large", "jina-v2-en"}

// loadFastWordPiece adds a vocabulary of WordPiece that is in tokenizer.json.
func (f *sources) loadFastWordPiece(kvs *pairs, opts Options) error {
	var model wordPieces
	if err := pyjson.Unmarshal(f.fast.Model, &model); err != nil {
		return fmt.Errorf("%w: model: %w", gguf.ErrCorrupt, err)
	}
	switch {
	case model.Prefix != nil && *model.Prefix != partPrefix:
		return unsupported("WordPiece with continuing_subword_prefix %.80q", *model.Prefix)
	case model.MaxWord != nil && *model.MaxWord != maxWord:
		return unsupported("WordPiece with max_input_chars_per_word %d", *model.MaxWord)
	}
	if err := f.fast.Normalizer.checkBert(); err != nil {
		return err
	}
	if p := f.fast.PreTokenizer.only(); p == nil || p.Type != "BertPreTokenizer" {
		return unsupported("WordPiece without the pre_tokenizer BertPreTokenizer")
	}
	if id, ok := model.Vocab[model.Unknown]; ok {
		f.unknown = id
	}
	opts.Rules.setTokenTypes(kvs)
	return f.loadWordPiece(kvs, model.Vocab, opts)
}

// checkBert returns an error for a normalizer that does not do what a GGUF with WordPiece
// says: BERT's, which may or may not take capitals and accents away.
func (n *normalizer) checkBert() error {
	for n != nil && n.Type == "Sequence" && len(n.Normalizers) == 1 {
		n = n.Normalizers[0]
	}
	isFalse := func(b *bool) bool { return b != nil && !*b }
	switch {
	case n == nil || n.Type != "BertNormalizer":
		return unsupported("WordPiece without the normalizer BertNormalizer")
	case isFalse(n.CleanText):
		return unsupported("WordPiece with clean_text false")
	case isFalse(n.HandleChineseChars):
		return unsupported("WordPiece with handle_chinese_chars false")
	}
	return nil
}

// only returns the one pre-tokenizer that a sequence is of, or the pre-tokenizer itself.
func (p *preTokenizer) only() *preTokenizer {
	for p != nil && p.Type == "Sequence" && len(p.PreTokenizers) == 1 {
		p = p.PreTokenizers[0]
	}
	return p
}

// loadWordPieceText adds a vocabulary that is in vocab.txt alone, a token in each line.
func (f *sources) loadWordPieceText(kvs *pairs, opts Options) error {
	for key, want := range map[string]bool{"tokenize_chinese_chars": true, "do_basic_tokenize": true} {
		if set, ok := f.config[key].(bool); ok && set != want {
			return unsupported("WordPiece with %s %t", key, set)
		}
	}
	data, err := sidecar.Read(f.folder, wordsFile)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.ReplaceAll(strings.TrimSuffix(string(data), "\n"), "\r\n", "\n"), "\n")
	if len(lines) > maxPieces {
		return fmt.Errorf("%w: %s: %d tokens", gguf.ErrCorrupt, f.path(wordsFile), len(lines))
	}
	ids := make(map[string]int64, len(lines))
	for id, text := range lines {
		ids[text] = int64(id)
	}
	if err := f.loadWordPiece(kvs, ids, opts); err != nil {
		return fmt.Errorf("%s: %w", f.path(wordsFile), err)
	}
	if id, ok := ids["[UNK]"]; ok {
		f.unknown = id
	}
	// What tokenizer.json would say. convert_hf_to_gguf.py does not look at these keys.
	for key, name := range map[string]string{"do_lower_case": "lowercase", "strip_accents": "strip_accents"} {
		if set, ok := f.config[key].(bool); ok {
			f.flags.set(name, set)
		}
	}
	return nil
}

// loadWordPiece adds a vocabulary of WordPiece (BertModel.set_vocab in llama.cpp's
// conversion/bert.py): tokens that begin a word have ▁ in front, the others nothing.
func (f *sources) loadWordPiece(kvs *pairs, ids map[string]int64, opts Options) error {
	pre := opts.Pre
	switch {
	case pre == "":
		pre = wordPieceNames[0]
	case !slices.Contains(wordPieceNames, pre):
		return unsupported("a vocabulary of WordPiece as %.80q (names: %s)", pre, strings.Join(wordPieceNames, ", "))
	}
	t, err := tokensOf(ids, int(opts.Size))
	if err != nil {
		return err
	}
	if err := f.addAll(t, ids, 0); err != nil {
		return err
	}
	for id, text := range t.texts {
		if t.types[id] == int32(gguf.TokenControl) {
			continue
		}
		if part, ok := strings.CutPrefix(text, partPrefix); ok {
			t.texts[id] = part
		} else {
			t.texts[id] = space + text
		}
	}
	kvs.set("tokenizer.ggml.model", "bert")
	kvs.set("tokenizer.ggml.pre", pre)
	kvs.set("tokenizer.ggml.tokens", t.texts)
	kvs.set("tokenizer.ggml.token_type", t.types)
	return nil
}

// wordPiece makes a tokenizer.json of WordPiece.
func (r *restorer) wordPiece() error {
	r.tokens.texts = slices.Clone(r.tokens.texts)
	for id, text := range r.tokens.texts {
		if r.isType(id, gguf.TokenControl) || r.isType(id, gguf.TokenUnknown) {
			continue
		}
		if word, ok := strings.CutPrefix(text, space); ok {
			r.tokens.texts[id] = word
		} else {
			r.tokens.texts[id] = partPrefix + text
		}
	}
	var unknown any
	if id, ok := r.byRole.values["unk"]; ok {
		unknown = r.tokens.texts[id]
	}
	// A class token and a separator are what begins and ends a text, unless something else is said to.
	if bos, ok := r.config["bos_token"].(string); ok {
		delete(r.config, "bos_token")
		r.config["cls_token"] = bos
	}
	if r.config["eos_token"] == r.config["sep_token"] {
		delete(r.config, "eos_token")
	}
	normalizer := object{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": nil}
	for _, name := range []string{"lowercase", "strip_accents"} {
		if set, err := gguf.Value[bool](r.meta, "tokenizer.ggml.normalizer."+name); err == nil {
			normalizer[name] = set
		}
	}
	r.config["tokenizer_class"] = fastClass
	return r.write(fastFile, object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": r.addedTokens(), "normalizer": normalizer,
		"pre_tokenizer": object{"type": "BertPreTokenizer"}, "post_processor": r.postProcessor(), "decoder": object{"type": "WordPiece", "prefix": partPrefix, "cleanup": true},
		"model": object{
			"type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": partPrefix, "max_input_chars_per_word": maxWord, "vocab": r.vocabulary(),
		},
	})
}
