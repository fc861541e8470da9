package pretoken

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMachine compares with the words of Hugging Face's Split.
func TestMachine(t *testing.T) {
	file, err := os.Open("../../../infer/tokenizer/testdata/families.json.gz")
	require.NoError(t, err)
	defer file.Close()
	data, err := gzip.NewReader(file)
	require.NoError(t, err)
	var golden struct {
		Texts []string
		Cuts  [][4]any // expression, behaviour, whether it is inverted, hash of the lengths of words
	}
	require.NoError(t, json.NewDecoder(data).Decode(&golden))
	require.NotEmpty(t, golden.Cuts)
	for _, c := range golden.Cuts {
		s, err := newStep(c[0].(string))
		require.NoError(t, err)
		switch {
		case c[1] == "Isolated":
		case (c[1] == "MergedWithPrevious") == c[2].(bool):
			s.edges = Starts
		default:
			s.edges = Ends
		}
		words := make([][]int, len(golden.Texts))
		m := &machine{steps: noLimit}
		for i, text := range golden.Texts {
			m.chain([]step{s}, text, func(word string) { words[i] = append(words[i], len(word)) })
		}
		lengths, err := json.Marshal(words)
		require.NoError(t, err)
		hash := sha256.Sum256(lengths)
		require.Equal(t, c[3], hex.EncodeToString(hash[:])[:8], "%q %s, inverted: %t", c[0], c[1], c[2])
	}
}

// FuzzMachine runs any expression: its words are the text, and it ends.
func FuzzMachine(f *testing.F) {
	for _, p := range table {
		for _, e := range p.Expressions {
			f.Add(e, "It's 12 345 HelloWorld!\r\n  中文 é")
		}
	}
	for _, e := range []string{`(?<=a)(?<!b)^\b$`, `(a|aa)+?b`, `(?>a+)a`, `(a{0,3}b){2,}`, `(?:a+)+$`} {
		f.Add(e, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xffab")
	}
	f.Fuzz(func(t *testing.T, expression, text string) {
		s, err := newStep(expression)
		if err != nil {
			return
		}
		for s.edges = range Ends + 1 {
			m := &machine{steps: 1 << 16}
			var b strings.Builder
			m.chain([]step{s}, text, func(word string) { b.WriteString(word) })
			require.Equal(t, text, b.String())
		}
	})
}
