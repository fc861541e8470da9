package vocab

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/gguf"
)

// Restored is the tokenizer of a GGUF model as a checkpoint has it.
type Restored struct {
	// Files are tokenizer.json, tokenizer_config.json and, of SentencePiece, tokenizer.model.
	Files map[string][]byte
	// Config has the ids of tokens that stand in config.json.
	Config map[string]any
}

// Restore makes the files of a tokenizer of the tokenizer.* pairs of a model: such that Load
// gives the same pairs, and transformers' AutoTokenizer the same ids. The error wraps
// gguf.ErrUnsupported if the vocabulary is of a kind that Load does not read either, and
// gguf.ErrCorrupt if it contradicts itself.
func Restore(meta *gguf.Metadata, rules Rules) (*Restored, error) {
	r := &restorer{meta: meta, config: map[string]any{"clean_up_tokenization_spaces": false}, ids: make(map[string]any), files: make(map[string][]byte)}
	model, err := gguf.Value[string](meta, "tokenizer.ggml.model")
	if err != nil {
		return nil, err
	}
	if r.kind, err = r.kindOf(model); err != nil {
		return nil, err
	}
	if err := r.read(); err != nil {
		return nil, err
	}
	r.roles(slices.Concat(r.added(rules.Roles), rules.IDs))
	if prefix, err := gguf.Value[bool](meta, spacePrefixKey); err == nil && (rules.Llama || rules.SpacePrefix || rules.SpacePrefixFirst) {
		r.config["add_prefix_space"] = prefix
	}
	r.templates()
	switch r.kind {
	case sentencePiece:
		err = r.sentencePiece()
	case unigram:
		err = r.unigram()
	case wordPiece:
		err = r.wordPiece()
	case onCharacters:
		err = r.onCharacters()
	default:
		err = r.byteLevel()
	}
	if err != nil {
		return nil, err
	}
	if err := r.write(configFile, r.config); err != nil {
		return nil, err
	}
	return &Restored{r.files, r.ids}, nil
}

// kindOf returns the kind of a vocabulary by tokenizer.ggml.model.
func (r *restorer) kindOf(model string) (kind, error) {
	switch model {
	case "llama":
		return sentencePiece, nil
	case "t5":
		return unigram, nil
	case "bert":
		return wordPiece, nil
	case "gemma4":
		return onCharacters, nil
	case "gpt2":
		if pre, err := gguf.Value[string](r.meta, "tokenizer.ggml.pre"); err == nil && isOnCharacters(pre) {
			return onCharacters, nil
		}
		return byteLevel, nil
	}
	return 0, unsupported("a vocabulary of the kind %.80q as a checkpoint", model)
}

// restorer makes a tokenizer's files.
type restorer struct {
	meta   *gguf.Metadata
	kind   kind
	tokens tokens
	byRole ordered[uint32]
	add    ordered[bool]
	config map[string]any // tokenizer_config.json
	ids    map[string]any // in config.json
	files  map[string][]byte
}

// object is a part of tokenizer.json.
type object = map[string]any

// read reads the tokens.
func (r *restorer) read() error {
	var err error
	if r.tokens.texts, err = gguf.Value[[]string](r.meta, "tokenizer.ggml.tokens"); err != nil {
		return err
	}
	n := len(r.tokens.texts)
	if r.tokens.types, err = gguf.Value[[]int32](r.meta, "tokenizer.ggml.token_type"); errors.Is(err, gguf.ErrNoKey) {
		r.tokens.types, err = slices.Repeat([]int32{int32(gguf.TokenNormal)}, n), nil
	}
	if err != nil {
		return err
	}
	r.tokens.scores, err = gguf.Value[[]float32](r.meta, "tokenizer.ggml.scores")
	if errors.Is(err, gguf.ErrNoKey) || r.kind == byteLevel { // which has merges, and whole numbers if it was tekken.json's
		r.tokens.scores, err = make([]float32, n), nil
	}
	switch {
	case err != nil:
		return err
	case len(r.tokens.types) != n || len(r.tokens.scores) != n:
		return fmt.Errorf("%w: a vocabulary of %d tokens, %d types and %d scores", gguf.ErrCorrupt, n, len(r.tokens.types), len(r.tokens.scores))
	}
	for id, text := range r.tokens.texts {
		if !utf8.ValidString(text) {
			return unsupported("token %d, %.80q, is not UTF-8, as the files of a tokenizer must be", id, text)
		}
	}
	return nil
}

func (r *restorer) isType(id int, t gguf.TokenType) bool { return r.tokens.types[id] == int32(t) }

// isPadding reports whether a token stands for nothing.
func (r *restorer) isPadding(id int) bool {
	return r.isType(id, gguf.TokenUnused) && r.tokens.texts[id] == "[PAD"+strconv.Itoa(id)+"]"
}

// isAdded reports whether a token is found in text before the rest is cut up. Those with a
// role are, of SentencePiece: there it makes no difference to their type.
func (r *restorer) isAdded(id int) bool {
	return r.isType(id, gguf.TokenControl) || r.isType(id, gguf.TokenUserDefined) || r.isType(id, gguf.TokenUnknown) ||
		r.kind == sentencePiece && r.hasRole(id)
}

func (r *restorer) hasRole(id int) bool {
	return slices.Contains(slices.Collect(maps.Values(r.byRole.values)), uint32(id))
}

// added returns the ids of the tokens that the model's class gives roles.
func (r *restorer) added(roles []RoleText) (ids []RoleID) {
	for _, role := range roles {
		if id := slices.Index(r.tokens.texts, role.Text); id >= 0 {
			ids = append(ids, RoleID{role.Role, uint32(id)})
		}
	}
	return ids
}

// roles reads which tokens have a role, and says so where special finds them in the same
// order: in tokenizer_config.json first, then in config.json. Those that all models of the
// class have come behind these by themselves.
func (r *restorer) roles(always []RoleID) {
	for _, kv := range r.meta.All() {
		for role, key := range idKeys {
			if id, err := r.meta.Uint(kv.Key); kv.Key == key && err == nil && id < uint64(len(r.tokens.texts)) {
				r.byRole.set(role, uint32(id))
			}
		}
		for role, key := range addKeys {
			if add, ok := kv.Value.(bool); ok && kv.Key == key {
				r.add.set(role, add)
			}
		}
	}
	for n := len(r.byRole.keys); n > 0; n-- {
		role := r.byRole.keys[n-1]
		i := slices.Index(always, RoleID{role, r.byRole.values[role]})
		if i < 0 {
			break
		}
		r.byRole.keys, always = r.byRole.keys[:n-1], always[:i]
		delete(r.byRole.values, role)
	}
	last := -1
	for _, role := range r.byRole.keys {
		id := r.byRole.values[role]
		rank := slices.Index(roles, role)
		if rank < 0 { // no tokenizer has the role in its configuration
			continue
		}
		if rank > last && r.isAdded(int(id)) {
			r.config[role+"_token"] = r.tokens.texts[id]
			last = rank
		} else {
			r.ids[role+"_token_id"] = id
		}
	}
	// A token that ends turns is the end to the configuration, if the post-processor has
	// another one that ends texts.
	if turn, ok := r.byRole.values["eot"]; ok && r.add.values["eos"] && r.config["eos_token"] != nil && r.isAdded(int(turn)) {
		r.config["eos_token"] = r.tokens.texts[turn]
	}
	for _, role := range []string{"bos", "eos", "pad"} {
		if id, ok := r.byRole.values[role]; ok {
			r.ids[role+"_token_id"] = id
		} else {
			r.ids[role+"_token_id"] = nil // not what the model's class would take
		}
	}
	if _, ok := r.config["bos_token"]; !ok {
		r.config["bos_token"] = nil // no text begins with it
	}
	for _, role := range r.add.keys {
		r.config["add_"+role+"_token"] = r.add.values[role]
	}
}

// templates adds the chat templates.
func (r *restorer) templates() {
	const key = "tokenizer.chat_template"
	standard, err := gguf.Value[string](r.meta, key)
	names, _ := gguf.Value[[]string](r.meta, "tokenizer.chat_templates")
	if len(names) == 0 {
		if err == nil {
			r.config["chat_template"] = standard
		}
		return
	}
	list := []object{}
	for _, name := range names {
		text, _ := gguf.Value[string](r.meta, key+"."+name)
		list = append(list, object{"name": name, "template": text})
	}
	if err == nil {
		list = append(list, object{"name": "default", "template": standard})
	}
	r.config["chat_template"] = list
}

// byteLevel makes a tokenizer.json of byte-level BPE.
func (r *restorer) byteLevel() error {
	name, err := gguf.Value[string](r.meta, "tokenizer.ggml.pre")
	if err != nil {
		return err
	}
	pre, ok := pretoken.Find(name)
	if !ok {
		return unsupported("pre-tokenizer %.80q as a checkpoint (known: %s)", name, strings.Join(pretoken.Known(), ", "))
	}
	merges, err := gguf.Value[[]string](r.meta, "tokenizer.ggml.merges")
	if err != nil && !errors.Is(err, gguf.ErrNoKey) {
		return err
	}
	for i, merge := range merges {
		if !utf8.ValidString(merge) {
			return unsupported("merge %d, %.80q, is not UTF-8, as the files of a tokenizer must be", i, merge)
		}
	}
	bytesOf := func(regex bool) object {
		return object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": regex}
	}
	splits := func(expressions []string) (steps []object) {
		for _, e := range expressions {
			steps = append(steps, object{"type": "Split", "pattern": object{"Regex": e}, "behavior": "Isolated", "invert": false})
		}
		return steps
	}
	steps := slices.Concat(splits(pre.Expressions), []object{bytesOf(false)}, splits(pre.Spelled))
	var normalizer any
	if r.isComposed() {
		normalizer = nfc
	}
	var processors []object
	if eos, ok := r.add.values["eos"]; ok && r.add.has("bos") && !eos { // which the first of them says of a ByteLevel
		processors = append(processors, bytesOf(false))
	}
	r.config["tokenizer_class"] = fastClass
	listed := object{}
	for id, text := range r.tokens.texts {
		// A token with a role would become special if it were listed.
		if r.isType(id, gguf.TokenControl) || r.isType(id, gguf.TokenUserDefined) && !r.hasRole(id) {
			listed[strconv.Itoa(id)] = r.addedToken(id, text)
		}
	}
	r.config["added_tokens_decoder"] = listed
	return r.write(fastFile, object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": r.addedTokens(), "normalizer": normalizer,
		"pre_tokenizer":  object{"type": "Sequence", "pretokenizers": steps},
		"post_processor": r.postProcessor(processors...), "decoder": bytesOf(true),
		"model": object{
			"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": false,
			"byte_fallback": false, "ignore_merges": pre.IgnoreMerges, "vocab": r.vocabulary(), "merges": append([]string{}, merges...),
		},
	})
}

// listedMerges returns the merges that the metadata lists.
func (r *restorer) listedMerges() ([]string, error) {
	merges, err := gguf.Value[[]string](r.meta, "tokenizer.ggml.merges")
	if err != nil && !errors.Is(err, gguf.ErrNoKey) {
		return nil, err
	}
	for i, merge := range merges {
		if !utf8.ValidString(merge) {
			return nil, unsupported("merge %d, %.80q, is not UTF-8, as the files of a tokenizer must be", i, merge)
		}
	}
	return merges, nil
}

// nfc is the normalizer that composes characters.
var nfc = object{"type": "NFC"}

// isComposed reports whether texts are normalized by it.
func (r *restorer) isComposed() bool {
	composed, err := gguf.Value[bool](r.meta, "tokenizer.ggml.normalizer.nfc")
	return err == nil && composed
}

// fastClass is the class of tokenizers that are what tokenizer.json says.
const fastClass = "PreTrainedTokenizerFast"

// vocabulary returns the tokens with their ids, those with an id of their own among them
// that are found in text before the rest is.
func (r *restorer) vocabulary() vocabulary {
	var v vocabulary
	for id, text := range r.tokens.texts {
		if !r.isType(id, gguf.TokenUnused) {
			v = append(v, token{text, id})
		}
	}
	return v
}

// vocabulary is a JSON object in the order of ids.
type vocabulary []token

type token struct {
	text string
	id   int
}

// MarshalJSON implements json.Marshaler.
func (v vocabulary) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, t := range v {
		if i > 0 {
			b = append(b, ',')
		}
		key, err := json.Marshal(t.text)
		if err != nil {
			return nil, err
		}
		b = append(append(b, key...), ':')
		b = strconv.AppendInt(b, int64(t.id), 10)
	}
	return append(b, '}'), nil
}

// addedTokens returns the tokens that are found in text before the rest is cut up.
func (r *restorer) addedTokens() []object {
	list := []object{}
	for id, text := range r.tokens.texts {
		if r.isAdded(id) {
			t := r.addedToken(id, text)
			t["id"] = id
			list = append(list, t)
		}
	}
	return list
}

func (r *restorer) addedToken(id int, text string) object {
	return object{
		"content": text, "single_word": false, "lstrip": false, "rstrip": false, "special": !r.isType(id, gguf.TokenUserDefined),
		// A decoder of bytes spells tokens unless they are looked for in normalized text.
		"normalized": spelled(text) != text,
	}
}

// postProcessor returns what adds the tokens around a text, after the given ones; nil for
// none.
func (r *restorer) postProcessor(processors ...object) any {
	special := object{}
	around := func(role string, textType int) []object {
		id, ok := r.byRole.values[role]
		if !ok || !r.add.values[role] {
			return nil
		}
		text := r.tokens.texts[id]
		special[text] = object{"id": text, "ids": []uint32{id}, "tokens": []string{text}}
		return []object{{"SpecialToken": object{"id": text, "type_id": textType}}}
	}
	text := func(name string, textType int) []object {
		return []object{{"Sequence": object{"id": name, "type_id": textType}}}
	}
	single := slices.Concat(around("bos", 0), text("A", 0), around("eos", 0))
	if len(special) > 0 {
		// What stands between a pair of texts says whether a separator does: nothing, nothing.
		var between []object
		switch add, ok := r.add.values["sep"]; {
		case r.kind == wordPiece && !add: // of which a pair is told apart by a number for each token
			between = around("eos", 0)
		case ok && add:
			if between = around("sep", 0); between != nil {
				between = slices.Concat(around("eos", 0), between)
			}
		case ok:
			between = slices.Concat(around("eos", 0), around("bos", 1))
		}
		pair := slices.Concat(around("bos", 0), text("A", 0), between, text("B", 1), around("eos", 1))
		processors = append(processors, object{"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special})
	}
	switch len(processors) {
	case 0:
		return nil
	case 1:
		return processors[0]
	}
	return object{"type": "Sequence", "processors": processors}
}

// sentencePiece makes a tokenizer.model, and the tokenizer.json that stands for it.
func (r *restorer) sentencePiece() error {
	pieces, err := r.pieces()
	if err != nil {
		return err
	}
	prefix, err := gguf.Value[bool](r.meta, spacePrefixKey)
	if err != nil { // SentencePiece's default
		prefix = true
	}
	r.files[piecesFile] = (&SentencePiece{Pieces: pieces, AddPrefix: prefix}).marshal()
	// A configuration that says of a space that it is put in front is one of tokenizers that do so at
	// the beginning of a text only, and not in front of another space; before these it said nothing.
	newer := err == nil && prefix
	var normalizers []object
	var preTokenizer any
	switch {
	case newer:
		preTokenizer = object{"type": "Metaspace", "replacement": space, "prepend_scheme": "first", "split": false}
	case prefix:
		normalizers = append(normalizers, object{"type": "Prepend", "prepend": space})
	}
	if !newer {
		normalizers = append(normalizers, spellSpaces)
	}
	if r.isComposed() {
		normalizers = slices.Insert(normalizers, 0, nfc)
	}
	var normalizer any
	if len(normalizers) > 0 {
		normalizer = object{"type": "Sequence", "normalizers": normalizers}
	}
	var unknown any
	byteTokens := 0
	for id, text := range r.tokens.texts {
		switch {
		case id < len(pieces) && pieces[id].Type == gguf.TokenUnknown:
			unknown = text
		case r.isType(id, gguf.TokenByte):
			byteTokens++
		}
	}
	processor := r.postProcessor()
	if len(r.add.keys) == 0 {
		// SentencePiece's texts begin with BOS where nothing says so. Converting reads no sequence
		// in a sequence, and so still finds nothing that does.
		r.add.set("bos", true)
		if template := r.postProcessor(); template != nil {
			processor = object{"type": "Sequence", "processors": []any{object{"type": "Sequence", "processors": []any{template}}}}
		}
	}
	r.config["tokenizer_class"] = fastClass
	return r.write(fastFile, object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": r.addedTokens(),
		"normalizer": normalizer, "pre_tokenizer": preTokenizer,
		"post_processor": processor, "decoder": spacesDecoder(prefix),
		"model": object{
			"type": "BPE", "dropout": nil, "unk_token": unknown, "continuing_subword_prefix": nil, "end_of_word_suffix": nil, "fuse_unk": true,
			"byte_fallback": byteTokens == 256, "ignore_merges": false, "vocab": r.vocabulary(), "merges": r.merges(),
		},
	})
}

// spellSpaces is the normalizer that makes ▁ of spaces.
var spellSpaces = object{"type": "Replace", "pattern": object{"String": " "}, "content": space}

// spacesDecoder makes text of tokens whose spaces are ▁, but for one in front.
func spacesDecoder(prefix bool) object {
	decoders := []object{{"type": "Replace", "pattern": object{"String": space}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}}
	if prefix {
		decoders = append(decoders, object{"type": "Strip", "content": " ", "start": 1, "stop": 0})
	}
	return object{"type": "Sequence", "decoders": decoders}
}

// pieces returns those of tokenizer.model, and lists the tokens that were added later in
// tokenizer_config.json: their score tells.
func (r *restorer) pieces() ([]Piece, error) {
	pieces := make([]Piece, len(r.tokens.texts))
	later := make(map[string]object)
	ids := make(map[string]int) // of tokens that would be special there
	end, unknown := 0, -1
	named, hasNamed := r.byRole.values["unk"]
	for id, text := range r.tokens.texts {
		pieces[id] = Piece{text, r.tokens.scores[id], gguf.TokenType(r.tokens.types[id])}
		p := &pieces[id]
		if p.Type == gguf.TokenUserDefined || p.Type == gguf.TokenControl && p.Score == scoreAdded {
			if p.Type == gguf.TokenUserDefined && (looksSpecial(text) || strings.Contains(text, space)) {
				ids[text] = id
			} else {
				later[strconv.Itoa(id)] = r.addedToken(id, text)
			}
			*p = Piece{text, 0, gguf.TokenControl}
		} else if !r.isPadding(id) {
			end = id + 1
		}
		if r.isType(id, gguf.TokenUnknown) || unknown < 0 && (hasNamed && id == int(named) || text == "<unk>") {
			unknown = id
		}
	}
	if len(later) > 0 {
		r.config["added_tokens_decoder"] = later
	}
	if len(ids) > 0 {
		if err := r.write(addedFile, ids); err != nil {
			return nil, err
		}
	}
	if unknown < 0 {
		return nil, unsupported("a vocabulary of SentencePiece without a token for what is unknown")
	}
	pieces[unknown].Type = gguf.TokenUnknown
	pieces = pieces[:max(end, unknown+1)]
	if _, err := ParseSentencePiece((&SentencePiece{Pieces: pieces}).marshal()); err != nil {
		return nil, err
	}
	return pieces, nil
}

// longestMerge bounds the search for the pairs of pieces that make a token. Real ones are
// shorter by far.
const longestMerge = 1 << 10

// merges returns the pairs of tokens that make a third, those of the best score first:
// SentencePiece merges the pair that makes the token of the best score, tokenizers that
// which is listed first.
func (r *restorer) merges() []string {
	ids := make(map[string]int)
	for id, text := range r.tokens.texts {
		if r.isType(id, gguf.TokenNormal) && len(text) <= longestMerge && !strings.Contains(text, " ") {
			ids[text] = id
		}
	}
	type merge struct{ whole, left, right int }
	var list []merge
	for text, id := range ids {
		for at := range text {
			left, ok := ids[text[:at]]
			right, ok2 := ids[text[at:]]
			if at > 0 && ok && ok2 {
				list = append(list, merge{id, left, right})
			}
		}
	}
	slices.SortFunc(list, func(a, b merge) int {
		return cmp.Or(cmp.Compare(r.tokens.scores[b.whole], r.tokens.scores[a.whole]), a.whole-b.whole, a.left-b.left, a.right-b.right)
	})
	merges := make([]string, len(list))
	for i, m := range list {
		merges[i] = r.tokens.texts[m.left] + " " + r.tokens.texts[m.right]
	}
	return merges
}

// write adds a file of JSON.
func (r *restorer) write(name string, value any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(value); err != nil {
		return err
	}
	r.files[name] = b.Bytes()
	return nil
}
