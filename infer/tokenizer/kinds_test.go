package tokenizer_test

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// kinds are vocabularies that are not byte-level BPE, as checkpoints have them, and the ids that Hugging
// Face's tokenizers and SentencePiece give to texts. See testdata/kinds.py.
type kinds struct {
	Files map[string]map[string]any
	Cases []struct {
		Text string
		IDs  map[string][]int32
	}
}

func readKinds(t *testing.T) (k kinds) {
	path := "testdata/kinds.json.gz"
	if other := os.Getenv("GGUFKIT_TEST_KINDS"); other != "" { // more of them
		path = other
	}
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	require.NoError(t, json.NewDecoder(z).Decode(&k))
	return k
}

// write writes the files of a vocabulary.
func (k kinds) write(t *testing.T, name, dir string) {
	for file, content := range k.Files[name] {
		data, err := json.Marshal(content)
		if text, ok := content.(string); ok {
			data, err = base64.StdEncoding.DecodeString(text)
		}
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), data, 0o644))
	}
}

func load(t *testing.T, dir string, opts vocab.Options) *tokenizer.Tokenizer {
	v, err := vocab.Load(dir, opts)
	require.NoError(t, err)
	tok, err := tokenizer.New(gguf.NewMetadata(v.Metadata...))
	require.NoError(t, err)
	return tok
}

// TestKinds: texts get the ids of the peers.
func TestKinds(t *testing.T) {
	k := readKinds(t)
	for name := range k.Files {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			k.write(t, name, dir)
			opts := vocab.Options{Size: 800, Rules: vocab.Rules{Gemma4: strings.HasPrefix(name, "gemma4")}}
			tok := load(t, dir, opts)
			parse := !strings.HasPrefix(name, "unigram") // SentencePiece takes no text for a token
			for _, c := range k.Cases {
				require.Equal(t, c.IDs[name], encode(tok, c.Text, tokenizer.Options{ParseSpecial: parse}), "%q", c.Text)
			}
		})
	}
}
