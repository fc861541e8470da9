package tokenizer_test

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// families is testdata/families.json.gz: see testdata/families.py.
type families struct {
	Pieces []string
	Ranges [][2]int
	Merges []string
	NFC    [][2]string         // texts and what they are in normal form C
	IDs    map[string][]string // hashes of the words and ids of each hundred strings
}

func readFamilies(t *testing.T) (f families) {
	file, err := os.Open("testdata/families.json.gz")
	require.NoError(t, err)
	defer file.Close()
	data, err := gzip.NewReader(file)
	require.NoError(t, err)
	require.NoError(t, json.NewDecoder(data).Decode(&f))
	return f
}

// strings returns the first n random strings.
func (f *families) strings(n int) []string {
	state := uint32(1)
	below := func(n int) int {
		state = state*1664525 + 1013904223
		return int(uint64(state) * uint64(n) >> 32)
	}
	list := make([]string, n)
	for i := range list {
		var b strings.Builder
		for range 1 + below(25) {
			if below(5) < 3 {
				b.WriteString(f.Pieces[below(len(f.Pieces))])
				continue
			}
			from := f.Ranges[below(len(f.Ranges))]
			for range 1 + below(3) {
				b.WriteRune(rune(from[0] + below(from[1]-from[0]+1)))
			}
		}
		list[i] = b.String()
	}
	return list
}

// TestFamilies compares the words and ids of random strings with those of Hugging Face's tokenizers.
func TestFamilies(t *testing.T) {
	golden := readFamilies(t)
	var whole vocabulary
	for _, token := range []string{"Ġunmerged", "unmerged", "Zq"} {
		whole.add(token, 0, normal)
	}
	const block = 100
	texts := golden.strings(block * len(golden.IDs["gpt-2"]))
	names := pretoken.Known()
	for name := range golden.IDs {
		require.Contains(t, names, name)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			tok, err := tokenizer.New(byteLevel(name, golden.Merges, whole))
			require.NoError(t, err)
			p, _ := pretoken.Find(name)
			want, ok := golden.IDs[name]
			if !ok { // cut as another, only flags differ
				for other := range golden.IDs {
					if q, _ := pretoken.Find(other); q.Expressions[0] == p.Expressions[0] && len(q.Expressions) == len(p.Expressions) {
						return
					}
				}
				require.Fail(t, "no golden data")
			}
			for i, hash := range want {
				h := sha256.New()
				for _, text := range texts[block*i : block*(i+1)] {
					var line []int32
					p.Split(text, func(word string) { line = append(line, int32(len(word))) })
					line = append(line, tok.Encode(text, tokenizer.Options{})...)
					fmt.Fprintln(h, strings.Trim(fmt.Sprint(line), "[]"))
				}
				require.Equal(t, hash, hex.EncodeToString(h.Sum(nil))[:8], "strings %d to %d", block*i, block*(i+1)-1)
			}
		})
	}
}

// TestNFC compares normal forms with those of Hugging Face's tokenizers, by the bytes of tokens.
func TestNFC(t *testing.T) {
	meta := byteLevel("qwen2", []string{"a b"})
	meta.Set("tokenizer.ggml.normalizer.nfc", true)
	tok, err := tokenizer.New(meta)
	require.NoError(t, err)
	golden := readFamilies(t)
	require.NotEmpty(t, golden.NFC)
	for _, c := range golden.NFC {
		require.Equal(t, c[1], tok.Decode(tok.Encode(c[0], tokenizer.Options{})), "%+q", c[0])
	}
	long := strings.Repeat("\u0323\u0301", 1<<15)
	require.Equal(t, "ạ"+strings.Repeat("\u0323", 1<<15-1)+strings.Repeat("\u0301", 1<<15), tok.Decode(tok.Encode("a"+long, tokenizer.Options{})))
}
