package edit_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/edit"
)

// memory is a Source of zeros.
type memory struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
}

func (m *memory) Metadata() *gguf.Metadata                 { return m.meta }
func (m *memory) Tensors() []gguf.TensorInfo               { return m.tensors }
func (m *memory) ReadRows([]byte, int, int64, int64) error { return nil }

const vocabulary = 300

// model has the metadata that the rules are about.
func model(more ...gguf.KV) *memory {
	tokens, scores, types := make([]string, vocabulary), make([]float32, vocabulary), make([]int32, vocabulary)
	for i := range tokens {
		tokens[i], scores[i], types[i] = fmt.Sprintf("tök%d", i), float32(-i), 1
	}
	tokens[7], tokens[8], tokens[9] = "twice", "twice", "a=b"
	return &memory{
		meta: gguf.NewMetadata(append([]gguf.KV{
			{Key: "general.architecture", Value: "llama"},
			{Key: "general.name", Value: "a model"},
			{Key: "llama.block_count", Value: uint32(1)},
			{Key: "llama.rope.freq_base", Value: float32(1e4)},
			{Key: "tokenizer.ggml.model", Value: "llama"},
			{Key: "tokenizer.ggml.tokens", Value: tokens},
			{Key: "tokenizer.ggml.scores", Value: scores},
			{Key: "tokenizer.ggml.token_type", Value: types},
			{Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)},
			{Key: "tokenizer.ggml.add_bos_token", Value: true},
			{Key: "tokenizer.chat_template", Value: "{{ old }}"},
			{Key: "tokenizer.chat_template.tool_use", Value: "{{ tools }}"},
			{Key: "tokenizer.chat_templates", Value: []string{"tool_use"}},
			{Key: "x.byte", Value: uint8(7)},
		}, more...)...),
		tensors: []gguf.TensorInfo{
			{Name: "token_embd.weight", Type: gguf.F16, Shape: []int64{32, vocabulary}},
			{Name: "blk.0.attn_q.weight", Type: gguf.Q8_0, Shape: []int64{32, 33}},
		},
	}
}

func set(t *testing.T, text string) edit.Change {
	t.Helper()
	s, err := edit.ParseSet(text)
	require.NoError(t, err)
	return s
}

// hostile are edits that would leave a file that is broken, or another than who asks for it thinks.
func hostile(t *testing.T) map[string]struct {
	changes []edit.Change
	says    string
	forced  bool // whether --force lets it pass
} {
	type edits = []edit.Change
	return map[string]struct {
		changes []edit.Change
		says    string
		forced  bool
	}{
		"alignment of 48":                {edits{set(t, "general.alignment=u32:48")}, "not a power of two", false},
		"alignment of 0":                 {edits{set(t, "general.alignment=u32:0")}, "not a power of two", false},
		"alignment of 2 GiB":             {edits{set(t, "general.alignment=u32:2147483648")}, "more than 1048576", false},
		"alignment of 64 bits":           {edits{set(t, "general.alignment=u64:64")}, "UINT32 for those who read it, not UINT64", false},
		"no architecture":                {edits{edit.Delete{"general.architecture"}}, "without it no file is a model", false},
		"architecture called otherwise":  {edits{edit.Rename{"general.architecture", "x.architecture"}}, "without it no file is a model", false},
		"empty architecture":             {edits{set(t, "general.architecture=str:")}, "cannot be empty", false},
		"another architecture":           {edits{set(t, "general.architecture=str:qwen2")}, "begin with llama", true},
		"architecture as a number":       {edits{set(t, "general.architecture=u32:1")}, "STRING for those who read it", true},
		"layers as a text":               {edits{set(t, "llama.block_count=str:1")}, "UINT32 for those who read it, not STRING", true},
		"no layers":                      {edits{edit.Delete{"llama.block_count"}}, "readers need llama.block_count", true},
		"layers called otherwise":        {edits{edit.Rename{"llama.block_count", "llama.blocks"}}, "readers need llama.block_count", true},
		"frequency of 64 bits":           {edits{set(t, "llama.rope.freq_base=f64:1e4")}, "FLOAT32 for those who read it", true},
		"unknown key of another type":    {edits{set(t, "x.byte=u16:7")}, "x.byte is of type UINT8", true},
		"id beyond the vocabulary":       {edits{set(t, "tokenizer.ggml.eos_token_id=u32:300")}, "there are 300 tokens", true},
		"special token beyond it":        {edits{edit.SpecialToken{"bos", "300"}}, "not among the 300", false},
		"special token that is none":     {edits{edit.SpecialToken{"boss", "1"}}, "no special token, one of: bos, cls, eom", false},
		"token that is not there":        {edits{edit.SpecialToken{"bos", "nothing"}}, `there is no token "nothing"`, false},
		"token that is there twice":      {edits{edit.SpecialToken{"bos", "twice"}}, "[7 8]", false},
		"type of a token beyond it":      {edits{edit.TokenType{"300", gguf.TokenControl}}, "not among the 300", false},
		"types without meaning":          {edits{set(t, "tokenizer.ggml.token_type=arr[i32]:["+strings.Repeat("9,", 299)+"9]")}, "which there is not", true},
		"fewer tokens than rows":         {edits{set(t, `tokenizer.ggml.tokens=arr[str]:["a"]`)}, "1 tokens and 300 rows", true},
		"fewer scores than tokens":       {edits{set(t, "tokenizer.ggml.scores=arr[f32]:[1]")}, "1 elements for 300 tokens", true},
		"no tokens":                      {edits{edit.Delete{"tokenizer.ggml.tokens"}}, "readers need tokenizer.ggml.tokens", true},
		"delete what is not there":       {edits{edit.Delete{"general.nam"}}, "no such metadata key: general.nam", false},
		"rename what is not there":       {edits{edit.Rename{"general.nam", "x"}}, "no such metadata key: general.nam", false},
		"rename onto another":            {edits{edit.Rename{"general.name", "x.byte"}}, "there is a x.byte already", false},
		"set twice":                      {edits{set(t, "general.name=str:a"), set(t, "general.name=str:b")}, "general.name is changed twice", false},
		"set and delete":                 {edits{set(t, "general.name=str:a"), edit.Delete{"general.name"}}, "general.name is changed twice", false},
		"renamed to one of another type": {edits{edit.Rename{"x.byte", "llama.context_length"}}, "UINT32 for those who read it, not UINT8", true},
		"two renamed to one":             {edits{edit.Rename{"general.name", "x"}, edit.Rename{"x.byte", "x"}}, "x is changed twice", false},
		"a list and one of its items":    {edits{set(t, "tokenizer.ggml.token_type=arr[i32]:[1]"), edit.TokenType{"1", gguf.TokenControl}}, "changed twice", false},
		"key of spaces":                  {edits{set(t, "general name=str:a")}, "has a space", false},
		"key with a zero":                {edits{set(t, "a\x00b=str:a")}, "control character", false},
		"key that is not UTF-8":          {edits{set(t, "a\xffb=str:a")}, "not UTF-8", false},
		"key that is not ASCII":          {edits{set(t, "größe=str:a")}, "not ASCII", true},
		"key of 64 KiB":                  {edits{set(t, strings.Repeat("k", 1<<16)+"=str:a")}, "at most 65535", false},
		"renamed to nothing":             {edits{edit.Rename{"general.name", ""}}, "the key is empty", false},
		"text that is not UTF-8":         {edits{set(t, "general.name=str:\xff")}, "not UTF-8", false},
		"template that is not UTF-8":     {edits{edit.Template{"\xff"}}, "not UTF-8", false},
		"not a number":                   {edits{set(t, "llama.rope.freq_base=f32:NaN")}, "not a finite number", false},
		"infinity":                       {edits{set(t, "llama.rope.freq_base=float:-inf")}, "not a finite number", false},
		"float too large":                {edits{set(t, "llama.rope.freq_base=f32:1e39")}, "not a finite number of 32 bits", false},
		"integer too large":              {edits{set(t, "llama.block_count=u32:4294967296")}, "not an integer of 32 bits", false},
		"integer below 0":                {edits{set(t, "llama.block_count=int:-1")}, "without a sign", false},
		"bool of 1":                      {edits{set(t, "tokenizer.ggml.add_bos_token=bool:1")}, "neither true nor false", false},
		"unknown type":                   {edits{set(t, "x.y=u128:1")}, "is not a type", false},
		"list of lists":                  {edits{set(t, "x.y=arr[arr[u8]]:[[1]]")}, "is not a type", false},
		"list of two types":              {edits{set(t, `x.y=arr[u8]:[1,"2"]`)}, "element 1: \"2\" is not a number", false},
		"list of nothing":                {edits{set(t, "x.y=arr[u8]:null")}, "not a list in JSON", false},
		"list and more":                  {edits{set(t, "x.y=arr[u8]:[1] [2]")}, "something after the list", false},
		"half a surrogate pair":          {edits{set(t, `x.y=arr[str]:["\ud800"]`)}, "is not Unicode", false},
		"number of a split file":         {edits{set(t, "split.no=u16:0")}, "which file of a set", false},
	}
}

func TestHostileEditsAreRefused(t *testing.T) {
	cases := hostile(t)
	require.Greater(t, len(cases), 20)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			src := model()
			before := src.meta.Clone()
			_, _, err := edit.Plan(src, c.changes, false)
			require.ErrorContains(t, err, c.says)
			_, _, forced := edit.Plan(src, c.changes, true)
			if c.forced {
				require.ErrorIs(t, err, edit.ErrRefused)
				require.NoError(t, forced)
			} else {
				require.Error(t, forced)
			}
			require.Equal(t, before.All(), src.meta.All())
		})
	}
}

func TestPlan(t *testing.T) {
	src := model()
	meta, changed, err := edit.Plan(src, []edit.Change{
		set(t, "general.name=str:other"),
		set(t, "x.new=arr[u8]:[1,255]"),
		set(t, "general.architecture=str:llama"), // as it is
		edit.Delete{"llama.rope.freq_base"},
		edit.Rename{"x.byte", "y.byte"},
		edit.Template{"{{ new }}"},
		edit.TokenType{"a=b", gguf.TokenControl},
		edit.TokenType{"3", gguf.TokenUnused},
		edit.SpecialToken{"separator", "tök5"},
	}, true)
	require.NoError(t, err)
	var keys []string
	for _, kv := range meta.All() {
		keys = append(keys, kv.Key)
	}
	require.Equal(t, []string{
		"general.architecture", "general.name", "llama.block_count", "tokenizer.ggml.model", "tokenizer.ggml.tokens", "tokenizer.ggml.scores",
		"tokenizer.ggml.token_type", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.add_bos_token", "y.byte", "tokenizer.chat_template", "x.new",
		"tokenizer.ggml.seperator_token_id",
	}, keys)
	types, err := gguf.Value[[]int32](meta, "tokenizer.ggml.token_type")
	require.NoError(t, err)
	require.Equal(t, []int32{1, 1, 1, 5, 1, 1, 1, 1, 1, 3}, types[:10])
	was, _ := src.meta.Get("tokenizer.ggml.token_type")
	require.Equal(t, int32(1), was.([]int32)[3], "the original stays")
	id, err := meta.Uint("tokenizer.ggml.seperator_token_id")
	require.NoError(t, err)
	require.Equal(t, uint64(5), id)
	require.Len(t, changed, 9)
	_, changed, err = edit.Plan(src, []edit.Change{edit.Template{"{{ old }}"}, set(t, "general.name=str:a model")}, false)
	require.NoError(t, err)
	require.Empty(t, changed)
}

func TestParseValue(t *testing.T) {
	for text, want := range map[string]any{
		"u8:255": uint8(255), "i8:-128": int8(-128), "uint16:65535": uint16(65535), "I16:-1": int16(-1), "u32:1": uint32(1), "i32:-1": int32(-1),
		"u64:18446744073709551615": uint64(math.MaxUint64), "i64:-9223372036854775808": int64(math.MinInt64), "f32:0.1": float32(0.1), "FLOAT64:1e300": 1e300,
		"bool:false": false, "str:": "", "STRING:a:b=c": "a:b=c", "int:7": uint32(7), "int:-7": int32(-7), "float:2": float32(2),
		"arr[str]:[]": []string{}, `[STRING]:["a","\u00fc"]`: []string{"a", "ü"}, "arr[bool]:[true, false]": []bool{true, false},
		"arr[f64]:[1e300,-0.5]": []float64{1e300, -0.5}, "arr[u8]:[0]": []uint8{0},
	} {
		typeName, value, _ := strings.Cut(text, ":")
		got, err := edit.ParseValue(typeName, value, nil)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, was := range []any{uint8(1), int64(1), uint16(1)} {
		got, err := edit.ParseValue("int", "3", was)
		require.NoError(t, err)
		require.IsType(t, was, got)
	}
	got, err := edit.ParseValue("float", "3", 1.5)
	require.NoError(t, err)
	require.Equal(t, 3.0, got)
}

// What is set and then deleted leaves the file that was there, and so does what is renamed twice.
func TestEditsAreUndone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := model()
		key := rapid.StringMatching(`[a-z]{1,9}(\.[a-z_]{1,9}){0,3}`).Draw(t, "key")
		if _, taken := src.meta.Get(key); taken || strings.HasPrefix(key, "split.") {
			t.Skip()
		}
		typeName := rapid.SampledFrom([]string{"u8", "i64", "f32", "str", "int", "arr[str]"}).Draw(t, "type")
		text := fmt.Sprint(rapid.IntRange(0, 255).Draw(t, "value"))
		if typeName == "arr[str]" {
			list, err := json.Marshal(rapid.SliceOf(rapid.String()).Draw(t, "list"))
			require.NoError(t, err)
			text = string(list)
		}
		meta, _, err := edit.Plan(src, []edit.Change{edit.Set{key, typeName, text}}, true)
		require.NoError(t, err)
		require.Equal(t, src.meta.Len()+1, meta.Len())
		back, _, err := edit.Plan(&memory{meta, src.tensors}, []edit.Change{edit.Delete{key}}, true)
		require.NoError(t, err)
		require.Equal(t, src.meta.All(), back.All())

		meta, _, err = edit.Plan(src, []edit.Change{edit.Rename{"x.byte", key}}, true)
		require.NoError(t, err)
		back, _, err = edit.Plan(&memory{meta, src.tensors}, []edit.Change{edit.Rename{key, "x.byte"}}, true)
		require.NoError(t, err)
		require.Equal(t, src.meta.All(), back.All())
	})
}

func FuzzParseSet(f *testing.F) {
	for _, text := range []string{
		"a=u8:1", "a.b=arr[str]:[\"x\", \"\\ud83d\\ude00\"]", "a=float:1e-45", "a=arr[bool]:[true]", "=:", "a=arr[]:[]", "a=[str:[1]", "a=]:[1]", "a=arr[i64]:[1,-2]", "a=str:\xff",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := edit.ParseSet(text)
		if err != nil {
			return
		}
		src := &memory{meta: gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: "llama"})}
		meta, changed, err := edit.Plan(src, []edit.Change{s}, true)
		if err != nil || len(changed) == 0 {
			return
		}
		// What is accepted is written and read again.
		path := filepath.Join(t.TempDir(), "x.gguf")
		if _, err := gguf.Write(t.Context(), path, &memory{meta: meta}, gguf.WriteOptions{}); err != nil {
			return // such as an alignment that there is not
		}
		file, err := gguf.Open(path)
		require.NoError(t, err)
		defer file.Close()
		require.Equal(t, meta.All(), file.Metadata().All())
	})
}

// ggufpyCase is what a tool of gguf-py made of model.
type ggufpyCase struct {
	Tool, Input string
	Args        []string
	SHA256      string
}

// Edits give the bytes of gguf-new-metadata and gguf-set-metadata. GGUFKIT_TEST_INPUTS names a directory to
// leave the inputs in, for testdata/record.py.
func TestEditAsGgufPy(t *testing.T) {
	content, err := os.ReadFile("testdata/expected.json")
	require.NoError(t, err)
	var cases []ggufpyCase
	require.NoError(t, json.Unmarshal(content, &cases))
	require.NotEmpty(t, cases)
	inputs := os.Getenv("GGUFKIT_TEST_INPUTS")
	if inputs == "" {
		inputs = t.TempDir()
	}
	for name, src := range map[string]*memory{"plain": model(), "aligned": model(gguf.KV{Key: "general.alignment", Value: uint32(64)})} {
		_, err := gguf.Write(t.Context(), filepath.Join(inputs, name+".gguf"), src, gguf.WriteOptions{Overwrite: true})
		require.NoError(t, err)
	}
	for _, c := range cases {
		t.Run(c.Tool+" "+c.Input+" "+strings.Join(c.Args, " "), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file.gguf")
			content, err := os.ReadFile(filepath.Join(inputs, c.Input+".gguf"))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, content, 0o666))
			file, err := gguf.OpenAlone(path)
			require.NoError(t, err)
			defer file.Close()
			meta, _, err := edit.Plan(file, changesOf(t, c), true)
			require.NoError(t, err)
			patch, err := file.Patch(meta)
			require.NoError(t, err)
			if c.Tool == "gguf-set-metadata" {
				require.NotNil(t, patch)
				require.LessOrEqual(t, patch.Bytes(), int64(8))
			}
			if patch != nil {
				require.NoError(t, patch.Apply())
			} else {
				_, err = gguf.Write(t.Context(), path, file.WithMetadata(meta), gguf.WriteOptions{Overwrite: true, Replace: file})
				require.NoError(t, err)
			}
			content, err = os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, c.SHA256, fmt.Sprintf("%x", sha256.Sum256(content)))
			require.NoFileExists(t, path+".edit")
		})
	}
}

// changesOf returns what the arguments of a tool of gguf-py mean.
func changesOf(t *testing.T, c ggufpyCase) (changes []edit.Change) {
	if c.Tool == "gguf-set-metadata" {
		typeName := "int"
		if strings.Contains(c.Args[0], "freq_base") {
			typeName = "float"
		}
		return []edit.Change{edit.Set{c.Args[0], typeName, c.Args[1]}}
	}
	keys := map[string]string{"--general-name": "general.name", "--general-description": "general.description", "--pre-tokenizer": "tokenizer.ggml.pre"}
	for args := c.Args; len(args) > 0; {
		switch flag := args[0]; flag {
		case "--remove-metadata":
			changes, args = append(changes, edit.Delete{args[1]}), args[2:]
		case "--chat-template":
			changes, args = append(changes, edit.Template{args[1]}), args[2:]
		case "--special-token", "--special-token-by-id":
			changes, args = append(changes, edit.SpecialToken{args[1], args[2]}), args[3:]
		default:
			require.Contains(t, keys, flag)
			changes, args = append(changes, edit.Set{keys[flag], "str", args[1]}), args[2:]
		}
	}
	return changes
}
