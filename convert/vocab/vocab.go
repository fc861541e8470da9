package vocab

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// Scores of tokens that do not come from the SentencePiece model.
const (
	scoreAbsent = -10000
	scoreAdded  = -1000
)

// Options says what a vocabulary is for.
type Options struct {
	// Size is vocab_size of config.json, the number of embeddings: the vocabulary
	// is filled up with unused tokens to that size. Tokens beyond it are left out of
	// the vocabulary of a tokenizer.model and an error in others.
	Size int64
	// Rules are those of the model's class.
	Rules Rules
	// Pre is the value of tokenizer.ggml.pre for a byte-level vocabulary, instead of
	// what its pre_tokenizer is recognized as. See CheckPre.
	Pre string
}

// Rules are what convert_hf_to_gguf.py adds to a vocabulary for models of some classes.
type Rules struct {
	// Llama adds what LlamaModel.set_vocab does: whether a text gets a space in front,
	// if tokenizer_config.json says so, and what models have that are known by nothing
	// but the size of their vocabulary.
	Llama bool
	// NoSpacePrefix says that no text gets a space in front.
	NoSpacePrefix bool
	// NoSpacePrefixOfFast is NoSpacePrefix where the vocabulary is in tokenizer.json alone.
	NoSpacePrefixOfFast bool
	// SpacePrefix adds whether a text gets a space in front after all the rest, if
	// tokenizer_config.json says so.
	SpacePrefix bool
	// SpacePrefixFirst is SpacePrefix before the roles of tokens.
	SpacePrefixFirst bool
	// ChatEnd is the text of the special token that ends texts, if added_tokens_decoder has it, whatever other files say.
	ChatEnd string
	// Gemma4 has SentencePiece's BPE written as tokens and merges, with BOS in front of all
	// texts (Gemma4Model.set_vocab).
	Gemma4 bool
	// Camembert has the ids of sentencepiece.bpe.model be CamemBERT's instead of XLM-RoBERTa's.
	Camembert bool
	// TokenTypes is the number of kinds of texts that an encoder tells apart
	// (type_vocab_size), 0 if its class does not write it.
	TokenTypes uint32
	// Added are set before the vocabulary, whose files may say otherwise.
	Added []RoleFlag
	// Roles are of added tokens, unless the files give the roles to others.
	Roles []RoleText
	// Pre has the names that convert_hf_to_gguf.py, by a hash of ids, gives the pre-tokenizers of the
	// published models, by the first name of what cuts alike (package pretoken).
	Pre map[string]string
	// IDs are of tokens that all models have in these roles, whatever their files say.
	IDs []RoleID
}

// RoleID is the id of the token in a role: eot, pad, unk and the like.
type RoleID struct {
	Role string
	ID   uint32
}

// RoleText is the text of the token in a role.
type RoleText struct {
	Role, Text string
}

// RoleFlag says whether the token in a role, bos, eos or sep, is added to a text.
type RoleFlag struct {
	Role string
	Add  bool
}

// Vocabulary is the vocabulary of a checkpoint.
type Vocabulary struct {
	// Metadata are the tokenizer.* pairs, in order.
	Metadata []gguf.KV
	// NoBOS says that bos_token in tokenizer_config.json is null: a text begins with no
	// token. The metadata may have one nevertheless, which config.json names, as of Qwen's models.
	NoBOS bool
	// Warnings say what is only nearly as in the checkpoint.
	Warnings []string
}

// Load reads the vocabulary of the checkpoint in dir.
//
// The error wraps gguf.ErrCorrupt if a file contradicts itself and
// gguf.ErrUnsupported if the vocabulary is of another kind.
func Load(dir string, opts Options) (*Vocabulary, error) {
	return LoadFrom(files.Directory(dir), opts)
}

// LoadFrom reads the vocabulary of a checkpoint in a folder, as Load does.
func LoadFrom(folder files.Folder, opts Options) (*Vocabulary, error) {
	if opts.Size < 1 || opts.Size > maxPieces {
		return nil, fmt.Errorf("%w: %s: a vocabulary of %d tokens", gguf.ErrCorrupt, folder.Path("."), opts.Size)
	}
	if err := CheckPre(opts.Pre); err != nil {
		return nil, err
	}
	f, err := openFiles(folder)
	if err != nil {
		return nil, err
	}
	var kvs pairs
	if f.addPrefixSpace != nil && opts.Rules.Llama {
		kvs.set(spacePrefixKey, *f.addPrefixSpace)
	}
	for _, r := range opts.Rules.Added {
		kvs.set(addKeys[r.Role], r.Add)
	}
	kind, err := f.loadVocabulary(&kvs, opts)
	if err != nil {
		return nil, err
	}
	limit := opts.Size
	if kind == byteLevel || kind == onCharacters {
		limit = noLimit // as gguf-py does
	}
	if f.addPrefixSpace != nil && opts.Rules.SpacePrefixFirst {
		kvs.set(spacePrefixKey, *f.addPrefixSpace)
	}
	if kind != tekken { // which says it all itself
		if err := f.loadSpecial(&kvs, limit, opts.Rules); err != nil {
			return nil, err
		}
	}
	if unk := idKeys["unk"]; f.unknown != unnumbered && f.unknown != defaultUnknown[kind] && !kvs.has(unk) {
		kvs.set(unk, uint32(f.unknown)) // convert_hf_to_gguf.py leaves llama.cpp with its default
	}
	if opts.Rules.Llama {
		if err := f.loadLlamaSpecial(&kvs, opts.Size); err != nil {
			return nil, err
		}
	}
	if kind == byteLevel {
		opts.Rules.setTokenTypes(&kvs)
	}
	for _, r := range opts.Rules.IDs {
		kvs.set(idKeys[r.Role], r.ID)
	}
	if f.addPrefixSpace != nil && opts.Rules.SpacePrefix {
		kvs.set(spacePrefixKey, *f.addPrefixSpace)
	}
	if opts.Rules.NoSpacePrefix || opts.Rules.Gemma4 || opts.Rules.NoSpacePrefixOfFast && !f.exists(piecesFile) {
		kvs.set(spacePrefixKey, false)
	}
	if opts.Rules.Gemma4 {
		kvs.set(addKeys["bos"], true)
	}
	f.warnUnsaid(kvs)
	bos, given := f.config["bos_token"]
	return &Vocabulary{Metadata: kvs, NoBOS: given && bos == nil, Warnings: f.warnings}, nil
}

const spacePrefixKey = "tokenizer.ggml.add_space_prefix"

// pairs are metadata in the order of gguf-py's dictionaries: a pair that is set again keeps its place.
type pairs []gguf.KV

func (p *pairs) set(key string, value any) {
	for i := range *p {
		if (*p)[i].Key == key {
			(*p)[i].Value = value
			return
		}
	}
	*p = append(*p, gguf.KV{Key: key, Value: value})
}

func (p pairs) has(key string) bool {
	return slices.ContainsFunc(p, func(kv gguf.KV) bool { return kv.Key == key })
}

// kind is a kind of vocabularies.
type kind int

const (
	sentencePiece kind = iota
	byteLevel
	unigram
	wordPiece
	onCharacters
	tekken
)

// defaultUnknown has the ids that llama.cpp takes for the unknown token where the metadata has none.
var defaultUnknown = map[kind]int64{wordPiece: 100, unigram: 2}

// warnUnsaid warns of what SentencePiece's BPE does to a text by its model that the metadata, those of
// convert_hf_to_gguf.py, does not say: the ids of some texts are others then.
func (f *sources) warnUnsaid(kvs pairs) {
	if f.model == nil {
		return
	}
	warn := func(what string) {
		f.warnings = append(f.warnings, fmt.Sprintf("%s: %s, which GGUF cannot say of this kind of vocabulary: ids of such texts may differ", f.path(piecesFile), what))
	}
	if len(f.model.Charsmap) > 0 {
		warn("other characters take the place of some (precompiled_charsmap)")
	}
	if f.model.MergeSpaces {
		warn("spaces around a text and runs of them are left out (remove_extra_whitespaces)")
	}
	if !f.model.AddPrefix && !kvs.has(spacePrefixKey) {
		warn("no space is put in front of a text (add_dummy_prefix), and the model's class does not say so")
	}
}

// setTokenTypes sets how many kinds of texts there are.
func (r Rules) setTokenTypes(kvs *pairs) {
	if r.TokenTypes > 0 {
		kvs.set("tokenizer.ggml.token_type_count", r.TokenTypes)
	}
}

// loadVocabulary adds the pairs from tokenizer.ggml.model on that are the
// vocabulary. A SentencePiece model goes before tokenizer.json.
func (f *sources) loadVocabulary(kvs *pairs, opts Options) (kind, error) {
	switch {
	case opts.Rules.Gemma4 && f.hasFast: // whatever there is beside it
		return f.loadFastFile(kvs, opts)
	case !f.hasFast && f.exists(tekkenFile):
		return tekken, f.loadTekken(kvs, opts)
	}
	if !f.hasFast { // looking for a file can take long
		if file, ok := f.rankFile(); ok && !f.exists(piecesFile) {
			return byteLevel, f.loadRanks(kvs, file, opts)
		}
	}
	model, err := loadPieces(f.folder, piecesFile)
	name := piecesFile
	for _, other := range []string{t5File, fairseqFile} {
		if errors.Is(err, fs.ErrNotExist) {
			if model, err = loadPieces(f.folder, other); err == nil && !model.Unigram {
				err = fmt.Errorf("%s: %w: only those of Unigram have that name", f.path(other), fs.ErrNotExist)
			}
			name = other
		}
	}
	switch {
	case err == nil && name == fairseqFile:
		return unigram, f.loadFairseq(kvs, model, opts)
	case err == nil && model.Unigram:
		return unigram, f.loadUnigram(kvs, model, opts)
	case err == nil:
		f.model = model
		t, err := f.pieceTokens(model.Pieces, int(opts.Size))
		if err != nil {
			return 0, err
		}
		t.writeSentencePiece(kvs)
		return sentencePiece, nil
	case !errors.Is(err, fs.ErrNotExist):
		return 0, err
	case f.hasFast:
		return f.loadFastFile(kvs, opts)
	case f.exists(wordsFile):
		opts.Rules.setTokenTypes(kvs)
		return wordPiece, f.loadWordPieceText(kvs, opts)
	}
	return 0, fmt.Errorf("%s: no tokenizer: %w", f.path("."), fs.ErrNotExist)
}

func (f *sources) exists(name string) bool { return slices.Contains(f.names(), name) }

// loadFastFile adds what tokenizer.json describes.
func (f *sources) loadFastFile(kvs *pairs, opts Options) (kind, error) {
	k, err := f.loadFast(kvs, opts)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.path(fastFile), err)
	}
	return k, nil
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

func (t *tokens) writeSentencePiece(kvs *pairs) {
	kvs.set("tokenizer.ggml.model", "llama")
	kvs.set("tokenizer.ggml.pre", "default")
	kvs.set("tokenizer.ggml.tokens", t.texts)
	kvs.set("tokenizer.ggml.scores", t.scores)
	kvs.set("tokenizer.ggml.token_type", t.types)
}

// pieceTokens merges the SentencePiece model with the tokens added later
// (TextModel._create_vocab_sentencepiece in llama.cpp's conversion/base.py).
func (f *sources) pieceTokens(pieces []Piece, size int) (*tokens, error) {
	t := newTokens(size)
	for id, p := range pieces[:min(size, len(pieces))] {
		if p.Type == gguf.TokenUserDefined { // only added tokens are, to convert_hf_to_gguf.py
			p.Type = gguf.TokenNormal
		}
		t.set(id, p.Text, p.Score, p.Type)
	}
	if err := f.addNamed(t); err != nil {
		return nil, err
	}
	decoder, err := f.addedTokensDecoder()
	if err != nil {
		return nil, err
	}
	for _, a := range decoder {
		if a.ID < int64(size) {
			t.add(a, scoreAdded)
		}
	}
	return t, nil
}

// addNamed sets the tokens of added_tokens.json.
func (f *sources) addNamed(t *tokens) error {
	named, err := f.addedTokensJSON()
	for _, a := range named {
		if a.ID < int64(len(t.texts)) {
			t.set(int(a.ID), a.Content, scoreAdded, gguf.TokenUserDefined)
		}
	}
	return err
}

// loadPieces reads a model of SentencePiece.
func loadPieces(folder files.Folder, name string) (*SentencePiece, error) {
	data, err := sidecar.Read(folder, name)
	if err != nil {
		return nil, err
	}
	model, err := ParseSentencePiece(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder.Path(name), err)
	}
	return model, nil
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
