package vocab_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// restore returns what is loaded of the files that are made of a vocabulary.
func restore(t *testing.T, kvs []gguf.KV, opts vocab.Options) []gguf.KV {
	r, err := vocab.Restore(gguf.NewMetadata(kvs...), opts.Rules)
	require.NoError(t, err)
	dir := t.TempDir()
	for name, data := range r.Files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	testmodel.WriteJSON(t, filepath.Join(dir, "config.json"), r.Config)
	v, err := vocab.Load(dir, opts)
	require.NoError(t, err)
	return v.Metadata
}

// lossy are the cases of which a tokenizer would be needed that GGUF tells too little of: that
// takes accents away, or has several tokens for the end.
var lossy = map[string]bool{
	"n-seq": true, "n-bert1": true, "n-bert2": true, "p-tmpl-twice": true, "p-tmpl-twice-sc": true, "p-tmpl-twice-nobe": true, "p-rob34-nobe": true,
}

// TestRestorePeer: vocabularies of all kinds come back.
func TestRestorePeer(t *testing.T) {
	for name, c := range peerCases(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.write(t, dir, name[:1])
			opts := vocab.Options{Size: c.Size, Rules: vocab.Rules{Llama: c.Architecture == "llama"}}
			v, err := vocab.Load(dir, opts)
			require.NoError(t, err)
			back := restore(t, v.Metadata, opts)
			if lossy[name] {
				require.NotElementsMatch(t, v.Metadata, back)
				return
			}
			require.ElementsMatch(t, v.Metadata, back) // those without roles in tokenizer_config.json may come in another order
		})
	}
}

// TestRestoreKinds: so do those that are not byte-level BPE, in the order of the keys that transformers'
// files bring about.
func TestRestoreKinds(t *testing.T) {
	for name, c := range kindCases(t) {
		t.Run(name, func(t *testing.T) {
			opts := c.options(name)
			v, err := vocab.Load(c.write(t), opts)
			require.NoError(t, err)
			want := slices.DeleteFunc(slices.Clone(v.Metadata), func(kv gguf.KV) bool {
				return name == "tekken" && kv.Key == "tokenizer.ggml.scores" // zeros, which only Mistral's files have
			})
			require.ElementsMatch(t, want, restore(t, v.Metadata, opts))
		})
	}
}

// TestRestoreRules: what classes add to the keys comes back in the same order.
func TestRestoreRules(t *testing.T) {
	const base = "../../testdata/beyonder-mini/base/"
	pad, unk := vocab.RoleID{Role: "pad", ID: 0}, vocab.RoleID{Role: "unk", ID: 1}
	for name, rules := range map[string]vocab.Rules{
		"another end of turns": {NoSpacePrefix: true, IDs: []vocab.RoleID{{Role: "eot", ID: 107}}},
		"known to no file":     {IDs: []vocab.RoleID{pad, unk}},
		"of a file":            {IDs: []vocab.RoleID{{Role: "bos", ID: 1}, pad}},
		"a space in front":     {SpacePrefix: true},
		"all of Llama's":       {Llama: true},
	} {
		for _, prefix := range []any{nil, true, false} {
			dir := t.TempDir()
			tokenizer, err := os.ReadFile(base + "tokenizer.model")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.model"), tokenizer, 0o644))
			testmodel.WriteJSON(t, filepath.Join(dir, "tokenizer_config.json"), map[string]any{"bos_token": "<s>", "eos_token": "</s>", "add_prefix_space": prefix})
			opts := vocab.Options{Size: 512, Rules: rules}
			v, err := vocab.Load(dir, opts)
			require.NoError(t, err, name)
			require.Equal(t, v.Metadata, restore(t, v.Metadata, opts), name)
		}
	}
}

// TestRestoreRefused: what no checkpoint of a vocabulary could say, or contradicts itself.
func TestRestoreRefused(t *testing.T) {
	tokens := func(kvs ...gguf.KV) []gguf.KV {
		return append([]gguf.KV{{Key: "tokenizer.ggml.tokens", Value: []string{"<unk>", "a"}}, {Key: "tokenizer.ggml.token_type", Value: []int32{2, 1}}}, kvs...)
	}
	model := func(name string) gguf.KV { return gguf.KV{Key: "tokenizer.ggml.model", Value: name} }
	for name, c := range map[string]struct {
		kvs  []gguf.KV
		want error
	}{
		"no tokens":         {[]gguf.KV{model("llama")}, gguf.ErrNoKey},
		"no kind":           {tokens(), gguf.ErrNoKey},
		"another kind":      {tokens(model("rwkv")), gguf.ErrUnsupported},
		"scores of others":  {tokens(model("llama"), gguf.KV{Key: "tokenizer.ggml.scores", Value: []float32{1}}), gguf.ErrCorrupt},
		"no pre-tokenizer":  {tokens(model("gpt2")), gguf.ErrNoKey},
		"another way":       {tokens(model("gpt2"), gguf.KV{Key: "tokenizer.ggml.pre", Value: "unheard of"}), gguf.ErrUnsupported},
		"bytes":             {[]gguf.KV{model("gpt2"), {Key: "tokenizer.ggml.tokens", Value: []string{"\xff"}}}, gguf.ErrUnsupported},
		"a token twice":     {[]gguf.KV{model("llama"), {Key: "tokenizer.ggml.tokens", Value: []string{"<unk>", "a", "a"}}}, gguf.ErrCorrupt},
		"nothing unknown":   {[]gguf.KV{model("llama"), {Key: "tokenizer.ggml.tokens", Value: []string{"a"}}}, gguf.ErrUnsupported},
		"merges of numbers": {tokens(model("gpt2"), gguf.KV{Key: "tokenizer.ggml.pre", Value: "qwen2"}, gguf.KV{Key: "tokenizer.ggml.merges", Value: []int32{1}}), gguf.ErrCorrupt},
	} {
		_, err := vocab.Restore(gguf.NewMetadata(c.kvs...), vocab.Rules{})
		require.ErrorIs(t, err, c.want, name)
	}
}
