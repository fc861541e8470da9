// Package pretoken has the ways to cut text into the words that byte-level BPE never merges
// across: what a pre_tokenizer of tokenizer.json is, and tokenizer.ggml.pre in GGUF.
//
// Recognize finds the one that cuts as given expressions do, however they are written; Find the
// one of a name. Adding one is a file with its expressions and its function, and a line in the
// table. Bytes that are not UTF-8 are characters of their own that are neither letters nor
// numbers nor spaces. Letters and numbers are those of Go's package unicode.
//
//	p, ok := pretoken.Find("qwen2")
//	if !ok {
//		return errUnknown
//	}
//	p.Split("It's 42.", func(word string) { fmt.Printf("%q ", word) }) // "It" "'s" " " "4" "2" "."
package pretoken

import "slices"

// PreTokenizer is a way to cut words.
type PreTokenizer struct {
	// Names are those that llama.cpp has for it; converting writes the first.
	Names []string
	// Expressions cut text at the starts and ends of their matches, each what those
	// before it left. A single one matches every text from end to end.
	Expressions []string
	// Split calls visit with the words of text, which together are the text.
	Split func(text string, visit func(word string))
	// IgnoreMerges says that a word that is a token becomes that token, whatever the
	// merges are: ignore_merges of tokenizer.json.
	IgnoreMerges bool
	// AddBOS says whether texts begin with BOS where the metadata does not say it.
	AddBOS bool
}

// table lists what is known.
var table = []*PreTokenizer{&gpt2, &llama3, &qwen2, &deepSeek}

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

// Recognize returns the pre-tokenizer whose expressions cut as the given ones do.
func Recognize(expressions []string) (*PreTokenizer, bool) {
	given, ok := canonical(expressions)
	if !ok {
		return nil, false
	}
	for _, p := range table {
		if known, ok := canonical(p.Expressions); ok && slices.Equal(known, given) {
			return p, true
		}
	}
	return nil, false
}

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
