// Package pretoken has the ways to cut text into the words that byte-level BPE never merges
// across: what a pre_tokenizer of tokenizer.json is, and tokenizer.ggml.pre in GGUF.
//
// Recognize finds the one that cuts as given expressions do, however they are written; Find the
// one of a name, Nearest the one that cuts most alike. Adding one is a row of families. Those that are met
// most have a function of their own, which is faster and cuts in the same way. Bytes that are not UTF-8 are
// characters of their own that are neither letters nor numbers nor spaces. Unicode's version is 16.
//
//	p, ok := pretoken.Find("qwen2")
//	if !ok {
//		return errUnknown
//	}
//	p.Split("It's 42.", func(word string) { fmt.Printf("%q ", word) }) // "It" "'s" " " "4" "2" "."
package pretoken

import (
	"slices"
	"sync"
)

// PreTokenizer is a way to cut words.
type PreTokenizer struct {
	// Names are those that llama.cpp has for it; converting writes the first.
	Names []string
	// Expressions cut text at the starts and ends of their matches, each what those
	// before it left. A single one matches every text from end to end.
	Expressions []string
	// Spelled cut on, once the bytes of a word are spelled by ByteRunes.
	Spelled []string
	// IgnoreMerges says that a word that is a token becomes that token, whatever the
	// merges are: ignore_merges of tokenizer.json.
	IgnoreMerges bool
	// AddBOS says whether texts begin with BOS where the metadata does not say it.
	AddBOS bool

	split func(text string, visit func(word string)) // instead of the expressions, nil if there is none
	once  sync.Once
	ready *splitter
}

// Split calls visit with the words of text, which together are the text.
func (p *PreTokenizer) Split(text string, visit func(word string)) {
	if p.split != nil {
		p.split(text, visit)
		return
	}
	p.splitter().split(text, noLimit, visit)
}

func (p *PreTokenizer) splitter() *splitter {
	p.once.Do(func() {
		var err error
		if p.ready, err = newSplitter(stepsOf(p.Expressions), stepsOf(p.Spelled)); err != nil {
			panic(err) // they are ours
		}
	})
	return p.ready
}

// stepsOf returns expressions as steps that cut at both edges.
func stepsOf(expressions []string) (steps []Step) {
	for _, e := range expressions {
		steps = append(steps, Step{Expression: e})
	}
	return steps
}

// table lists what is known.
var table = slices.Concat([]*PreTokenizer{&gpt2, &llama3, &dbrx, &glm4, &qwen2, &deepSeek, &jais2}, families)

// Find returns the pre-tokenizer of a name.
func Find(name string) (*PreTokenizer, bool) {
	for _, p := range table {
		if slices.Contains(p.Names, name) {
			return p, true
		}
	}
	return nil, false
}

// Known returns the first names of all.
func Known() []string {
	var names []string
	for _, p := range table {
		names = append(names, p.Names[0])
	}
	return names
}

// Names returns all names.
func Names() []string {
	var names []string
	for _, p := range table {
		names = append(names, p.Names...)
	}
	return names
}

// Recognize returns the pre-tokenizer whose expressions cut as the given ones do, before and after
// bytes are spelled. Where several do, it is the one that is written in the same way, or else the first.
func Recognize(expressions, spelled []string) (*PreTokenizer, bool) {
	for _, p := range table {
		if slices.Equal(p.Expressions, expressions) && slices.Equal(p.Spelled, spelled) {
			return p, true
		}
	}
	given, ok1 := canonical(expressions)
	after, ok2 := canonical(spelled)
	if !ok1 || !ok2 {
		return nil, false
	}
	for i, form := range tableForms() {
		if slices.Equal(form[0], given) && slices.Equal(form[1], after) {
			return table[i], true
		}
	}
	return nil, false
}

// tableForms returns the canonical forms of the table's expressions.
var tableForms = sync.OnceValue(func() (forms [][2][]string) {
	for _, p := range table {
		before, _ := canonical(p.Expressions)
		after, _ := canonical(p.Spelled)
		forms = append(forms, [2][]string{before, after})
	}
	return forms
})

// canonical returns the canonical forms, without those that repeat the one before.
func canonical(expressions []string) ([]string, bool) {
	var forms []string
	for _, e := range expressions {
		form, err := Canonical(e)
		if err != nil {
			return nil, false
		}
		forms = append(forms, form)
	}
	return slices.Compact(forms), true
}
