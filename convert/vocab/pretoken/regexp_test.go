package pretoken

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/dlclark/regexp2/v2"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// engine cuts words by running the expressions of a pre-tokenizer, which need look-ahead.
type engine struct {
	*PreTokenizer
	steps []*regexp2.Regexp
}

// engines are those of all pre-tokenizers.
func engines(t testing.TB) []engine {
	var all []engine
	for _, p := range table {
		if len(p.Spelled) > 0 {
			continue // TestSpelled
		}
		e := engine{PreTokenizer: p}
		for _, expression := range p.Expressions {
			// To Oniguruma the long s is another s, as in Unicode; not so to this engine.
			expression = strings.NewReplacer(`(?i:'s|`, `(?i:'[sſ]|`, `(?i:[sdmt]|`, `(?i:[sſdmt]|`, `&&[^`, `-[`, `\b`, strings.ReplaceAll(`(?:(?<=W)(?!W)|(?<!W)(?=W))`, "W", `[\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}²³¹¼-¾Ⓐ-ⓩ]`),
				`[^\r\n\p{L}\p{N}]?+`, `(?>[^\r\n\p{L}\p{N}]?)`, `[^\s\p{L}\p{N}]++`, `(?>[^\s\p{L}\p{N}]+)`).Replace(expression)
			step, err := regexp2.Compile(expression)
			require.NoError(t, err)
			e.steps = append(e.steps, step)
		}
		all = append(all, e)
	}
	return all
}

func (e engine) words(t require.TestingT, text string) []string {
	words := []string{text}
	for _, step := range e.steps {
		var parts []string
		for _, word := range words {
			cuts := []int{0, len(word)}
			m, err := step.FindStringMatch(word)
			for ; m != nil; m, err = step.FindNextMatch(m) {
				start, length := m.ByteRange()
				cuts = append(cuts, start, start+length)
			}
			require.NoError(t, err)
			slices.Sort(cuts)
			cuts = slices.Compact(cuts)
			for i := range cuts[1:] {
				parts = append(parts, word[cuts[i]:cuts[i+1]])
			}
		}
		words = parts
	}
	return words
}

// check compares what splits with the engine, which knows no Unicode but Go's: TestHuggingFace has what is newer.
func (e engine) check(t require.TestingT, text string) {
	text = strings.Map(func(r rune) rune {
		for _, set := range newer {
			if set.has(r) {
				return 'é'
			}
		}
		return r
	}, text)
	var got []string
	e.Split(text, func(word string) { got = append(got, word) })
	if want := e.words(t, text); !slices.Equal(want, got) { // whose difference takes quadratic time to print
		at := 0
		for at < min(len(want), len(got)) && want[at] == got[at] {
			at++
		}
		require.Failf(t, "cut otherwise", "%s: from word %d on %.10q instead of %.10q", e.Names[0], at, got[at:min(at+4, len(got))], want[at:min(at+4, len(want))])
	}
}

func TestSplitTexts(t *testing.T) {
	texts, err := filepath.Glob("../../../testdata/texts/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, texts)
	for _, path := range texts {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, e := range engines(t) {
			e.check(t, string(text[:min(len(text), 1<<12)])) // the engine takes quadratic time
		}
	}
}

// TestSplitCharacters has the characters at and beside the ends of all ranges that expressions
// tell apart, each next to what it might belong to.
func TestSplitCharacters(t *testing.T) {
	var b strings.Builder
	for i, r := range slices.Concat(tables(unicode.L), tables(unicode.M), tables(unicode.N), tables(unicode.White_Space), tables(unicode.P),
		class(deepSeekLetters), class(deepSeekPunctuation), class(deepSeekIdeographs)) {
		for _, r := range []rune{r - 1, r, r + 1} {
			b.WriteRune(r)
			b.WriteString([]string{"", "a", " ", "1", "\n", "!", "中"}[i%7])
		}
	}
	for _, e := range engines(t) {
		e.check(t, b.String())
	}
}

// pieces are what expressions tell apart.
var pieces = []string{
	"'", "'s", "'S", "'ſ", "'lL", "'re", "'Ve", "I'd", "a", "Z", "é", "é", "ǅ", "ª", "中", "한", "ก", "ь", "\u0301", "1", "12", "٣", "Ⅷ", "½", " ", "  ", "\t", "\n", "\r\n", "\u0085",
	"\u00a0", "\u2028", "\u3000", "\u200b", "!", "...", "-", "，", "。", "‘", "’", "～", "😀", "\U0001f468\u200d\U0001f469", "\ufffd", "\xff", "\xe2\x82", "\x00", "_",
}

// TestSplitPairs has every piece after every other.
func TestSplitPairs(t *testing.T) {
	var b strings.Builder
	for _, first := range pieces {
		for _, second := range pieces {
			b.WriteString(first + second)
		}
	}
	for _, e := range engines(t) {
		e.check(t, b.String())
	}
}

// TestSplitRandom draws texts from pieces and from all of Unicode.
func TestSplitRandom(t *testing.T) {
	all := engines(t)
	piece := rapid.OneOf(rapid.SampledFrom(pieces), rapid.StringN(0, 3, -1))
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(piece, 0, 300).Draw(t, "text"), "")
		for _, e := range all {
			e.check(t, text)
		}
	})
}

func FuzzSplit(f *testing.F) {
	for _, text := range []string{"", "I'll 'LL 1234\r\n\n  x", " \u3000。\xff\xfe !", "한국어 x  ", "\u00a0\u0085a", "'ſ"} {
		f.Add(text)
	}
	all := engines(f)
	f.Fuzz(func(t *testing.T, text string) {
		for _, e := range all {
			e.check(t, text[:min(len(text), 1<<10)]) // the engine takes quadratic time for spaces
		}
	})
}
