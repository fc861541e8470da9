package recipe

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"github.com/ggufkit/ggufkit/gguf"
)

// Override gives the tensors whose names match a pattern a type of their own.
type Override struct {
	text    string // as it was written
	pattern *pattern
	typ     gguf.Type
}

// ParseOverride reads PATTERN=TYPE, such as blk\.[0-3]\.attn_v=q8_0, as
// llama-quantize's --tensor-type does: the pattern is a regular expression of
// C++ (std::regex, ECMAScript) that may match anywhere in the name, after its
// letters were made lower case. It ends at the first =, so there is no (?= .
func ParseOverride(s string) (Override, error) {
	text, typeName, ok := strings.Cut(s, "=")
	if !ok || text == "" || typeName == "" {
		return Override{}, fmt.Errorf("%q is not of the form PATTERN=TYPE", s)
	}
	pattern, err := compilePattern(lowerASCII(text))
	if err != nil {
		return Override{}, fmt.Errorf("%q: %w", s, err)
	}
	typ, err := gguf.ParseType(typeName)
	if err != nil {
		return Override{}, fmt.Errorf("%q: %w", s, err)
	}
	return Override{s, pattern, typ}, nil
}

// lowerASCII leaves bytes that are not ASCII as they are.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// OverrideOf returns the override that gives the tensor of this name its type, and
// matches no other name. The error says that no override can.
func OverrideOf(t gguf.TensorInfo) (Override, error) {
	o, err := ParseOverride("^" + regexp.QuoteMeta(t.Name) + "$=" + strings.ToLower(t.Type.String()))
	if err != nil {
		return o, err
	}
	if found, err := o.pattern.match(t.Name); err != nil || !found || strings.ContainsFunc(t.Name, unicode.IsSpace) {
		return o, fmt.Errorf("no override can name tensor %q", t.Name)
	}
	return o, nil
}

// String returns the override as it was written.
func (o Override) String() string { return o.text }

// Lint returns what in the options does not do what it seems to, one sentence
// each: overrides that match no tensor or are ignored, and types for matrices
// that are not there.
func Lint(tensors []gguf.TensorInfo, ft FileType, opts Options) []string {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }

	hasOutput, hasTokenEmbd := false, false
	for _, t := range tensors {
		hasOutput = hasOutput || classOf(t.Name) == output
		hasTokenEmbd = hasTokenEmbd || classOf(t.Name) == tokenEmbd
	}
	base, err := ft.Base()
	quantizes := err == nil && base.Quantized()
	if opts.OutputType != nil {
		switch {
		case opts.LeaveOutput:
			note("the type for the output matrix is ignored, since output.weight is left as it is")
		case !hasOutput && (!quantizes || opts.Pure):
			note("the type for the output matrix is ignored: there is no output.weight")
		}
	}
	if opts.LeaveOutput && !hasOutput {
		note("there is no output.weight that could be left as it is")
	}
	if opts.TokenEmbeddingType != nil && !hasTokenEmbd {
		note("the type for token embeddings is ignored: there is no token_embd.weight")
	}

	for i, o := range opts.Overrides {
		if !quantizes {
			note("%q is ignored: overrides only apply to quantized file types, not to %s", o, ft)
			continue
		}
		if changed := upperCaseEscape.FindString(o.text); changed != "" {
			note(`%q: patterns are made lower case, %s now means %s`, o, changed, strings.ToLower(changed))
		}
		matches, last, why := 0, "", ""
		for _, t := range tensors {
			if found, _ := o.pattern.match(t.Name); !found { // Plan reports errors
				continue
			}
			matches++
			reason := ""
			switch _, outright := opts.outright(t); {
			case !opts.quantizable(t):
				reason = "is not quantized"
			case outright:
				reason = "has a type by another option"
			default:
				if first, _ := opts.override(t.Name); first != &opts.Overrides[i] {
					reason = fmt.Sprintf("is matched by %q before", first)
				}
			}
			if reason == "" {
				matches = -1
				break
			}
			last, why = t.Name, reason
		}
		switch {
		case matches == 0:
			note("%q matches no tensor", o)
		case matches > 0:
			note("%q is ignored: %s %s, and it matches no tensor it could apply to", o, last, why)
		}
	}
	return notes
}

var upperCaseEscape = regexp.MustCompile(`\\[A-Z]`)
