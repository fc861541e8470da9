package pretoken

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// rewrite replaces parts of an expression, each of which must be there.
func rewrite(t *testing.T, expression string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		require.Contains(t, expression, pairs[i])
		expression = strings.ReplaceAll(expression, pairs[i], pairs[i+1])
	}
	return expression
}

// TestRecognize has expressions that tokenizers 0.23.1 cuts 4,000 texts with as the original does.
func TestRecognize(t *testing.T) {
	const contractions = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	for name, pairs := range map[string][]string{
		"newlines as characters":        {`\r`, "\r", `\n`, "\n"},
		"newlines as code points":       {`\r`, `\x0D`, `\n`, `\x{0A}`},
		"escapes that are not needed":   {`'`, `\'`, ` ?`, `\ ?`},
		"a space as a class":            {` ?[`, `[ ]?[`},
		"a space as an escape":          {` ?[`, `\x20?[`},
		"groups around alternatives":    {`[^\r\n\p{L}\p{N}]?\p{L}+`, `(?:[^\r\n\p{L}\p{N}]?\p{L}+)`, `\s*[\r\n]+`, `((\s*[\r\n]+))`},
		"groups around characters":      {`\p{L}+`, `(?:\p{L})+`, `[\r\n]*`, `(?:[\r\n])*`},
		"two alternatives in one group": {`\s+(?!\S)|\s+`, `(?:\s+(?!\S)|\s+)`},
		"contractions by class":         {contractions, `'(?i:[sdmt]|ll|ve|re)`},
		"contractions in another order": {contractions, `(?i:'d|'ll|'m|'re|'s|'t|'ve)`},
		"contractions in both cases":    {contractions, `'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]`},
		"contractions in capitals":      {contractions, `(?i:'S|'T|'RE|'VE|'M|'LL|'D)`},
		"contractions in a group":       {contractions, `(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])`},
		"one contraction twice":         {contractions, `(?i:'s|'t|'re|'ve|'m|'ll|'d|'s)`},
		"a flag for all":                {contractions, `(?i)'s|'t|'re|'ve|'m|'ll|'d`},
		"properties by long names":      {`\p{L}`, `\p{Letter}`, `\p{N}`, `\p{number}`},
		"properties in classes":         {`\p{L}+`, `[\p{L}]+`, `\p{N}{`, `[\p{Nd}\p{Nl}\p{No}]{`},
		"properties by their parts":     {`\p{L}+`, `[\p{Lu}\p{Ll}\p{Lt}\p{Lm}\p{Lo}]+`},
		"negated properties":            {`\p{L}+`, `[^\P{L}]+`, `\p{N}{`, `\P{^N}{`},
		"classes in another order":      {`[^\s\p{L}\p{N}]`, `[^\p{N}\p{L}\s]`, `[\r\n]`, `[\n\r]`},
		"a class in a class":            {`[^\s\p{L}\p{N}]`, `[^[\s\p{L}]\p{N}]`},
		"white space by name":           {`\s+`, `\p{White_Space}+`},
		"counts":                        {`\p{L}+`, `\p{L}{1,}`, `[\r\n]*`, `[\r\n]{0,}`, ` ?`, ` {0,1}`},
		"counts one by one":             {`\p{N}{1,3}`, `\p{N}\p{N}?\p{N}?`, `\p{L}+`, `\p{L}\p{L}*`},
		"the last line end alone":       {`\s*[\r\n]+`, `\s*[\r\n]`},
		"the last space alone":          {`|\s+(?!\S)|\s+`, `|\s+(?!\S)|\s`},
		"what is not ahead":             {`(?!\S)`, `(?!([^\s]))`},
		"what is ahead":                 {`(?!\S)`, `(?=\s|$)`},
		"as tiktoken has it": {
			contractions, `'(?i:[sdmt]|ll|ve|re)`, `[^\r\n\p{L}\p{N}]?\p{L}+`, `[^\r\n\p{L}\p{N}]?+\p{L}++`,
			` ?[^\s\p{L}\p{N}]+[\r\n]*`, ` ?[^\s\p{L}\p{N}]++[\r\n]*+`, `\s*[\r\n]+`, `\s*[\r\n]`, `(?!\S)|\s+`, `(?!\S)|\s`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, ok := Recognize([]string{rewrite(t, llama3.Expressions[0], pairs...)}, nil)
			require.True(t, ok)
			require.Equal(t, &llama3, p)
		})
	}
	for name, expressions := range map[string][]string{
		"gpt-2":        {rewrite(t, GPT2, `'s|'t|'re|'ve|'m|'ll|'d`, `'(?:[sdmt]|ll|ve|re)`, ` ?\p{L}+`, ` ?\p{L}++`, `|\s+(?!\S)|\s+`, `|\s+(?!\S)|\s`)},
		"qwen2":        {qwen2.Expressions[0], qwen2.Expressions[0]},
		"deepseek-llm": append([]string{`\r|\n`}, deepSeek.Expressions[1:]...),
	} {
		p, ok := Recognize(expressions, nil)
		require.True(t, ok)
		require.Equal(t, name, p.Names[0])
	}
}

func TestNotRecognized(t *testing.T) {
	for name, pairs := range map[string][]string{
		"digits by two":             {`{1,3}`, `{1,2}`},
		"digits without end":        {`\p{N}{1,3}`, `\p{N}{1,3}+`}, // one more repetition, to Oniguruma
		"decimal digits":            {`\p{N}{1,3}`, `\d{1,3}`},
		"as few as possible":        {`\p{L}+`, `\p{L}+?`},
		"marks":                     {`\p{L}+`, `[\p{L}\p{M}]+`},
		"no contraction with d":     {`|'d`, ``},
		"contractions in lower":     {`(?i:`, `(?:`},
		"another order":             {`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*`, ` ?[^\s\p{L}\p{N}]+[\r\n]*|\p{N}{1,3}`},
		"a space that stays":        {`\s+(?!\S)|`, ``},
		"what is given back counts": {`\s+(?!\S)`, `\s++(?!\S)`},
		"not closed":                {`(?i:`, `(?i:(`},
		"something behind":          {`\s+(?!\S)`, `(?<!a)\s+(?!\S)`},
		"an unknown property":       {`\p{L}+`, `\p{Klingon}+`},
	} {
		t.Run(name, func(t *testing.T) {
			_, ok := Recognize([]string{rewrite(t, llama3.Expressions[0], pairs...)}, nil)
			require.False(t, ok)
		})
	}
	_, ok := Recognize(nil, nil)
	require.False(t, ok)
	_, ok = Recognize([]string{GPT2, `\p{N}`}, nil)
	require.False(t, ok)
}

// Order counts where more than one alternative can match.
func TestCanonicalOrder(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{`a|b`, `b|a`, true}, {`a|b`, `[ab]`, true}, {`a|ab`, `ab|a`, false}, {`ab|ac`, `a[bc]`, true}, {`a+|b`, `b|a+`, false},
		{`(a|b)c`, `bc|ac`, true}, {`(a+|b)c`, `bc|a+c`, false}, {`aa`, `a{2}`, false}, {`a?a`, `a{1,2}`, true}, {`aaa{1,2}`, `(?:aaa{1,2})`, true}, {`aaa?`, `a{2,3}`, true}, {`(a+)?`, `a*`, true},
		{`(a*)+`, `a*`, true}, {`(a{1,3})+`, `a+`, true}, {`a{,2}`, `a{0,2}`, true}, {`a{`, `a\{`, true}, {`[]a]`, `[a\]]`, true}, {`[a-]`, `[-a]`, true},
		{`a++b`, `a+b`, true}, {`a++a`, `a+a`, false}, {`a++[ab]?`, `a+[ab]?`, true}, {`a++[ab]?c`, `a+[ab]?c`, false},
	} {
		a, err := Canonical(tt.a)
		require.NoError(t, err)
		b, err := Canonical(tt.b)
		require.NoError(t, err)
		require.Equal(t, tt.same, a == b, "%s and %s", tt.a, tt.b)
	}
}

func TestNeverMatches(t *testing.T) {
	for expression, want := range map[string]bool{
		`\s+`: true, ` `: true, ` ?x`: false, ` |x`: false, `x `: true, `\p{N}`: false, `[^\S]`: true, `(`: false, ``: false, `a*\n`: true,
	} {
		require.Equal(t, want, NeverMatches(expression), expression)
	}
}

// Hostile expressions cost little and do not end in a panic.
func TestCanonicalBounds(t *testing.T) {
	for _, expression := range []string{
		strings.Repeat("(", 1<<12), strings.Repeat("[", 1<<12), strings.Repeat("(?i)", 1<<10), strings.Repeat(`\p{L}`, 1<<9), "[" +
			strings.Repeat(`\p{L}`, 1<<9) + "]",
		strings.Repeat("(a|b)", 1<<9), strings.Repeat("[a-p]", 1<<9), strings.Repeat("(", 30) + strings.Repeat("a|b)", 30), strings.Repeat("(a|b)+", 1<<9),
		strings.Repeat("a|", 1<<11), strings.Repeat("(a|", 30), strings.Repeat("a", 1<<20), "a{999999999999999999999}", "a{1001}",
		strings.Repeat("a{1000}", 1<<9), strings.Repeat("(a|bc)?", 1<<9) + "d",
		strings.Repeat(`(?:\P{L}|\p{L})`, 1<<8),
	} {
		form, err := Canonical(expression)
		require.True(t, err != nil || form != "")
	}
}

func FuzzCanonical(f *testing.F) {
	for _, p := range table {
		for _, e := range p.Expressions {
			f.Add(e)
		}
	}
	for _, e := range []string{`(?i)a|b`, `a{2,3}+?`, `[^]]`, `\u00e9|\x{1F600}`, `(?=a|$)\Z`, `[[a-c]x-z]`} {
		f.Add(e)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		form, err := Canonical(expression)
		if err != nil {
			return
		}
		again, err := Canonical("(?:" + expression + ")")
		if err == nil { // groups may be nested too deep
			require.Equal(t, form, again)
		}
	})
}

func TestRunes(t *testing.T) {
	all := runes{0, unicode.MaxRune}
	require.Empty(t, all.complement())
	require.Equal(t, all, runes{}.complement())
	letters := tables(unicode.L)
	require.Equal(t, letters, letters.complement().complement())
	require.False(t, letters.meets(letters.complement()))
	for _, r := range "aZéж中1 _\u0301\U0001d400" {
		require.Equal(t, unicode.IsLetter(r), letters.has(r), string(r))
		require.NotEqual(t, letters.has(r), letters.complement().has(r))
	}
	require.True(t, runes{'a', 'c'}.within(letters))
	require.False(t, runes{'a', '~'}.within(letters))
	require.Equal(t, 4, runes{'a', 'c', 'x', 'x'}.len())
}
