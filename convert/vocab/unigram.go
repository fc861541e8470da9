package vocab

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/gguf"
)

// unigramSpacing says what a vocabulary of Unigram does to a text before it looks for pieces.
type unigramSpacing struct {
	prefix      bool   // a space is put in front
	mergeSpaces bool   // runs of spaces are one, those around a text none
	charsmap    []byte // precompiled_charsmap: what becomes of characters
	split       bool   // text is cut before each space
}

// loadUnigram adds a vocabulary of Unigram that is in a model of SentencePiece (T5Model.set_vocab in
// llama.cpp's conversion/t5.py). convert_hf_to_gguf.py calls it SentencePiece's BPE in classes that are not
// T5's or RoBERTa's, whose pieces are put together in another way.
func (f *sources) loadUnigram(kvs *pairs, model *SentencePiece, opts Options) error {
	t := newTokens(int(opts.Size))
	for id, p := range model.Pieces[:min(len(t.texts), len(model.Pieces))] {
		if p.Type == gguf.TokenUserDefined { // only added tokens are, to convert_hf_to_gguf.py
			p.Type = gguf.TokenNormal
		}
		t.set(id, p.Text, p.Score, p.Type)
		if p.Type == gguf.TokenUnknown {
			f.unknown = int64(id)
		}
	}
	if err := f.addNamed(t); err != nil {
		return err
	}
	t.writeUnigram(kvs, model.spacing(), opts.Rules)
	return nil
}

// loadFairseq adds a vocabulary of sentencepiece.bpe.model, of which XLM-RoBERTa's has one token more in front, and
// CamemBERT's four (BertModel._xlmroberta_set_vocab in llama.cpp's conversion/bert.py, as transformers' XLMRobertaTokenizer
// and CamembertTokenizer).
func (f *sources) loadFairseq(kvs *pairs, model *SentencePiece, opts Options) error {
	more := 1
	front := []Piece{{"<s>", 0, gguf.TokenControl}, {"<pad>", 0, gguf.TokenControl}, {"</s>", 0, gguf.TokenControl}, {"<unk>", 0, gguf.TokenUnknown}}
	if opts.Rules.Camembert {
		more = 4
		front[0].Text, front[2].Text = "<s>NOTUSED", "</s>NOTUSED"
		front = append(front, Piece{"<unk>NOTUSED", -100, gguf.TokenUnused})
	}
	if size := int64(len(model.Pieces) + more); len(model.Pieces) < len(front)-more || size > opts.Size {
		return fmt.Errorf("%w: %s: %d tokens, there are %d embeddings", gguf.ErrCorrupt, f.path(fairseqFile), size, opts.Size)
	}
	t := newTokens(int(opts.Size) - more)
	for id, p := range model.Pieces {
		t.set(id, p.Text, p.Score, p.Type)
	}
	t.texts, t.scores, t.types = append(make([]string, more), t.texts...), append(make([]float32, more), t.scores...), append(make([]int32, more), t.types...)
	for id, p := range front {
		t.set(id, p.Text, p.Score, p.Type)
	}
	f.unknown = 3
	t.writeUnigram(kvs, model.spacing(), opts.Rules)
	return nil
}

// loadFastUnigram adds a vocabulary of Unigram that is in tokenizer.json (likewise _xlmroberta_set_vocab).
func (f *sources) loadFastUnigram(kvs *pairs, opts Options) error {
	var model struct {
		Unknown      *int64             `json:"unk_id"`
		Vocab        [][]jsontext.Value `json:"vocab"`
		ByteFallback bool               `json:"byte_fallback"`
	}
	if err := pyjson.Unmarshal(f.fast.Model, &model); err != nil {
		return fmt.Errorf("%w: model: %w", gguf.ErrCorrupt, err)
	}
	var s unigramSpacing
	if err := errors.Join(s.normalize(f.fast.Normalizer), s.pretokenize(f.fast.PreTokenizer)); err != nil {
		return err
	}
	if len(model.Vocab) > maxPieces {
		return fmt.Errorf("%w: %d pieces", gguf.ErrCorrupt, len(model.Vocab))
	}
	ids := make(map[string]int64, len(model.Vocab))
	scores := make([]float32, len(model.Vocab))
	for id, entry := range model.Vocab {
		var text string
		var score float64
		if len(entry) != 2 || pyjson.Unmarshal(entry[0], &text) != nil || pyjson.Unmarshal(entry[1], &score) != nil {
			return fmt.Errorf("%w: piece %d is not a text and its score", gguf.ErrCorrupt, id)
		}
		if other, ok := ids[text]; ok {
			return fmt.Errorf("%w: pieces %d and %d are both %.80q", gguf.ErrCorrupt, other, id, text)
		}
		if s.split && s.acrossWords(text) {
			return unsupported("pre_tokenizer Metaspace cuts before every space, and there is a piece %.80q", text)
		}
		ids[text], scores[id] = int64(id), float32(score)
	}
	t, err := tokensOf(ids, int(opts.Size))
	if err != nil {
		return err
	}
	special, err := f.specialTokens()
	if err != nil {
		return err
	}
	added, err := f.addedTokens(ids, len(t.texts))
	if err != nil {
		return err
	}
	for id, score := range scores {
		t.scores[id] = score
		if model.ByteFallback && isByteToken(t.texts[id]) {
			t.types[id] = int32(gguf.TokenByte)
		}
	}
	for _, a := range added {
		if a.ID >= int64(len(t.texts)) {
			return fmt.Errorf("%w: token %.80q has id %d, there are %d embeddings", gguf.ErrCorrupt, a.Content, a.ID, len(t.texts))
		}
		t.texts[a.ID], t.types[a.ID] = a.Content, int32(gguf.TokenUserDefined)
		if a.ID >= int64(len(ids)) {
			t.scores[a.ID] = scoreAdded
		}
		if special.has(a.Content) || a.Special {
			t.types[a.ID] = int32(gguf.TokenControl)
		}
	}
	if model.Unknown != nil {
		if *model.Unknown < 0 || *model.Unknown >= int64(len(ids)) {
			return fmt.Errorf("%w: unk_id %d of %d pieces", gguf.ErrCorrupt, *model.Unknown, len(ids))
		}
		t.types[*model.Unknown] = int32(gguf.TokenUnknown)
		f.unknown = *model.Unknown
	}
	t.writeUnigram(kvs, s, opts.Rules)
	return nil
}

func (m *SentencePiece) spacing() unigramSpacing {
	return unigramSpacing{prefix: m.AddPrefix, mergeSpaces: m.MergeSpaces, charsmap: m.Charsmap}
}

// acrossWords reports whether no text that is cut before each space has a piece.
func (s unigramSpacing) acrossWords(piece string) bool {
	if s.mergeSpaces { // there is no second one
		piece = strings.TrimLeft(piece, space)
	}
	return strings.LastIndex(piece, space) > 0
}

// normalize reads a normalizer, which may do nothing but what SentencePiece does.
func (s *unigramSpacing) normalize(n *normalizer) error {
	for _, step := range n.steps() {
		switch {
		case step.Type == "Precompiled" && s.charsmap == nil && !s.mergeSpaces:
			s.charsmap = step.Charsmap
		case step.Type == "Strip" && step.StripRight: // which comes with the next, and is nothing without it
		case step.Type == "Replace" && step.Pattern.expression() == " {2,}" && (step.Content == space || step.Content == " "):
			s.mergeSpaces = true
		default:
			return unsupported("normalizer %.80s in a vocabulary of Unigram", step.Type)
		}
	}
	return nil
}

// pretokenize reads a pre-tokenizer.
func (s *unigramSpacing) pretokenize(p *preTokenizer) error {
	for _, step := range p.steps() {
		switch {
		case step.Type == "WhitespaceSplit":
			s.mergeSpaces = true
		case step.Type == "Metaspace" && step.Replacement == space:
			s.split = s.split || step.Split == nil || *step.Split
			switch step.PrependScheme {
			case "always", "first":
				s.prefix = true
			case "":
				s.prefix = step.AddPrefixSpace
			case "never":
			default:
				return unsupported("pre_tokenizer Metaspace with prepend_scheme %.80q", step.PrependScheme)
			}
		default:
			return unsupported("pre_tokenizer %.80s in a vocabulary of Unigram", step.Type)
		}
	}
	return nil
}

func (t *tokens) writeUnigram(kvs *pairs, s unigramSpacing, rules Rules) {
	kvs.set("tokenizer.ggml.model", "t5")
	kvs.set("tokenizer.ggml.pre", "default")
	kvs.set("tokenizer.ggml.tokens", t.texts)
	kvs.set("tokenizer.ggml.scores", t.scores)
	kvs.set("tokenizer.ggml.token_type", t.types)
	kvs.set(spacePrefixKey, s.prefix)
	rules.setTokenTypes(kvs)
	kvs.set(mergeSpacesKey, s.mergeSpaces)
	if len(s.charsmap) > 0 {
		kvs.set(charsmapKey, s.charsmap)
	}
}

const (
	mergeSpacesKey = "tokenizer.ggml.remove_extra_whitespaces"
	charsmapKey    = "tokenizer.ggml.precompiled_charsmap"
)

// unigram makes a tokenizer.model of Unigram, and the tokenizer.json that stands for it.
func (r *restorer) unigram() error {
	model := &SentencePiece{Unigram: true}
	var err error
	for key, flag := range map[string]*bool{spacePrefixKey: &model.AddPrefix, mergeSpacesKey: &model.MergeSpaces} {
		if *flag, err = gguf.Value[bool](r.meta, key); err != nil && !errors.Is(err, gguf.ErrNoKey) {
			return err
		}
	}
	if model.Charsmap, err = gguf.Value[[]uint8](r.meta, charsmapKey); err != nil && !errors.Is(err, gguf.ErrNoKey) {
		return err
	}
	unknown, named := r.byRole.values["unk"]
	vocab := make([][]any, len(r.tokens.texts))
	added := make(map[string]int)
	for id, text := range r.tokens.texts {
		vocab[id] = []any{text, r.tokens.scores[id]}
		p := Piece{text, r.tokens.scores[id], gguf.TokenType(r.tokens.types[id])}
		switch p.Type {
		case gguf.TokenUserDefined:
			added[text] = id
		case gguf.TokenUnknown:
			unknown, named = uint32(id), true
		}
		model.Pieces = append(model.Pieces, p)
	}
	if !named {
		return unsupported("a vocabulary of Unigram without a token for what is unknown")
	}
	model.Pieces[unknown].Type = gguf.TokenUnknown
	for n := len(model.Pieces); n > 0 && r.isPadding(n-1); n-- { // converting fills it up
		model.Pieces = model.Pieces[:n-1]
	}
	r.files[piecesFile] = model.marshal()
	if _, err := ParseSentencePiece(r.files[piecesFile]); err != nil {
		return err
	}
	if len(added) > 0 {
		if err := r.write(addedFile, added); err != nil {
			return err
		}
	}
	var normalizer any
	if len(model.Charsmap) > 0 {
		normalizer = object{"type": "Precompiled", "precompiled_charsmap": model.Charsmap}
	}
	scheme := "never"
	if model.AddPrefix {
		scheme = "always"
	}
	split := !slices.ContainsFunc(r.tokens.texts, model.spacing().acrossWords)
	metaspace := object{"type": "Metaspace", "replacement": space, "prepend_scheme": scheme, "split": split}
	preTokenizer := metaspace
	if model.MergeSpaces {
		preTokenizer = object{"type": "Sequence", "pretokenizers": []object{{"type": "WhitespaceSplit"}, metaspace}}
	}
	hasBytes := slices.Contains(r.tokens.types, int32(gguf.TokenByte))
	r.config["tokenizer_class"] = fastClass
	return r.write(fastFile, object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": r.addedTokens(), "normalizer": normalizer, "pre_tokenizer": preTokenizer,
		"post_processor": r.postProcessor(), "decoder": metaspace,
		"model": object{"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": hasBytes},
	})
}
