package vocab

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// special collects what gguf-py's SpecialVocab does: which tokens have a role,
// and which of them a tokenizer adds to a text.
type special struct {
	limit  int64          // ids from here on are left out
	config map[string]any // tokenizer_config.json, in which roles that are open are filled
	roles  []string
	ids    ordered[uint32]
	add    ordered[bool]
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

type postProcessor struct {
	Type       string           `json:"type"`
	Single     []templateItem   `json:"single"`     // TemplateProcessing, as the next
	Pair       []templateItem   `json:"pair"`       //
	Cls        []any            `json:"cls"`        // RobertaProcessing, as the next: a token and its id
	Sep        []any            `json:"sep"`        //
	Processors []*postProcessor `json:"processors"` // Sequence
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
	Type               string        `json:"type"`
	Lowercase          *bool         `json:"lowercase"`            // BertNormalizer, as the next
	StripAccents       *bool         `json:"strip_accents"`        //
	CleanText          *bool         `json:"clean_text"`           //
	HandleChineseChars *bool         `json:"handle_chinese_chars"` //
	Charsmap           []byte        `json:"precompiled_charsmap"` // Precompiled, as base64
	StripRight         bool          `json:"strip_right"`          // Strip
	Prepend            string        `json:"prepend"`              // Prepend
	Pattern            pattern       `json:"pattern"`              // Replace, as the next
	Content            string        `json:"content"`              //
	Normalizers        []*normalizer `json:"normalizers"`          // Sequence
}

// steps adds to a list what a normalizer does, one after the other.
func (n *normalizer) steps(list ...*normalizer) []*normalizer {
	switch {
	case n == nil:
		return list
	case n.Type != "Sequence":
		return append(list, n)
	}
	for _, part := range n.Normalizers {
		list = part.steps(list...)
	}
	return list
}

// loadSpecial adds the pairs after the vocabulary. limit is the number of tokens
// that ids of roles are checked against; rules are those of the model's class.
func (f *sources) loadSpecial(kvs *pairs, limit int64, rules Rules) error {
	s, err := f.special(limit, roles)
	if err != nil {
		return err
	}
	if err := f.endChat(s, rules.ChatEnd); err != nil {
		return err
	}
	for _, r := range rules.Roles {
		i := slices.IndexFunc(f.fast.AddedTokens, func(t addedToken) bool { return t.Content == r.Text })
		if i < 0 {
			continue
		}
		if err := s.setID(r.Role, f.fast.AddedTokens[i].ID); err != nil {
			return err
		}
	}
	s.write(kvs)
	if err := f.chatTemplate(kvs); err != nil {
		return err
	}
	f.fast.Normalizer.read(&f.flags)
	for _, name := range []string{"nfc", "lowercase", "strip_accents"} {
		if f.flags.has(name) {
			kvs.set("tokenizer.ggml.normalizer."+name, f.flags.values[name])
		}
	}
	return nil
}

// endChat has a special token end texts, if there is one that does and this one is listed.
func (f *sources) endChat(s *special, text string) error {
	if text == "" || !s.ids.has("eos") {
		return nil
	}
	listed, err := f.addedTokensDecoder()
	for _, t := range listed {
		if t.Special && t.Content == text && t.ID < s.limit {
			s.ids.set("eos", uint32(t.ID))
		}
	}
	return err
}

// loadLlamaSpecial adds what only checkpoints of Llama's class have (LlamaModel.set_vocab):
// models that are known by nothing but the size of their vocabulary.
func (f *sources) loadLlamaSpecial(kvs *pairs, size int64) error {
	const codeLlama, codeLlamaEOT, granite = 32016, 32010, 49152
	switch size {
	case codeLlama:
		s, err := f.special(noLimit, []string{"prefix", "suffix", "middle", "eot"}) // of which GGUF has keys for the last
		if err != nil {
			return err
		}
		if err := s.setID("eot", codeLlamaEOT); err != nil {
			return err
		}
		s.write(kvs)
	case granite:
		kvs.set(addKeys["bos"], false)
	}
	return nil
}

// noLimit is a limit that no id reaches.
const noLimit = 1 << 32

// special finds out which tokens have the given roles.
func (f *sources) special(limit int64, roles []string) (*special, error) {
	s := &special{limit: limit, config: maps.Clone(f.config), roles: slices.Clone(roles)}
	if f.hasFast {
		s.readPostProcessor(f.fast.PostProcessor)
	}
	if err := s.readTokenizerConfig(f.fast.AddedTokens); err != nil {
		return nil, fmt.Errorf("%s: %w", f.path(fastFile), err)
	}
	return s, s.readModelConfig(f.folder)
}

// write adds the pairs of the roles.
func (s *special) write(kvs *pairs) {
	for _, role := range s.ids.keys {
		if key, ok := idKeys[role]; ok {
			kvs.set(key, s.ids.values[role])
		}
	}
	for _, role := range s.add.keys {
		if key, ok := addKeys[role]; ok {
			kvs.set(key, s.add.values[role])
		}
	}
}

// readPostProcessor finds out what the fast tokenizer adds to a text. Tokens it
// uses in a role that tokenizer_config.json does not fill are put there; without that file they
// are noted for what follows in the post-processor.
func (s *special) readPostProcessor(p *postProcessor) {
	absent := len(s.config) == 0
	given := func(role string) any { return s.config[role+"_token"] }
	fill := func(role string, token any) {
		if !absent {
			s.config[role+"_token"] = token
		}
	}
	// An absent cls or sep token can stand in for bos or eos.
	if isEmpty(given("bos")) && !isEmpty(given("cls")) {
		fill("bos", given("cls"))
	}
	if isEmpty(given("eos")) && !isEmpty(given("sep")) {
		fill("eos", given("sep"))
	}
	if p == nil {
		return
	}
	r := affixes{special: s, bos: given("bos"), cls: given("cls"), eos: given("eos"), sep: given("sep"), absent: absent, fill: fill}
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
		case p.Type == "RobertaProcessing":
			r.readRoberta(p)
		case p.Type == "TemplateProcessing":
			r.readTemplate(p)
		}
	}
}

// affixes is what is known of the tokens around a text while the post-processors are read.
type affixes struct {
	*special
	bos, cls, eos, sep any                          // of tokenizer_config.json; objects are not compared
	absent             bool                         // there is no tokenizer_config.json, or nothing in it
	fill               func(role string, token any) // puts a token there
}

func isEmpty(v any) bool { return v == nil || v == "" }

// readRoberta reads a RobertaProcessing: <s> A </s></s> B </s>.
func (r *affixes) readRoberta(p *postProcessor) {
	for _, role := range []string{"bos", "eos", "sep"} {
		r.add.set(role, true)
	}
	first := func(pair []any, fallback any) any {
		if len(pair) == 0 {
			return fallback
		}
		return pair[0]
	}
	if isEmpty(r.cls) && !r.absent {
		r.cls = first(p.Cls, r.bos)
		r.fill("cls", r.cls)
	}
	if isEmpty(r.sep) && !r.absent {
		r.sep = first(p.Sep, r.eos)
		r.fill("sep", r.sep)
	}
}

// readTemplate reads a TemplateProcessing: single is a text with tokens around
// it, pair is two of them.
func (r *affixes) readTemplate(p *postProcessor) {
	first, last := "", ""
	if len(p.Single) > 1 {
		first, last = p.Single[0].SpecialToken.ID, p.Single[len(p.Single)-1].SpecialToken.ID
	}
	if first != "" {
		if r.absent {
			r.bos = first
		} else if first != r.bos && first != r.cls {
			if isEmpty(r.bos) {
				r.bos = first
				r.fill("bos", first)
			}
			if isEmpty(r.cls) {
				r.cls = first
				r.fill("cls", first)
			}
		}
		r.add.set("bos", first == r.bos || first == r.cls)
	}
	if last != "" {
		if last != r.eos && !r.absent {
			// The token that ends texts is the end; what was said to be it ends turns.
			for _, role := range []string{"eot", "eom"} {
				if !slices.Contains(r.roles, role) {
					r.roles = append(r.roles, role)
					r.fill(role, r.eos)
					break
				}
			}
			r.fill("eos", last)
		}
		r.eos = last
		r.add.set("eos", true)
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
		return id != "" && (id == r.sep || id == r.eos)
	}
	add := separates(between[0]) && last == "" || len(between) == 2 && separates(between[1])
	r.add.set("sep", add)
	if add && isEmpty(r.sep) {
		r.fill("sep", r.eos)
	}
}

// readTokenizerConfig takes the flags and the tokens by role from
// tokenizer_config.json; only added tokens of tokenizer.json have ids there.
func (s *special) readTokenizerConfig(added []addedToken) error {
	ids := make(map[string]int64, len(added))
	for _, t := range slices.Backward(added) { // the first of several
		ids[t.Content] = t.ID
	}
	for _, role := range s.roles {
		if add, ok := s.config["add_"+role+"_token"].(bool); ok && !s.add.has(role) {
			s.add.set(role, add)
		}
		text, ok := tokenText(s.config[role+"_token"])
		if !ok {
			continue
		}
		if id, ok := ids[text]; ok {
			if err := s.setID(role, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// readModelConfig takes ids that are still open from config.json.
func (s *special) readModelConfig(folder files.Folder) error {
	var config map[string]any
	if err := sidecar.ReadJSON(folder, "config.json", &config); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	text, _ := config["text_config"].(map[string]any)
	for _, role := range s.roles {
		key := role + "_token_id"
		value := config[key]
		if value == nil {
			value = text[key]
		}
		// Lists of several ids, as eos_token_id may be, have no place in GGUF.
		if id, ok := value.(int64); ok {
			if err := s.setID(role, id); err != nil {
				return fmt.Errorf("%s: %w", folder.Path("config.json"), err)
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
	if id < s.limit && !s.ids.has(role) {
		s.ids.set(role, uint32(id))
	}
	return nil
}

// read notes what a normalizer does as far as GGUF has keys for it.
func (n *normalizer) read(flags *ordered[bool]) {
	for _, step := range n.steps() {
		switch step.Type {
		case "Lowercase":
			flags.set("lowercase", true)
		case "NFC":
			flags.set("nfc", true)
		case "StripAccents":
			flags.set("strip_accents", true)
		case "BertNormalizer":
			if step.Lowercase != nil {
				flags.set("lowercase", *step.Lowercase)
			}
			if step.StripAccents != nil {
				flags.set("strip_accents", *step.StripAccents)
			}
		}
	}
}
