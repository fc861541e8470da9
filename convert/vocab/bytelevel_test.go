package vocab_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
	"github.com/ggufkit/ggufkit/gguf"
)

// gpt2JSON returns a tokenizer.json of six tokens that GPT-2's way of cutting words
// goes with, and added tokens.
func gpt2JSON(added ...object) object {
	return object{
		"added_tokens": added, "pre_tokenizer": object{"type": "ByteLevel", "add_prefix_space": false},
		"model": object{"type": "BPE", "vocab": object{"a": 0, "b": 1, "ab": 2, "<end>": 3, "Ġ": 4, "Ġa": 5}, "merges": []string{"a b", "Ġ a"}},
	}
}

func loadByteLevel(t *testing.T, size int64, files map[string]any) (*gguf.Metadata, error) {
	dir := t.TempDir()
	for name, content := range files {
		testmodel.WriteJSON(t, filepath.Join(dir, name), content)
	}
	v, err := vocab.Load(dir, vocab.Options{Size: size, Rules: vocab.Rules{Llama: true}})
	if err != nil {
		return nil, err
	}
	return gguf.NewMetadata(v.Metadata...), nil
}

func TestByteLevelTokens(t *testing.T) {
	const normal, control, user, unused = int32(gguf.TokenNormal), int32(gguf.TokenControl), int32(gguf.TokenUserDefined), int32(gguf.TokenUnused)
	for name, tt := range map[string]struct {
		added  []object
		config object
		tokens []string // after the first three
		types  []int32
	}{
		"nothing added": {
			nil, nil,
			[]string{"<end>", "Ġ", "Ġa", "[PAD6]", "[PAD7]"}, []int32{normal, normal, normal, unused, unused},
		},
		"by tokenizer.json": {
			[]object{{"id": 3, "content": "<end>", "special": true}, {"id": 6, "content": "a▁b"}, {"id": 7, "content": "<|x|>"}}, nil,
			[]string{"<end>", "Ġ", "Ġa", "a b", "<|x|>"}, []int32{control, normal, normal, user, control},
		},
		"by both": {
			[]object{{"id": 6, "content": "<x>"}}, object{"added_tokens_decoder": object{"6": object{"content": "<x>", "special": true},
				"7": object{"content": "<y>"}}},
			[]string{"<end>", "Ġ", "Ġa", "<x>", "<y>"}, []int32{normal, normal, normal, control, user},
		},
		"by name": {
			[]object{{"id": 6, "content": "<x>"}}, object{"eos_token": "<end>", "pad_token": object{"content": "<pad>"}, "bos_token": "<x>", "unk_token": nil},
			[]string{"<end>", "Ġ", "Ġa", "<x>", "<pad>"}, []int32{control, normal, normal, control, control},
		},
		"by name, but not where tokens are listed": {
			[]object{{"id": 6, "content": "<x>"}, {"id": 7, "content": "<y>"}},
			object{"bos_token": "<x>", "eos_token": "<y>", "added_tokens_decoder": object{"7": object{"content": "<y>"}}},
			[]string{"<end>", "Ġ", "Ġa", "<x>", "<y>"}, []int32{normal, normal, normal, user, control},
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]any{"tokenizer.json": gpt2JSON(tt.added...)}
			if tt.config != nil {
				files["tokenizer_config.json"] = tt.config
			}
			m, err := loadByteLevel(t, 8, files)
			require.NoError(t, err)
			require.Equal(t, "gpt2", value[string](t, m, "tokenizer.ggml.model"))
			require.Equal(t, "gpt-2", value[string](t, m, "tokenizer.ggml.pre"))
			require.Equal(t, append([]string{"a", "b", "ab"}, tt.tokens...), value[[]string](t, m, "tokenizer.ggml.tokens"))
			require.Equal(t, append([]int32{normal, normal, normal}, tt.types...), value[[]int32](t, m, "tokenizer.ggml.token_type"))
			require.Equal(t, []string{"a b", "Ġ a"}, value[[]string](t, m, "tokenizer.ggml.merges"))
			_, ok := m.Get("tokenizer.ggml.scores")
			require.False(t, ok)
		})
	}
}

// Merges are texts or pairs, in which there may be spaces.
func TestMerges(t *testing.T) {
	file := gpt2JSON()
	file["model"].(object)["merges"] = [][]string{{"a", "b"}, {" ", "a"}}
	m, err := loadByteLevel(t, 6, map[string]any{"tokenizer.json": file})
	require.NoError(t, err)
	require.Equal(t, []string{"a b", "Ġ a"}, value[[]string](t, m, "tokenizer.ggml.merges"))
}

func TestByteLevelRefused(t *testing.T) {
	model := func(key string, v any) func(object) {
		return func(file object) { file["model"].(object)[key] = v }
	}
	set := func(key string, v any) func(object) { return func(file object) { file[key] = v } }
	for name, tt := range map[string]struct {
		change func(object)
		is     error
		want   string
	}{
		"words":           {model("type", "WordLevel"), gguf.ErrUnsupported, `"WordLevel"`},
		"SentencePiece's": {model("byte_fallback", true), gguf.ErrUnsupported, "pre_tokenizer ByteLevel in a vocabulary of SentencePiece"},
		"suffix":          {model("end_of_word_suffix", "</w>"), gguf.ErrUnsupported, "end_of_word_suffix"},
		"ids twice":       {model("vocab", object{"a": 0, "b": 0}), gguf.ErrCorrupt, `"a" and "b" have both id 0`},
		"id beyond":       {model("vocab", object{"a": 8}), gguf.ErrCorrupt, `"a" has id 8, there are 8`},
		"negative id":     {model("vocab", object{"a": -1}), gguf.ErrCorrupt, `"a" has id -1`},
		"merge of three":  {model("merges", [][]string{{"a", "b", "c"}}), gguf.ErrCorrupt, "merge 0 is of 3 tokens"},
		"merges of ids":   {model("merges", []int{1}), gguf.ErrCorrupt, "merges"},
		"lower case":      {set("normalizer", object{"type": "Sequence", "normalizers": []object{{"type": "NFC"}, {"type": "Lowercase"}}}), gguf.ErrUnsupported, `"Lowercase"`},
		"no words":        {set("pre_tokenizer", nil), gguf.ErrUnsupported, "no pre_tokenizer"},
		"other words":     {set("pre_tokenizer", object{"type": "Split", "pattern": object{"Regex": "x+"}, "behavior": "Isolated"}), gguf.ErrUnsupported, "x+"},
		"whitespace":      {set("pre_tokenizer", object{"type": "Whitespace"}), gguf.ErrUnsupported, "without ByteLevel"},
		"scripts":         {set("pre_tokenizer", object{"type": "UnicodeScripts"}), gguf.ErrUnsupported, "UnicodeScripts"},
		"added id":        {set("added_tokens", []object{{"id": 7, "content": "x"}}), gguf.ErrCorrupt, `"x" has id 7 and comes as number 6`},
		"too many":        {set("added_tokens", []object{{"id": 6, "content": "x"}, {"id": 7, "content": "y"}, {"id": 8, "content": "z"}}), gguf.ErrCorrupt, `"z" has id 8, there are 8`},
	} {
		t.Run(name, func(t *testing.T) {
			file := gpt2JSON()
			tt.change(file)
			_, err := loadByteLevel(t, 8, map[string]any{"tokenizer.json": file})
			require.ErrorIs(t, err, tt.is)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "tokenizer.json")
		})
	}
}

// Merges that are ignored matter only if there is a token that they do not make of its bytes.
func TestIgnoreMerges(t *testing.T) {
	for name, tt := range map[string]struct {
		token string
		warns bool
	}{
		"merged":        {"Ġab", false},
		"not merged":    {"ba", true},
		"a byte":        {"c", false},
		"bytes missing": {"xyz", true},
		"two words":     {"ab!", false},
		"not UTF-8":     {"Ġé", false},
	} {
		t.Run(name, func(t *testing.T) {
			file := gpt2JSON()
			model := file["model"].(object)
			model["ignore_merges"] = true
			model["merges"] = []string{"a b", "Ġ a", "Ġ ab", "a ba", "b ab"}
			model["vocab"].(object)[tt.token] = 6
			dir := t.TempDir()
			testmodel.WriteJSON(t, filepath.Join(dir, "tokenizer.json"), file)
			v, err := vocab.Load(dir, vocab.Options{Size: 7})
			require.NoError(t, err)
			require.Equal(t, "gpt-2", value[string](t, gguf.NewMetadata(v.Metadata...), "tokenizer.ggml.pre"))
			if !tt.warns {
				require.Empty(t, v.Warnings)
				return
			}
			require.Len(t, v.Warnings, 1)
			require.Contains(t, v.Warnings[0], tt.token)
		})
	}
}

func FuzzTokenizerJSON(f *testing.F) {
	for _, text := range []string{
		`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"]}, "pre_tokenizer": {"type": "ByteLevel"}}`,
		`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", " "]]}, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [null, {"type": "Digits"}]}, "added_tokens": [{"id": 1, "content": "b"}]}`,
		`{"model": {"type": "BPE", "byte_fallback": true, "unk_token": "u", "vocab": {"u": 0, "<0x00>": 1, "▁": 2}, "merges": ["▁ ▁"]}, "normalizer": {"type": "Prepend", "prepend": "▁"}, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}}`,
		`{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(?i)[^\\p{L}]++|a{2,}"}, "behavior": "Isolated"}, "decoder": {"type": "ByteLevel"}, "post_processor": {"type": "RobertaProcessing", "cls": ["a"], "sep": []}}`,
		`{"model": {"type": "WordPiece", "vocab": {"[UNK]": 0, "a": 1, "##b": 2}, "unk_token": "[UNK]"}, "normalizer": {"type": "BertNormalizer", "lowercase": true}, "pre_tokenizer": {"type": "BertPreTokenizer"}}`,
		`{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["▁a", -1.5], ["<0x0A>", 0]], "byte_fallback": true}, "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAA="}, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}}`,
		`{"model": null, "normalizer": {"type": "Sequence", "normalizers": [null]}, "post_processor": {"type": "TemplateProcessing", "single": [{}]}}`,
	} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), data, 0o644))
		v, err := vocab.Load(dir, vocab.Options{Size: 4, Rules: vocab.Rules{Llama: true}})
		if err == nil {
			require.Len(t, value[[]string](t, gguf.NewMetadata(v.Metadata...), "tokenizer.ggml.tokens"), 4)
		}
	})
}

// FuzzSideFiles reads the files beside tokenizer.json.
func FuzzSideFiles(f *testing.F) {
	names := []string{"tokenizer_config.json", "added_tokens.json", "special_tokens_map.json", "chat_template.json", "chat_template.jinja", "config.json"}
	for _, files := range [][]string{
		{`{"bos_token": "<s>", "added_tokens_decoder": {"6": {"content": "<s>", "special": true}}, "chat_template": [{"name": "default", "template": "a"}, {"name": "b c"}]}`, `{}`, `{}`, `{}`, ``, `{"eos_token_id": [1, 2]}`},
		{`{"extra_special_tokens": {"image_token": "<i>"}, "audio_token": {"__type": "AddedToken", "content": "<a>"}, "tokenizer_class": "GPT2Tokenizer"}`, `{"<n>": 6}`, `{"pad_token": {"content": "<p>"}, "extra_special_tokens": ["<e>", {"content": "<f>"}]}`, `{"chat_template": "x"}`, "", `{"text_config": {"bos_token_id": 1}, "model_type": "qwen2"}`},
		{`{"additional_special_tokens": ["<w>", null, 5], "Bos_Token": "x", "add_bos_token": NaN}`, `{"a": -1}`, `{"additional_special_tokens": "x"}`, `[]`, "\r\n\xff", `null`},
	} {
		f.Add(files[0], files[1], files[2], files[3], files[4], files[5])
	}
	dir := f.TempDir()
	testmodel.WriteJSON(f, filepath.Join(dir, "tokenizer.json"), gpt2JSON())
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g string) {
		for i, content := range []string{a, b, c, d, e, g} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, names[i]), []byte(content), 0o644))
		}
		v, err := vocab.Load(dir, vocab.Options{Size: 12, Rules: vocab.Rules{Llama: true}})
		if err != nil {
			require.ErrorIs(t, err, gguf.ErrCorrupt)
			require.ErrorContains(t, err, dir)
			require.Less(t, len(err.Error()), 1000+2*len(dir))
			return
		}
		require.Len(t, value[[]string](t, gguf.NewMetadata(v.Metadata...), "tokenizer.ggml.tokens"), 12)
	})
}

// What is recognized can also be named with --pre.
func TestKnownPreTokenizers(t *testing.T) {
	for _, name := range pretoken.Known() {
		require.NoError(t, vocab.CheckPre(name))
	}
	require.ErrorIs(t, vocab.CheckPre("nothing"), gguf.ErrUnsupported)
}

// TestPublishedNames: a pre-tokenizer has the name that the model's class gives it, if it is the one that cuts so.
func TestPublishedNames(t *testing.T) {
	tekken, ok := pretoken.Find("tekken")
	require.True(t, ok)
	for name, tt := range map[string]struct {
		expression, pre string
		names           map[string]string
		want            string
		warning         string
	}{
		"alike":            {pretoken.GPT2, "", map[string]string{"gpt-2": "olmo"}, "olmo", ""},
		"of another":       {pretoken.GPT2, "", map[string]string{"qwen2": "stablelm2"}, "gpt-2", ""},
		"named by a user":  {pretoken.GPT2, "mpt", map[string]string{"gpt-2": "olmo"}, "mpt", ""},
		"nearest":          {`\p{L}+| ?[^\p{L}]+`, "", map[string]string{"gpt-2": "olmo"}, "gpt-2", "gpt-2 is taken"},
		"unknown":          {pretoken.GPT2, "", map[string]string{"gpt-2": "none"}, "gpt-2", ""},
		"cut in other way": {tekken.Expressions[0], "", map[string]string{"tekken": "pixtral"}, "pixtral", "--pre tekken names what cuts alike"},
	} {
		t.Run(name, func(t *testing.T) {
			file := gpt2JSON()
			file["pre_tokenizer"] = object{"type": "Sequence", "pretokenizers": []object{
				{"type": "Split", "pattern": object{"Regex": tt.expression}, "behavior": "Isolated"}, {"type": "ByteLevel", "use_regex": false},
			}}
			dir := t.TempDir()
			testmodel.WriteJSON(t, filepath.Join(dir, "tokenizer.json"), file)
			v, err := vocab.Load(dir, vocab.Options{Size: 6, Pre: tt.pre, Rules: vocab.Rules{Pre: tt.names}})
			require.NoError(t, err)
			require.Equal(t, tt.want, value[string](t, gguf.NewMetadata(v.Metadata...), "tokenizer.ggml.pre"))
			if tt.warning == "" {
				require.Empty(t, v.Warnings)
			} else {
				require.Len(t, v.Warnings, 1)
				require.Contains(t, v.Warnings[0], tt.warning)
			}
		})
	}
}
