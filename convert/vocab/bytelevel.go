package vocab

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
)

// loadByteLevel adds a vocabulary of byte-level BPE
// (TextModel._set_vocab_gpt2 in llama.cpp's conversion/base.py).
func (f *sources) loadByteLevel(kvs *pairs, model *bytePairs, opts Options) error {
	for _, n := range f.fast.Normalizer.steps() {
		if n.Type != "NFC" {
			return unsupported("normalizer %.80q", n.Type)
		}
	}
	t, err := tokensOf(model.Vocab, int(opts.Size))
	if err != nil {
		return err
	}
	pre := opts.Pre
	if pre == "" {
		if pre, f.warnings, err = f.fast.PreTokenizer.name(opts.Rules.Pre); err != nil {
			return err
		}
		// tokenizers before 0.19 knew no ignore_merges, and those since write false where it was not.
		if model.IgnoreMerges != nil && *model.IgnoreMerges {
			f.warnUnreached(model, t.texts, pre)
		}
	}
	if err := f.addAll(t, model.Vocab, 0); err != nil {
		return err
	}
	t.writeMerged(kvs, pre, model.Merges)
	return nil
}

// warnUnreached warns of words that are tokens to the model, whatever the merges are, but not to a pre-tokenizer.
func (f *sources) warnUnreached(model *bytePairs, tokens []string, pre string) {
	known, _ := pretoken.Find(pre)
	if known.IgnoreMerges {
		return
	}
	if token := model.unreached(tokens, known); token != "" {
		f.warnings = append(f.warnings, fmt.Sprintf("words that are tokens become these whatever the merges are (ignore_merges), but not with the pre-tokenizer %s: "+
			"%q and others become several tokens", pre, token))
	}
}

// writeMerged sets the keys of a vocabulary with merges.
func (t *tokens) writeMerged(kvs *pairs, pre string, merges []string) {
	kvs.set("tokenizer.ggml.model", "gpt2")
	kvs.set("tokenizer.ggml.pre", pre)
	kvs.set("tokenizer.ggml.tokens", t.texts)
	kvs.set("tokenizer.ggml.token_type", t.types)
	if len(merges) > 0 {
		kvs.set("tokenizer.ggml.merges", merges)
	}
}

// preTokenizer is a pre_tokenizer of tokenizer.json.
type preTokenizer struct {
	Type             string          `json:"type"`
	PreTokenizers    []*preTokenizer `json:"pretokenizers"` // Sequence
	Pattern          pattern         `json:"pattern"`       // Split, as the next two
	Behavior         string          `json:"behavior"`
	Invert           bool            `json:"invert"`
	IndividualDigits bool            `json:"individual_digits"` // Digits
	AddPrefixSpace   bool            `json:"add_prefix_space"`  // ByteLevel and Metaspace, as the next two
	UseRegex         *bool           `json:"use_regex"`         // ByteLevel
	Replacement      string          `json:"replacement"`       // Metaspace, as the next two
	PrependScheme    string          `json:"prepend_scheme"`
	Split            *bool           `json:"split"`
}

// steps adds to a list what a pre-tokenizer does, one after the other.
func (p *preTokenizer) steps(list ...*preTokenizer) []*preTokenizer {
	switch {
	case p == nil:
		return list
	case p.Type != "Sequence":
		return append(list, p)
	}
	for _, part := range p.PreTokenizers {
		list = part.steps(list...)
	}
	return list
}

// pattern is a text or a regular expression.
type pattern struct {
	String string
	Regex  string
}

func (p pattern) expression() string {
	if p.String != "" {
		return regexp.QuoteMeta(p.String)
	}
	return p.Regex
}

// steps are what a pre-tokenizer does, one after the other.
type steps struct {
	cuts    []pretoken.Step
	gapless bool            // what is between matches is dropped: there may be nothing
	bytes   bool            // and then the bytes are spelled
	spelled []pretoken.Step // and then cut further
	lost    []string        // what no pre-tokenizer of GGUF does
}

// recognize returns what cuts in the same way, if it is known.
func (s *steps) recognize() (*pretoken.PreTokenizer, bool) {
	if slices.ContainsFunc(slices.Concat(s.cuts, s.spelled), func(step pretoken.Step) bool { return step.Edges != pretoken.BothEdges }) {
		return nil, false
	}
	known, ok := pretoken.Recognize(expressions(s.cuts), expressions(s.spelled))
	return known, ok && (!s.gapless || len(known.Expressions) == 1) // a single one leaves no gaps
}

func expressions(steps []pretoken.Step) (list []string) {
	for _, step := range steps {
		list = append(list, step.Expression)
	}
	return list
}

// name returns the name of what cuts words in the same way: that in published, or else the first. convert_hf_to_gguf.py
// knows tokenizers by a hash of the ids that they give to a text and so tells vocabularies apart that are cut in the same way.
// Where nothing known cuts in this way it is what cuts most alike, and a warning says so.
func (p *preTokenizer) name(published map[string]string) (name string, warnings []string, err error) {
	const wayOut = `; --pre names another that cuts in the same way`
	var s steps
	for _, step := range p.steps() {
		if err := s.read(step); err != nil {
			return "", nil, fmt.Errorf("%w%s", err, wayOut)
		}
	}
	switch {
	case len(s.cuts) == 0 && !s.bytes:
		return "", nil, unsupported("no pre_tokenizer%s", wayOut)
	case !s.bytes:
		return "", nil, unsupported("pre_tokenizer %.400q without ByteLevel%s", expressions(s.cuts), wayOut)
	}
	known, ok := s.recognize()
	if !ok {
		var alike float64
		var word, other string
		if known, alike, word, other, err = pretoken.Nearest(s.cuts, s.spelled); err != nil {
			return "", nil, unsupported("pre_tokenizer %.400q: %w%s", expressions(s.cuts), err, wayOut)
		}
		warnings = []string{nearestWarning(known.Names[0], alike, word, other)}
		if s.gapless {
			s.lost = append(s.lost, "drops what is between words")
		}
	}
	name = known.Names[0]
	if other, found := pretoken.Find(published[name]); ok && found {
		if !slices.Equal(other.Expressions, known.Expressions) {
			warnings = []string{fmt.Sprintf("the pre-tokenizer is named %s, as files of the published models have it, by which some words are cut otherwise: "+
				"token ids may differ (--pre %s names what cuts alike)", published[name], name)}
		}
		name = published[name]
	}
	for _, what := range s.lost {
		warnings = append(warnings, "the pre_tokenizer "+what+", which GGUF cannot say: token ids may differ")
	}
	return name, warnings, nil
}

func nearestWarning(name string, alike float64, word, other string) string {
	const wayOut = "--pre names another"
	if word == other {
		return fmt.Sprintf("no pre-tokenizer that is known is written like this one; %s cuts a text of many scripts alike and is taken (%s)", name, wayOut)
	}
	return fmt.Sprintf("no pre-tokenizer that is known cuts like this one: %s is taken, which cuts %.1f%% of a text of many scripts alike, but %q where "+
		"this has %q: token ids may differ (%s)", name, 100*alike, other, word, wayOut)
}

// read adds a step of a pre-tokenizer.
func (s *steps) read(p *preTokenizer) error {
	switch {
	case p.Type == "Split":
		return s.matches(p.Pattern.expression(), p.Behavior, p.Invert)
	case p.Type == "Punctuation":
		return s.matches(pretoken.Punctuation, p.Behavior, false)
	case p.Type == "Digits" && p.IndividualDigits:
		return s.cut(`\p{N}`, pretoken.BothEdges)
	case p.Type == "Digits":
		return s.cut(`\p{N}+`, pretoken.BothEdges)
	case p.Type == "WhitespaceSplit":
		return s.matches(`\s`, "Removed", false)
	case p.Type == "Whitespace":
		return s.matches(`\w+|[^\w\s]+`, "Removed", true)
	case p.Type == "ByteLevel" && !s.bytes:
		if p.UseRegex == nil || *p.UseRegex {
			s.cuts = append(s.cuts, pretoken.Step{Expression: pretoken.GPT2})
		}
		if p.AddPrefixSpace {
			s.lost = append(s.lost, "puts a space before a text (add_prefix_space)")
		}
		s.bytes = true
		return nil
	}
	return unsupported("pre_tokenizer of type %.80s", p.Type)
}

// matches adds what becomes of the matches of an expression, or of what is between them if that is inverted.
func (s *steps) matches(expression, behavior string, inverted bool) error {
	edges := map[bool]pretoken.Edges{false: pretoken.Ends, true: pretoken.Starts}
	switch {
	case expression == "":
	case behavior == "Isolated" || behavior == "": // inverted or not: both are words
		return s.cut(expression, pretoken.BothEdges)
	case behavior == "Contiguous" && inverted:
		return s.cut(expression, pretoken.BothEdges)
	case behavior == "Contiguous":
		return s.cut(`(?:`+expression+`)+`, pretoken.BothEdges)
	case behavior == "MergedWithPrevious":
		return s.cut(expression, edges[inverted])
	case behavior == "MergedWithNext":
		return s.cut(expression, edges[!inverted])
	case behavior == "Removed" && inverted && !s.bytes:
		s.gapless = true
		return s.cut(expression, pretoken.BothEdges)
	case behavior == "Removed":
		s.lost = append(s.lost, fmt.Sprintf("drops matches of %.80q", expression))
		return s.cut(expression, pretoken.BothEdges)
	}
	return unsupported("pre_tokenizer Split by %.200q, %.40s", expression, behavior)
}

// cut adds a cut. After the bytes are spelled those that never match are left out.
func (s *steps) cut(expression string, edges pretoken.Edges) error {
	step := pretoken.Step{Expression: expression, Edges: edges}
	if !s.bytes {
		s.cuts = append(s.cuts, step)
	} else if !pretoken.NeverMatches(expression) {
		s.spelled = append(s.spelled, step)
	}
	return nil
}

// CheckPre returns an error if name is not a value of tokenizer.ggml.pre that convert_hf_to_gguf.py writes.
// Empty is none.
func CheckPre(name string) error {
	others := slices.AppendSeq(slices.Clone(wordPieceNames), maps.Keys(pretoken.OnCharacters))
	if _, ok := pretoken.Find(name); name == "" || ok || slices.Contains(others, name) {
		return nil
	}
	names := slices.Concat(pretoken.Names(), others)
	slices.Sort(names)
	return unsupported("%.80q is not the name of a pre-tokenizer (names: %s)", name, strings.Join(names, ", "))
}
