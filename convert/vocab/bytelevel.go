package vocab

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
)

// bytePairs is tokenizer.json's model of type BPE.
type bytePairs struct {
	Type         string           `json:"type"`
	Vocab        map[string]int64 `json:"vocab"`
	Merges       mergeList        `json:"merges"`
	ByteFallback bool             `json:"byte_fallback"`
	IgnoreMerges bool             `json:"ignore_merges"`
	Prefix       string           `json:"continuing_subword_prefix"`
	Suffix       string           `json:"end_of_word_suffix"`
}

// mergeList holds merges as GGUF does: two tokens with a space between them.
type mergeList []string

// UnmarshalJSON reads a list of such texts, or of lists of two tokens.
func (m *mergeList) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, (*[]string)(m)) == nil {
		return nil
	}
	var pairs [][]string
	if err := json.Unmarshal(data, &pairs); err != nil {
		return err
	}
	*m = make(mergeList, len(pairs))
	for i, pair := range pairs {
		if len(pair) != 2 {
			return fmt.Errorf("merge %d is of %d tokens", i, len(pair))
		}
		// A space is spelled Ġ, as everywhere in byte-level vocabularies.
		(*m)[i] = strings.ReplaceAll(pair[0], " ", "Ġ") + " " + strings.ReplaceAll(pair[1], " ", "Ġ")
	}
	return nil
}

// loadByteLevel returns the pairs from tokenizer.ggml.model to the merges, for a
// vocabulary that tokenizer.json alone describes
// (TextModel._set_vocab_gpt2 in llama.cpp's conversion/base.py).
func loadByteLevel(fast *tokenizerJSON, size int, config tokenizerConfig) ([]gguf.KV, error) {
	unsupported := func(format string, args ...any) ([]gguf.KV, error) {
		return nil, fmt.Errorf("%w: "+format, append([]any{gguf.ErrUnsupported}, args...)...)
	}
	var model bytePairs
	if err := json.Unmarshal(fast.Model, &model); err != nil {
		return nil, fmt.Errorf("%w: model: %w", gguf.ErrCorrupt, err)
	}
	switch {
	case model.Type != "BPE":
		return unsupported("a vocabulary of type %q", model.Type)
	case model.ByteFallback:
		return unsupported("a SentencePiece vocabulary without the original model's tokenizer.model")
	case model.Prefix != "" || model.Suffix != "":
		return unsupported("tokens with a continuing_subword_prefix or an end_of_word_suffix")
	}
	if name := fast.Normalizer.unknown(); name != "" {
		return unsupported("normalizer %q", name)
	}
	pre, err := fast.PreTokenizer.name(model.IgnoreMerges)
	if err != nil {
		return nil, err
	}
	t, err := byteTokens(&model, fast, size, config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", gguf.ErrCorrupt, err)
	}
	kvs := []gguf.KV{
		{Key: "tokenizer.ggml.model", Value: "gpt2"},
		{Key: "tokenizer.ggml.pre", Value: pre},
		{Key: "tokenizer.ggml.tokens", Value: t.texts},
		{Key: "tokenizer.ggml.token_type", Value: t.types},
	}
	if len(model.Merges) > 0 {
		kvs = append(kvs, gguf.KV{Key: "tokenizer.ggml.merges", Value: []string(model.Merges)})
	}
	return kvs, nil
}

// byteTokens returns the tokens of the model and those that were added, as
// transformers counts them.
func byteTokens(model *bytePairs, fast *tokenizerJSON, size int, config tokenizerConfig) (*tokens, error) {
	t := newTokens(size)
	for text, id := range model.Vocab {
		if id < 0 || id >= int64(size) {
			return nil, fmt.Errorf("token %q has id %d, there are %d embeddings", text, id, size)
		}
		if other := t.texts[id]; t.types[id] != int32(gguf.TokenUnused) {
			return nil, fmt.Errorf("tokens %q and %q have both id %d", min(text, other), max(text, other), id)
		}
		t.set(int(id), text, 0, gguf.TokenNormal)
	}
	added, err := addedTokens(model, fast, config)
	if err != nil {
		return nil, err
	}
	for _, a := range added {
		if a.ID >= int64(size) {
			return nil, fmt.Errorf("token %q has id %d, there are %d embeddings", a.Content, a.ID, size)
		}
		t.add(a, 0)
	}
	return t, nil
}

// addedTokens returns the added tokens of tokenizer.json, what
// tokenizer_config.json has beside them or says of them, and the special tokens that
// it names (TokenizersBackend in transformers 5).
func addedTokens(model *bytePairs, fast *tokenizerJSON, config tokenizerConfig) ([]addedToken, error) {
	decoder, err := config.addedTokens()
	if err != nil {
		return nil, err
	}
	var list []addedToken
	next := int64(len(model.Vocab)) // id of the next token that is new
	for _, a := range slices.Concat(fast.AddedTokens, decoder, config.namedTokens()) {
		at := slices.IndexFunc(list, func(b addedToken) bool { return a.Content == b.Content })
		if at < 0 {
			id, known := model.Vocab[a.Content]
			if !known {
				id = next
				next++
			}
			at = len(list)
			list = append(list, addedToken{ID: id, Content: a.Content, Special: a.Special})
		}
		switch {
		case a.ID == unnumbered:
			// The flag is taken where the name was looked up: among the tokens of
			// tokenizer_config.json if it lists any.
			if decoder == nil || slices.ContainsFunc(decoder, func(b addedToken) bool { return a.Content == b.Content }) {
				list[at].Special = true
			}
		case a.ID != list[at].ID:
			return nil, fmt.Errorf("added token %q has id %d and comes as number %d", a.Content, a.ID, list[at].ID)
		default:
			list[at].Special = a.Special
		}
	}
	return list, nil
}

// preTokenizer is a pre_tokenizer of tokenizer.json.
type preTokenizer struct {
	Type          string          `json:"type"`
	PreTokenizers []*preTokenizer `json:"pretokenizers"` // Sequence
	Pattern       struct {
		Regex string
	} `json:"pattern"` // Split, as the next two
	Behavior         string `json:"behavior"`
	Invert           bool   `json:"invert"`
	IndividualDigits bool   `json:"individual_digits"` // Digits
	AddPrefixSpace   bool   `json:"add_prefix_space"`  // ByteLevel, as the next
	UseRegex         *bool  `json:"use_regex"`
}

// The expression that begins in cl100k_base, of OpenAI, and what Llama 3 and Qwen
// made of it.
const (
	llama3Words = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen2Words  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// deepSeekLetters are the letters that have cases.
const deepSeekLetters = "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376" +
	"\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f" +
	"\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77" +
	"\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d" +
	"\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4" +
	"\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139" +
	"\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d" +
	"\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a" +
	"\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2" +
	"\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"

// preTokenizers gives tokenizer.ggml.pre by the steps of a pre_tokenizer, see
// steps, and by ignore_merges, which llama.cpp takes from the name.
// convert_hf_to_gguf.py knows tokenizers by a hash of the ids that they give to a
// text and so tells vocabularies apart that are cut in the same way; names here are those of
// the first that were.
var preTokenizers = []struct {
	pre          string
	ignoreMerges bool
	steps        []string
}{
	{"gpt-2", false, []string{"bytes of words"}},
	{"llama-bpe", true, []string{llama3Words, "bytes"}},
	{"qwen2", false, []string{qwen2Words, "bytes"}},
	{"deepseek-llm", false, []string{
		"[\r\n]", `\s?[` + deepSeekLetters + `]+`, `\s?[!-/:-~！-／：-～‘-‟　-。]+`, `\s+$`,
		"[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", "digits", "bytes",
	}},
}

// name returns tokenizer.ggml.pre.
func (p *preTokenizer) name(ignoreMerges bool) (string, error) {
	steps, err := p.steps()
	if err != nil {
		return "", err
	}
	for _, known := range preTokenizers {
		if slices.Equal(known.steps, steps) && known.ignoreMerges == ignoreMerges {
			return known.pre, nil
		}
	}
	return "", fmt.Errorf("%w: pre_tokenizer %q with ignore_merges %t is not that of GPT-2, Llama 3, Qwen or DeepSeek LLM", gguf.ErrUnsupported, steps, ignoreMerges)
}

// steps returns what the pre-tokenizer does, one after the other: the expression
// whose matches a Split isolates, "digits" or "bytes", "bytes of words" if that step
// also cuts words as GPT-2 does.
func (p *preTokenizer) steps() ([]string, error) {
	if p == nil {
		return nil, fmt.Errorf("%w: no pre_tokenizer", gguf.ErrUnsupported)
	}
	switch {
	case p.Type == "Sequence":
		var steps []string
		for _, part := range p.PreTokenizers {
			more, err := part.steps()
			if err != nil {
				return nil, err
			}
			steps = append(steps, more...)
		}
		return steps, nil
	case p.Type == "Split" && p.Pattern.Regex != "" && p.Behavior == "Isolated" && !p.Invert:
		return []string{p.Pattern.Regex}, nil
	case p.Type == "Digits" && p.IndividualDigits:
		return []string{"digits"}, nil
	case p.Type == "ByteLevel" && !p.AddPrefixSpace && p.UseRegex != nil && !*p.UseRegex:
		return []string{"bytes"}, nil
	case p.Type == "ByteLevel" && !p.AddPrefixSpace:
		return []string{"bytes of words"}, nil
	}
	return nil, fmt.Errorf("%w: pre_tokenizer of type %s", gguf.ErrUnsupported, p.Type)
}
