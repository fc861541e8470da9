package vocab

import (
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/gguf"
)

// gemma4Visible are tokens that Gemma 4 writes for those who read its calls of tools: they
// stay in the text (Gemma4Model.set_vocab).
var gemma4Visible = []string{"<|channel>", "<channel|>", "<|tool_call>", "<tool_call|>", "<|tool_response>", "<tool_response|>", `<|"|>`}

// loadGemma4 adds a vocabulary of BPE on characters as Gemma 4's GGUF files have it: tokens
// and merges (Gemma4Model.set_vocab in llama.cpp's conversion/gemma.py, LlamaHfVocab in gguf-py).
func (f *sources) loadGemma4(kvs *pairs, model *bytePairs, size int) error {
	t, err := tokensOf(model.Vocab, size)
	if err != nil {
		return err
	}
	special, err := f.specialTokens()
	if err != nil {
		return err
	}
	if err := f.addAll(t, model.Vocab, scoreAdded); err != nil {
		return err
	}
	base := len(model.Vocab)
	for text, id := range model.Vocab { // added or not
		t.texts[id] = text
		t.types[id] = int32(gguf.TokenNormal)
		if isByteToken(text) {
			t.types[id] = int32(gguf.TokenByte)
		}
	}
	for id, text := range t.texts {
		if t.types[id] == int32(gguf.TokenUnused) {
			continue
		}
		t.scores[id] = scoreAdded
		switch {
		case slices.Contains(gemma4Visible, text):
			t.types[id] = int32(gguf.TokenUserDefined)
		case special.has(text) && t.types[id] != int32(gguf.TokenByte):
			t.types[id] = int32(gguf.TokenControl)
		case id >= base:
			t.types[id] = int32(gguf.TokenUserDefined)
		}
	}
	kvs.set("tokenizer.ggml.model", "gemma4")
	kvs.set("tokenizer.ggml.tokens", t.texts)
	kvs.set("tokenizer.ggml.scores", t.scores)
	kvs.set("tokenizer.ggml.token_type", t.types)
	if len(model.Merges) > 0 {
		kvs.set("tokenizer.ggml.merges", []string(model.Merges))
	}
	return nil
}

// loadCharacters adds such a vocabulary under a name of tokenizer.ggml.pre
// (TextModel._set_vocab_gpt2 in llama.cpp's conversion/base.py).
func (f *sources) loadCharacters(kvs *pairs, model *bytePairs, opts Options) error {
	t, err := tokensOf(model.Vocab, int(opts.Size))
	if err != nil {
		return err
	}
	if err := f.addAll(t, model.Vocab, 0); err != nil {
		return err
	}
	if opts.Pre == pretoken.MMBERT { // ModernBertModel.get_vocab_base
		t.unaddSpaces()
	}
	t.writeMerged(kvs, opts.Pre, model.Merges)
	return nil
}

// unaddSpaces makes ordinary tokens of runs of spaces that were added: they are looked for in text that
// has none left, and never found.
func (t *tokens) unaddSpaces() {
	for id, text := range t.texts {
		if t.types[id] == int32(gguf.TokenUserDefined) && text != "" && strings.Trim(text, " ") == "" {
			t.texts[id], t.types[id] = strings.ReplaceAll(text, " ", space), int32(gguf.TokenNormal)
		}
	}
}

// onCharacters makes a tokenizer.json of BPE on characters.
func (r *restorer) onCharacters() error {
	merges, err := r.listedMerges()
	if err != nil {
		return err
	}
	tokens := r.vocabulary()
	end := len(tokens)
	var special []string // tokens that no role makes special
	for id, text := range r.tokens.texts {
		switch {
		case r.isType(id, gguf.TokenControl) && !r.hasRole(id):
			special = append(special, text)
		case r.isType(id, gguf.TokenUserDefined) && !slices.Contains(gemma4Visible, text): // which is not in the vocabulary
			end = min(end, id)
		}
	}
	if special != nil {
		r.config["extra_special_tokens"] = special
	}
	var unknown any
	if id, ok := r.byRole.values["unk"]; ok {
		unknown = r.tokens.texts[id]
	}
	prefix, err := gguf.Value[bool](r.meta, spacePrefixKey)
	prefix = prefix && err == nil
	normalizer := spellSpaces
	if prefix {
		normalizer = object{"type": "Sequence", "normalizers": []object{{"type": "Prepend", "prepend": space}, spellSpaces}}
	}
	r.config["tokenizer_class"] = fastClass
	return r.write(fastFile, object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": r.addedTokens(), "normalizer": normalizer,
		"pre_tokenizer":  object{"type": "Split", "pattern": object{"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
		"post_processor": r.postProcessor(), "decoder": spacesDecoder(prefix),
		"model": object{
			"type": "BPE", "dropout": nil, "unk_token": unknown, "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": true,
			"byte_fallback": true, "ignore_merges": false, "vocab": tokens[:end], "merges": append([]string{}, merges...),
		},
	})
}
