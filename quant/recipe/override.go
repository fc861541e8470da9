package recipe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"

	"github.com/ggufkit/ggufkit/gguf"
)

// Override gives the tensors whose names match a pattern a type of their own.
type Override struct {
	text    string // as it was written
	pattern *regexp.Regexp
	typ     gguf.Type
}

// ParseOverride reads PATTERN=TYPE, such as blk\.[0-3]\.attn_v=q8_0, as
// llama-quantize's --tensor-type does: the pattern is a regular expression of
// C++ (ECMAScript) that may match anywhere in the name, after its letters were
// made lower case. What Go's regular expressions lack or read differently is
// refused: look-ahead, back-references and rare escapes.
func ParseOverride(s string) (Override, error) {
	pattern, typeName, ok := strings.Cut(s, "=")
	if !ok || pattern == "" || typeName == "" {
		return Override{}, fmt.Errorf("%q is not of the form PATTERN=TYPE", s)
	}
	lower := strings.ToLower(pattern)
	if err := checkPattern(lower); err != nil {
		return Override{}, fmt.Errorf("%q: %w", s, err)
	}
	re, err := regexp.Compile(lower)
	if err != nil {
		return Override{}, fmt.Errorf("%q: %w", s, err)
	}
	typ, err := gguf.ParseType(typeName)
	if err != nil {
		return Override{}, fmt.Errorf("%q: %w", s, err)
	}
	return Override{s, re, typ}, nil
}

// ReadOverrides reads overrides separated by white space, the format of
// llama-quantize's --tensor-type-file.
func ReadOverrides(r io.Reader) ([]Override, error) {
	var overrides []Override
	words := bufio.NewScanner(r)
	words.Split(bufio.ScanWords)
	for words.Scan() {
		o, err := ParseOverride(words.Text())
		if err != nil {
			return nil, err
		}
		overrides = append(overrides, o)
	}
	return overrides, words.Err()
}

// OverrideOf returns the override that gives the tensor of this name its type, and
// matches no other name. The error says that no override can.
func OverrideOf(t gguf.TensorInfo) (Override, error) {
	o, err := ParseOverride("^" + regexp.QuoteMeta(t.Name) + "$=" + strings.ToLower(t.Type.String()))
	if err == nil && (!o.pattern.MatchString(t.Name) || strings.ContainsFunc(t.Name, unicode.IsSpace)) {
		err = fmt.Errorf("no override can name tensor %q", t.Name)
	}
	return o, err
}

// String returns the override as it was written.
func (o Override) String() string { return o.text }

// sameEscapes are the letters and digits that mean the same after a backslash
// in ECMAScript and in Go. All punctuation may be escaped in both.
const sameEscapes = "dswbfnrtv"

// checkPattern returns what in a pattern would not mean the same in Go.
func checkPattern(pattern string) error {
	inClass := false
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i+1:]
		switch c := pattern[i]; {
		case c == '\\':
			if rest == "" {
				return errors.New("the pattern ends in a backslash")
			}
			next := rest[0]
			switch {
			case '1' <= next && next <= '9':
				return fmt.Errorf(`the back-reference \%c is not supported`, next)
			case isAlphanumeric(next) && (!strings.Contains(sameEscapes, rest[:1]) || inClass && next == 'b'):
				return fmt.Errorf(`the escape \%c is not supported`, next)
			}
			i++
		case inClass:
			if c == '[' && strings.HasPrefix(rest, ".") {
				return errors.New("the class [. is not supported")
			}
			if c == '[' && strings.HasPrefix(rest, ":") {
				end := strings.Index(rest, ":]")
				if end < 0 {
					return errors.New("the class [: is not closed")
				}
				i += end + len(":]")
			}
			inClass = c != ']'
		case c == '[':
			inClass = true
			if strings.HasPrefix(strings.TrimPrefix(rest, "^"), "]") {
				return errors.New("an empty class [] is not supported")
			}
			if strings.HasPrefix(rest, "^") {
				i++
			}
		case c == '(' && (rest == "?" || strings.HasPrefix(rest, "?!")):
			// The = of (?= has ended the pattern.
			return errors.New("look-ahead is not supported")
		case c == '(' && strings.HasPrefix(rest, "?") && !strings.HasPrefix(rest, "?:"):
			return errors.New("a group starts with (?, of which only (?: is supported")
		}
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

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
			if !o.pattern.MatchString(t.Name) {
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
				if first := opts.override(t.Name); first != &opts.Overrides[i] {
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
