package vocab

import (
	"fmt"
	"strconv"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
	"github.com/ggufkit/ggufkit/gguf"
)

// tekkenJSON is tekken.json, the tokenizer of Mistral's own checkpoints (class Tekkenizer of
// mistral-common): byte-level BPE by rank, with control tokens in front.
type tekkenJSON struct {
	Config struct {
		Pattern string `json:"pattern"`
		Size    int64  `json:"default_vocab_size"`
		Special int64  `json:"default_num_special_tokens"`
		Version string `json:"version"`
	} `json:"config"`
	Vocab []struct {
		Rank  int64  `json:"rank"`
		Bytes []byte `json:"token_bytes"` // as base64
	} `json:"vocab"`
	Special []struct {
		Rank int64  `json:"rank"`
		Text string `json:"token_str"`
	} `json:"special_tokens"`
}

// tekkenSpecial are the control tokens of files that list none, those of versions up to 7.
var tekkenSpecial = []string{
	"<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]",
	"[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
}

// loadTekken adds a vocabulary of tekken.json (TextModel._set_vocab_mistral in llama.cpp's
// conversion/base.py, MistralVocab in gguf-py). A chat template is what the checkpoint has, where
// convert_hf_to_gguf.py takes one of llama.cpp's by the tokenizer's version.
func (f *sources) loadTekken(kvs *pairs, opts Options) error {
	path := f.path(tekkenFile)
	var file tekkenJSON
	if err := sidecar.ReadJSON(f.folder, tekkenFile, &file); err != nil {
		return err
	}
	t, err := file.read(int(opts.Size))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	pre := opts.Pre
	if pre == "" {
		whole := false
		words := &preTokenizer{Type: "Sequence", PreTokenizers: []*preTokenizer{
			{Type: "Split", Pattern: pattern{Regex: file.Config.Pattern}, Behavior: "Isolated"}, {Type: "ByteLevel", UseRegex: &whole},
		}}
		if pre, f.warnings, err = words.name(opts.Rules.Pre); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	kvs.set("tokenizer.ggml.model", "gpt2")
	kvs.set("tokenizer.ggml.pre", pre)
	kvs.set("tokenizer.ggml.merges", t.merges)
	for _, role := range []string{"bos", "eos", "unk", "pad"} {
		kvs.set(idKeys[role], t.roles[role])
	}
	kvs.set("tokenizer.ggml.tokens", t.texts)
	kvs.set("tokenizer.ggml.scores", make([]int32, len(t.texts))) // whole numbers, as there
	kvs.set("tokenizer.ggml.token_type", t.types)
	kvs.set(addKeys["bos"], true)
	kvs.set(addKeys["eos"], false)
	if len(f.config) == 0 {
		f.config = map[string]any{"": nil} // so that templates beside it count
	}
	return f.chatTemplate(kvs)
}

// tekkenTokens is what a tekken.json says.
type tekkenTokens struct {
	*tokens
	merges []string
	roles  map[string]uint32
}

func (file *tekkenJSON) read(size int) (*tekkenTokens, error) {
	corrupt := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{gguf.ErrCorrupt}, args...)...)
	}
	c := file.Config
	special, inner := int(c.Special), int(c.Size-c.Special)
	names := tekkenSpecial
	if file.Special != nil {
		names = make([]string, len(file.Special))
		for i, t := range file.Special {
			if t.Rank != int64(i) {
				return nil, corrupt("special_tokens: %.80q has rank %d and comes as number %d", t.Text, t.Rank, i)
			}
			names[i] = t.Text
		}
	}
	switch {
	case c.Special < 0 || c.Size < c.Special || c.Size > maxPieces:
		return nil, corrupt("a vocabulary of %d tokens, %d of them special", c.Size, c.Special)
	case c.Size > int64(size):
		return nil, corrupt("a vocabulary of %d tokens, there are %d embeddings", c.Size, size)
	case len(names) > special:
		return nil, corrupt("%d special tokens instead of %d", len(names), special)
	case inner > len(file.Vocab) || inner < 256:
		return nil, corrupt("%d tokens of bytes, %d are needed", len(file.Vocab), inner)
	}
	t := &tekkenTokens{tokens: newTokens(size), roles: make(map[string]uint32)}
	seen := make(map[string]bool)
	for id := range special {
		text := "<SPECIAL_" + strconv.Itoa(id) + ">"
		if id < len(names) {
			text = names[id]
		}
		if seen[text] {
			return nil, corrupt("special token %.80q twice", text)
		}
		seen[text] = true
		t.set(id, text, 0, gguf.TokenControl)
		for role, name := range map[string]string{"bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": "<pad>"} {
			if text == name {
				t.roles[role] = uint32(id)
			}
		}
	}
	for _, role := range []string{"bos", "eos", "unk", "pad"} {
		if _, ok := t.roles[role]; !ok {
			return nil, corrupt("no special token for the role %s", role)
		}
	}
	ranks := make(byteRanks, inner)
	for i, token := range file.Vocab[:inner] {
		text := string(token.Bytes)
		other, twice := ranks[text]
		switch {
		case token.Rank != int64(i):
			return nil, corrupt("token %d has rank %d", i, token.Rank)
		case i < 256 && text != string([]byte{byte(i)}):
			return nil, corrupt("token %d is not that byte", i)
		case twice:
			return nil, corrupt("tokens %d and %d are the same", other, i)
		}
		ranks[text] = i
		t.set(special+i, bytesToRunes(text), 0, gguf.TokenNormal)
	}
	for i, token := range file.Vocab[256:inner] {
		merges := ranks.pairs(string(token.Bytes))
		if len(merges) == 0 {
			return nil, corrupt("token %d is not of two others", i+256)
		}
		t.merges = append(t.merges, merges...)
	}
	return t, nil
}
