package vocab_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

type object = map[string]any

// load writes a tokenizer and the given files, and returns the pairs.
func load(t *testing.T, size int64, files map[string]any) (*gguf.Metadata, error) {
	dir := t.TempDir()
	testmodel.WriteTokenizer(t, dir)
	for name, content := range files {
		if text, ok := content.(string); ok {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		} else {
			testmodel.WriteJSON(t, filepath.Join(dir, name), content)
		}
	}
	v, err := vocab.Load(dir, vocab.Options{Size: size, Rules: vocab.Rules{Llama: true}})
	if err != nil {
		return nil, err
	}
	return gguf.NewMetadata(v.Metadata...), nil
}

func value[T any](t *testing.T, m *gguf.Metadata, key string) T {
	v, err := gguf.Value[T](m, key)
	require.NoError(t, err)
	return v
}

func TestTokens(t *testing.T) {
	m, err := load(t, 280, map[string]any{
		"added_tokens.json":     `{"first": 273, "second": 273, "piece": 5, "beyond": 280}`,
		"tokenizer_config.json": `{"added_tokens_decoder": {"274": {"content": "a▁b"}, "275": {"content": "<|x|>"}, "276": {"content": "c", "special": true}, "999": {"content": "d"}}}`,
	})
	require.NoError(t, err)
	texts := value[[]string](t, m, "tokenizer.ggml.tokens")
	scores := value[[]float32](t, m, "tokenizer.ggml.scores")
	types := value[[]int32](t, m, "tokenizer.ggml.token_type")
	require.Len(t, texts, 280)
	require.Len(t, scores, 280)
	require.Len(t, types, 280)
	for _, want := range []struct {
		id    int
		text  string
		score float32
		typ   gguf.TokenType
	}{
		{0, "<unk>", 0, gguf.TokenUnknown},
		{1, "<s>", 0, gguf.TokenControl},
		{5, "piece", -1000, gguf.TokenUserDefined},
		{6, "<0x03>", 0, gguf.TokenByte},
		{260, "e", -1, gguf.TokenNormal},
		{271, "<user>", 0, gguf.TokenNormal},
		{272, "[PAD272]", -10000, gguf.TokenUnused},
		{273, "second", -1000, gguf.TokenUserDefined},
		{274, "a b", -1000, gguf.TokenUserDefined},
		{275, "<|x|>", -1000, gguf.TokenControl},
		{276, "c", -1000, gguf.TokenControl},
	} {
		require.Equal(t, want.text, texts[want.id])
		require.Equal(t, want.score, scores[want.id], want.text)
		require.Equal(t, int32(want.typ), types[want.id], want.text)
	}

	m, err = load(t, 100, nil)
	require.NoError(t, err)
	require.Len(t, value[[]string](t, m, "tokenizer.ggml.tokens"), 100)
}

func TestSpecialTokens(t *testing.T) {
	added := []object{{"id": 1, "content": "<s>"}, {"id": 2, "content": "</s>"}, {"id": 300, "content": "<far>"}}
	for name, tt := range map[string]struct {
		files map[string]any
		want  object // pairs among the ids and flags, all of them
	}{
		"none": {nil, object{}},
		"config.json": {
			map[string]any{"config.json": object{"bos_token_id": 1, "eos_token_id": []int{2, 3}, "pad_token_id": 300, "unk_token_id": nil}},
			object{"bos_token_id": uint32(1)},
		},
		"by name, before config.json": {
			map[string]any{
				"tokenizer.json":        object{"added_tokens": added},
				"tokenizer_config.json": object{"bos_token": object{"content": "</s>"}, "eos_token": "unheard of", "pad_token": "<far>", "add_bos_token": true, "add_sep_token": nil},
				"config.json":           object{"bos_token_id": 1, "eos_token_id": 2},
			},
			object{"bos_token_id": uint32(2), "eos_token_id": uint32(2), "add_bos_token": true},
		},
		"post-processor of bytes": {
			map[string]any{
				"tokenizer.json":        object{"post_processor": object{"type": "Sequence", "processors": []object{{"type": "ByteLevel"}}}},
				"tokenizer_config.json": object{"add_bos_token": true},
			},
			object{"add_bos_token": false, "add_eos_token": false},
		},
		"Code Llama": {nil, object{"eot_token_id": uint32(32010)}},
	} {
		t.Run(name, func(t *testing.T) {
			size := int64(280)
			if name == "Code Llama" {
				size = 32016
			}
			m, err := load(t, size, tt.files)
			require.NoError(t, err)
			got := object{}
			for _, kv := range m.All() {
				switch key := kv.Key[len("tokenizer.ggml."):]; key {
				case "model", "pre", "tokens", "scores", "token_type":
				default:
					got[key] = kv.Value
				}
			}
			require.Equal(t, tt.want, got)
		})
	}
}

func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]any
		want  string
	}{
		"not protobuf":   {map[string]any{"tokenizer.model": "\xff\xff"}, "tokenizer.model"},
		"tiktoken":       {map[string]any{"tokenizer.model": "IQ== 0\nIg== 1\n"}, "not a SentencePiece model"},
		"no unknown":     {map[string]any{"tokenizer.model": ""}, "no piece of type unknown"},
		"negative id":    {map[string]any{"added_tokens.json": `{"a": -1}`}, `"a"`},
		"id in words":    {map[string]any{"added_tokens.json": `{"a": "one"}`}, "/a"},
		"list":           {map[string]any{"added_tokens.json": `["a"]`}, "added_tokens.json"},
		"broken":         {map[string]any{"tokenizer_config.json": `{`}, "tokenizer_config.json"},
		"decoder id":     {map[string]any{"tokenizer_config.json": `{"added_tokens_decoder": {"x": {"content": "a"}}}`}, `"x"`},
		"no content":     {map[string]any{"tokenizer_config.json": `{"added_tokens_decoder": {"3": {}}}`}, "token 3"},
		"decoder null":   {map[string]any{"tokenizer_config.json": `{"added_tokens_decoder": null}`}, "tokenizer_config.json"},
		"tokenizer.json": {map[string]any{"tokenizer.json": `[]`}, "tokenizer.json"},
		"special id":     {map[string]any{"config.json": object{"bos_token_id": -5}}, "bos"},
		"template":       {map[string]any{"tokenizer_config.json": object{"chat_template": []string{"a"}}}, "chat_template"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, 280, tt.files)
			require.ErrorIs(t, err, gguf.ErrCorrupt)
			require.ErrorContains(t, err, tt.want)
		})
	}
	_, err := load(t, 1<<40, nil)
	require.ErrorIs(t, err, gguf.ErrCorrupt)
}

// What SentencePiece does to texts and GGUF cannot say of its BPE is said.
func TestUnsaid(t *testing.T) {
	for name, c := range map[string]struct {
		normalizer string // fields of NormalizerSpec
		rules      vocab.Rules
		want       []string
	}{
		"as it is":    {"\x20\x00", vocab.Rules{}, nil},
		"all":         {"\x12\x01x\x18\x00\x20\x01", vocab.Rules{}, []string{"precompiled_charsmap", "remove_extra_whitespaces", "add_dummy_prefix"}},
		"in the file": {"\x18\x00\x20\x00", vocab.Rules{NoSpacePrefix: true}, nil},
	} {
		dir := t.TempDir()
		model := append(testmodel.SentencePiece(), "\x1a"+string(rune(len(c.normalizer)))+c.normalizer...)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.model"), model, 0o644))
		v, err := vocab.Load(dir, vocab.Options{Size: 300, Rules: c.rules})
		require.NoError(t, err, name)
		require.Len(t, v.Warnings, len(c.want), name)
		for i, want := range c.want {
			require.Contains(t, v.Warnings[i], want)
		}
	}
}

func TestNoSentencePiece(t *testing.T) {
	dir := t.TempDir()
	_, err := vocab.Load(dir, vocab.Options{Size: 10, Rules: vocab.Rules{Llama: true}})
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestRealSentencePiece(t *testing.T) {
	data, err := os.ReadFile("../../testdata/beyonder-mini/base/tokenizer.model")
	require.NoError(t, err)
	model, err := vocab.ParseSentencePiece(data)
	require.NoError(t, err)
	pieces := model.Pieces
	require.False(t, model.Unigram)
	require.Len(t, pieces, 4094)
	require.Equal(t, vocab.Piece{Text: "<unk>", Type: gguf.TokenUnknown}, pieces[0])
	require.Equal(t, vocab.Piece{Text: "<0x0A>", Type: gguf.TokenByte}, pieces[13])
	for n := range 2000 { // cut inside a piece or losing the unknown piece it may not panic
		_, err := vocab.ParseSentencePiece(data[:n])
		if err != nil {
			require.ErrorIs(t, err, gguf.ErrCorrupt)
		}
	}
}

func FuzzParseSentencePiece(f *testing.F) {
	f.Add(testmodel.SentencePiece())
	f.Add([]byte("\n\x07\n\x01a\x15\x00\x00\x00\x00"))
	f.Add([]byte("\x0b\x0c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		model, err := vocab.ParseSentencePiece(data)
		if err != nil {
			if !errors.Is(err, gguf.ErrCorrupt) && !errors.Is(err, gguf.ErrUnsupported) {
				t.Fatal(err)
			}
			return
		}
		seen := map[string]bool{}
		for _, p := range model.Pieces {
			require.NotEmpty(t, p.Text)
			require.False(t, seen[p.Text])
			seen[p.Text] = true
		}
	})
}
