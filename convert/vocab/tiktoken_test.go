package vocab_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// rankLines are the lines of the bytes, and of more tokens behind them.
func rankLines(tokens ...string) (lines []string) {
	for b := range 256 {
		tokens = append(tokens, string([]byte{byte(b)}))
	}
	tokens = append(tokens[len(tokens)-256:], tokens[:len(tokens)-256]...)
	for rank, token := range tokens {
		lines = append(lines, fmt.Sprintf("%s %d", base64.StdEncoding.EncodeToString([]byte(token)), rank))
	}
	return lines
}

func writeRanks(t *testing.T, lines []string, config map[string]any) (dir string) {
	dir = t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tiktoken.model"), []byte(strings.Join(lines, "\n")), 0o644))
	testmodel.WriteJSON(t, filepath.Join(dir, "tokenizer_config.json"), config)
	return dir
}

// Files that contradict themselves, or have more tokens than there are embeddings.
func TestRanksRefused(t *testing.T) {
	more := func(lines ...string) []string { return append(rankLines(), lines...) }
	for name, tt := range map[string]struct {
		lines []string
		want  string
	}{
		"no rank":           {more("YWI="), "line 257 has 1 fields"},
		"three fields":      {more("YWI= 256 1"), "line 257 has 3 fields"},
		"no base64":         {more("YW!I= 256"), `line 257: the token "YW!I="`},
		"no number":         {more("YWI= x"), `rank "x"`},
		"beyond 64 bits":    {more("YWI= 99999999999999999999"), `rank "99999999999999999999"`},
		"a huge rank":       {more("YWI= 4294967295"), "there are 600 embeddings"},
		"a negative rank":   {more("YWI= -1"), `rank "-1"`},
		"a token twice":     {more("YQ== 256"), "the token with rank 97 has rank 256, too"},
		"a rank twice":      {more("YWI= 97"), "line 257: a second token with rank 97"},
		"a hole":            {more("YWI= 257"), "no token with rank 256"},
		"a byte is missing": {rankLines()[:255], `no token for the byte 0xff`},
		"nothing":           {nil, "no token for the byte 0x00"},
		"a long token":      {more(base64.StdEncoding.EncodeToString(make([]byte, 1025)) + " 256"), "a token of 1025 bytes"},
		"a special token":   {rankLines("<|reserved_token_257|>"), "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := vocab.Load(writeRanks(t, tt.lines, nil), vocab.Options{Size: 600})
			require.ErrorIs(t, err, gguf.ErrCorrupt)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "tiktoken.model")
		})
	}
	token := map[string]any{"content": "<x>"}
	_, err := vocab.Load(writeRanks(t, rankLines(), map[string]any{"added_tokens_decoder": map[string]any{"256": token, "257": token}}), vocab.Options{Size: 600})
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.ErrorContains(t, err, `"<x>" with id 257 is there twice`)
}

// TestRanks: in any order, with blank lines and other ends of lines; what is only nearly as in the checkpoint is said.
func TestRanks(t *testing.T) {
	lines := rankLines("ab", "abcd", "cd")
	want, err := vocab.Load(writeRanks(t, lines, nil), vocab.Options{Size: 520})
	require.NoError(t, err)
	meta := gguf.NewMetadata(want.Metadata...)
	require.Equal(t, []string{"a b", "c d"}, value[[]string](t, meta, "tokenizer.ggml.merges")) // c and d come together behind abcd
	require.Len(t, want.Warnings, 1)
	require.Contains(t, want.Warnings[0], `"abcd" and others become several tokens`)
	tokens, types := value[[]string](t, meta, "tokenizer.ggml.tokens"), value[[]int32](t, meta, "tokenizer.ggml.token_type")
	require.Equal(t, []string{"cd", "<|reserved_token_259|>", "<|reserved_token_260|>"}, tokens[258:261])
	require.Equal(t, []string{"<|reserved_token_514|>", "[PAD515]"}, tokens[514:516])
	require.Equal(t, []int32{int32(gguf.TokenNormal), int32(gguf.TokenControl)}, types[258:260])
	require.Equal(t, int32(gguf.TokenUnused), types[515])

	mixed := append([]string{"", lines[258], lines[256] + "\r", "  "}, lines[:256]...)
	got, err := vocab.Load(writeRanks(t, append(mixed, lines[257], ""), nil), vocab.Options{Size: 520})
	require.NoError(t, err)
	require.Equal(t, want, got)

	named := map[string]any{"10": map[string]any{"content": "<far>"}, "260": map[string]any{"content": "<near>"}}
	v, err := vocab.Load(writeRanks(t, rankLines(), map[string]any{"added_tokens_decoder": named}), vocab.Options{Size: 280, Pre: "gpt-4o"})
	require.NoError(t, err)
	meta = gguf.NewMetadata(v.Metadata...)
	require.Equal(t, "<near>", value[[]string](t, meta, "tokenizer.ggml.tokens")[260])
	require.Equal(t, "gpt-4o", value[string](t, meta, "tokenizer.ggml.pre"))
	require.Len(t, v.Warnings, 1)
	require.Contains(t, v.Warnings[0], `"<far>" with id 10`)
}

func FuzzRanks(f *testing.F) {
	all := strings.Join(rankLines("ab", "abcd", "cd"), "\n")
	f.Add([]byte(all))
	f.Add([]byte(all + "\n" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("ab", 500))) + " 259"))
	f.Add([]byte("YQ== 0\nYg== 0"))
	f.Add([]byte("YQ== 18446744073709551616\n\n= 1"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tiktoken.model"), data, 0o644))
		v, err := vocab.Load(dir, vocab.Options{Size: 600})
		if err != nil {
			require.True(t, errors.Is(err, gguf.ErrCorrupt), err)
			require.ErrorContains(t, err, "tiktoken.model")
			return
		}
		require.Len(t, value[[]string](t, gguf.NewMetadata(v.Metadata...), "tokenizer.ggml.tokens"), 600)
	})
}
