package tokenizer_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// rankTokens are the tokens of the vocabulary of families by rank, as bytes.
func rankTokens(f families) (tokens []string) {
	var spelled []string
	for _, r := range pretoken.ByteRunes {
		spelled = append(spelled, string(r))
	}
	slices.Sort(spelled)
	seen := make(map[string]bool)
	for _, m := range f.Merges {
		if text := strings.Replace(m, " ", "", 1); !seen[text] {
			seen[text] = true
			spelled = append(spelled, text)
		}
	}
	for _, text := range spelled {
		var token []byte
		for _, r := range text {
			b, _ := pretoken.ByteOf(r)
			token = append(token, b)
		}
		tokens = append(tokens, string(token))
	}
	return tokens
}

// TestTiktoken: files of ranks get the ids of tiktoken itself. See testdata/tiktoken.mjs.
func TestTiktoken(t *testing.T) {
	path := "testdata/tiktoken.json"
	if other := os.Getenv("GGUFKIT_TEST_TIKTOKEN"); other != "" { // of more strings
		path = other
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	var golden struct{ IDs map[string][]string }
	require.NoError(t, json.Unmarshal(data, &golden))
	f := readFamilies(t)
	tokens := rankTokens(f)
	var ranks strings.Builder
	for rank, token := range tokens {
		fmt.Fprintf(&ranks, "%s %d\n", base64.StdEncoding.EncodeToString([]byte(token)), rank)
	}
	const block = 100
	texts := f.strings(block * len(golden.IDs["hunyuan"]))
	for pre, file := range map[string]string{"kimi-k2": "tiktoken.model", "hunyuan": "hy.tiktoken"} {
		t.Run(pre, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(ranks.String()), 0o644))
			tok := load(t, dir, vocab.Options{Size: int64(len(tokens)) + 300})
			for i, want := range golden.IDs[pre] {
				hash := sha256.New()
				for _, text := range texts[i*block : (i+1)*block] {
					ids := fmt.Sprint(encode(tok, text, tokenizer.Options{}))
					fmt.Fprintln(hash, strings.Trim(ids, "[]"))
				}
				require.Equal(t, want, hex.EncodeToString(hash.Sum(nil))[:8], "strings %d to %d", i*block, (i+1)*block)
			}
		})
	}
}
