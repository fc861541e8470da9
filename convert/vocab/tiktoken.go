package vocab

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
)

// rankFile is a vocabulary of tiktoken: a line for each token, its bytes in base64 and its rank, which is its id
// and says when it is merged. What else there is to know stands in the code that comes with the checkpoint.
type rankFile struct {
	name    string
	pre     string                                       // the way in which its code cuts words
	special func(n int, named map[int64]string) []string // the tokens behind n of the file, those with a name in tokenizer_config.json
}

// rankFiles are those of tokenization_kimi.py and tokenization_hy.py.
var rankFiles = []rankFile{
	{"tiktoken.model", "kimi-k2", func(n int, named map[int64]string) []string {
		texts := make([]string, 256)
		for i := range texts {
			id := n + i
			if texts[i] = named[int64(id)]; texts[i] == "" {
				texts[i] = "<|reserved_token_" + strconv.Itoa(id) + "|>"
			}
		}
		return texts
	}},
	{"hy.tiktoken", "hunyuan", func(int, map[int64]string) []string {
		texts := []string{"<|endoftext|>", "<|startoftext|>", "<|bos|>", "<|eos|>", "<|pad|>"}
		for i := range 205 {
			texts = append(texts, "<|extra_"+strconv.Itoa(i)+"|>")
		}
		return texts
	}},
}

// rankFile returns the file of ranks that the checkpoint has, if any.
func (f *sources) rankFile() (rankFile, bool) {
	i := slices.IndexFunc(rankFiles, func(r rankFile) bool { return f.exists(r.name) })
	if i < 0 {
		return rankFile{}, false
	}
	return rankFiles[i], true
}

// loadRanks adds a vocabulary of tiktoken (DeepseekV2Model.set_vocab in llama.cpp's conversion/deepseek.py).
func (f *sources) loadRanks(kvs *pairs, file rankFile, opts Options) error {
	path := f.path(file.name)
	data, err := sidecar.Read(f.folder, file.name)
	if err != nil {
		return err
	}
	model, t, err := readRanks(data, int(opts.Size))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	listed, err := f.addedTokensDecoder()
	if err != nil {
		return err
	}
	named := make(map[int64]string, len(listed))
	for _, a := range listed {
		named[a.ID] = a.Content
	}
	n := len(model.Vocab)
	special := file.special(n, named)
	for _, a := range listed {
		if i := a.ID - int64(n); i < 0 || i >= int64(len(special)) || special[i] != a.Content {
			f.warnings = append(f.warnings, fmt.Sprintf("%s: the token %.80q with id %d is none of the %d behind those of %s: it is left out", f.path(configFile), a.Content, a.ID, len(special), file.name))
		}
	}
	seen := make(map[string]bool)
	for i, text := range special {
		_, twice := model.Vocab[text]
		switch {
		case twice || seen[text]:
			return fmt.Errorf("%w: %s: the token %.80q with id %d is there twice", gguf.ErrCorrupt, path, text, n+i)
		case n+i < len(t.texts): // others are left out, as there
			t.set(n+i, text, 0, gguf.TokenControl)
		}
		seen[text] = true
	}
	pre := opts.Pre
	if pre == "" {
		pre = file.pre
		f.warnUnreached(model, t.texts, pre)
	}
	t.writeMerged(kvs, pre, model.Merges)
	return nil
}

// readRanks reads the lines of a file of ranks, and finds out which two tokens each one is merged of.
func readRanks(data []byte, size int) (*bytePairs, *tokens, error) {
	corrupt := func(format string, args ...any) (*bytePairs, *tokens, error) {
		return nil, nil, fmt.Errorf("%w: "+format, append([]any{gguf.ErrCorrupt}, args...)...)
	}
	ranks := make(byteRanks)
	byRank := make(map[int]string)
	number := 0
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		number++
		fields := bytes.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return corrupt("line %d has %d fields instead of a token and its rank", number, len(fields))
		}
		token, err := base64.StdEncoding.DecodeString(string(fields[0]))
		if err != nil {
			return corrupt("line %d: the token %.80q: %w", number, fields[0], err)
		}
		rank, err := strconv.Atoi(string(fields[1]))
		text := string(token)
		other, twice := ranks[text]
		switch {
		case err != nil || rank < 0 || rank >= size:
			return corrupt("line %d: rank %.40q, there are %d embeddings", number, fields[1], size)
		case len(text) > longestMerge:
			return corrupt("line %d: a token of %d bytes", number, len(text))
		case twice:
			return corrupt("line %d: the token with rank %d has rank %d, too", number, other, rank)
		}
		if _, twice := byRank[rank]; twice {
			return corrupt("line %d: a second token with rank %d", number, rank)
		}
		ranks[text], byRank[rank] = rank, text
	}
	if text := ranks.lacking(); text != "" {
		return corrupt("no token for the byte %#x", text)
	}
	m, t := &bytePairs{Vocab: make(map[string]int64, len(byRank))}, newTokens(size)
	for rank := range len(byRank) {
		text, ok := byRank[rank]
		if !ok {
			return corrupt("no token with rank %d, of %d", rank, len(byRank))
		}
		spelled := bytesToRunes(text)
		m.Vocab[spelled] = int64(rank)
		t.set(rank, spelled, 0, gguf.TokenNormal)
		if left, right, ok := ranks.last(text, rank); ok {
			m.Merges = append(m.Merges, bytesToRunes(left)+" "+bytesToRunes(right))
		}
	}
	return m, t, nil
}
