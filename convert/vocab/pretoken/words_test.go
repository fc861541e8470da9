package pretoken

import (
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSplit compares with the words of Hugging Face's pre-tokenizers.
func TestSplit(t *testing.T) {
	var golden struct {
		Cases []struct {
			Text  string
			Words map[string][]int // bytes in each word, by pre-tokenizer
		}
	}
	data, err := os.ReadFile("../../../infer/tokenizer/testdata/bytelevel.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &golden))
	require.NotEmpty(t, golden.Cases)
	for _, c := range golden.Cases {
		require.Len(t, c.Words, 4)
		for name, want := range c.Words {
			p, ok := Find(name)
			require.True(t, ok)
			got := []int{}
			p.Split(c.Text, func(word string) { got = append(got, len(word)) })
			require.Equal(t, want, got, "%s: %q", name, c.Text)
		}
	}
}

// longRuns calls check with texts of so many bytes that repeat what expressions tell apart.
func longRuns(size int, check func(text string)) {
	for _, unit := range []string{" ", "\n", "\r\n ", "a", "A", "1", "'", "!", "\xff", "한", "\u3000", " é", "a ", "é ", "१", "½", "<sentinel:", "IMG"} {
		text := strings.Repeat(unit, size/len(unit))
		for _, end := range []string{"", "ж", "!"} {
			check(text + end)
		}
	}
}

// Functions do not take quadratic time for long runs, in which this test would not end.
func TestFunctionsLongRuns(t *testing.T) {
	functions := maps.Clone(byHand)
	for _, p := range table {
		if p.split != nil {
			functions[p.Names[0]] = p.split
		}
	}
	for name, split := range functions {
		longRuns(1<<16, func(text string) {
			n := 0
			split(text, func(word string) { n += len(word) })
			require.Equal(t, len(text), n, "%s: %.10q", name, text)
		})
	}
}

// Expressions take time proportional to the text.
func TestSplitLongRuns(t *testing.T) {
	const steps = 100 // for each byte
	for _, p := range families {
		longRuns(1<<12, func(text string) {
			n := 0
			require.True(t, p.splitter().split(text, steps*len(text), func(word string) { n += len(word) }), "%s: %.10q", p.Names[0], text)
			require.Equal(t, len(text), n, "%s: %.10q", p.Names[0], text)
		})
	}
}
