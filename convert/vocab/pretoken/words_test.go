package pretoken

import (
	"encoding/json"
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

// Long runs do not take quadratic time, in which this test would not end.
func TestSplitLongRuns(t *testing.T) {
	for _, p := range table {
		name := p.Names[0]
		for _, unit := range []string{" ", "\n", "\r\n ", "a", "1", "'", "!", "\xff", "한", "\u3000", " é"} {
			text := strings.Repeat(unit, 1<<16/len(unit))
			for _, text := range []string{text, text + "ж", text + "!"} {
				n := 0
				p.Split(text, func(word string) { n += len(word) })
				require.Equal(t, len(text), n, "%s: %q", name, unit)
			}
		}
	}
}
