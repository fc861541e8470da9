package verify_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/verify"
	"github.com/ggufkit/ggufkit/quant"
)

// small is a model with the vocabulary of the mini models and two tensors.
type small struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	data    [][]byte
}

func (s *small) Metadata() *gguf.Metadata   { return s.meta }
func (s *small) Tensors() []gguf.TensorInfo { return s.tensors }
func (s *small) ReadRows(dst []byte, tensor int, first, _ int64) error {
	copy(dst, s.data[tensor][first*s.tensors[tensor].RowBytes():])
	return nil
}

// mini returns one whose weights are quantized to a type.
func mini(t *testing.T, typ gguf.Type) *small {
	t.Helper()
	base, err := convert.OpenModel(t.Context(), "../../testdata/beyonder-mini/base", convert.Options{})
	require.NoError(t, err)
	defer base.Close()
	s := &small{meta: base.Metadata().Clone()}
	for _, info := range []gguf.TensorInfo{{Name: "token_embd.weight", Type: typ, Shape: []int64{32, 4096}}, {Name: "blk.0.attn_q.weight", Type: typ, Shape: []int64{256, 64}}} {
		x := make([]float32, info.Elements())
		for i := range x {
			x[i] = float32(i%251)/251 - 0.5
		}
		data := make([]byte, info.Bytes())
		require.NoError(t, quant.Quantize(typ, data, x, int(info.RowLen()), nil))
		s.tensors, s.data = append(s.tensors, info), append(s.data, data)
	}
	return s
}

func (s *small) write(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	_, err := gguf.Write(t.Context(), path, s, gguf.WriteOptions{})
	require.NoError(t, err)
	return path
}

func look(t *testing.T, path string, opts verify.Options) *verify.Report {
	t.Helper()
	r, err := verify.File(t.Context(), path, opts)
	require.NoError(t, err)
	require.Equal(t, len(r.Findings) == 0, r.Good)
	return r
}

func TestGood(t *testing.T) {
	r := look(t, mini(t, gguf.Q8_0).write(t), verify.Options{})
	require.Empty(t, r.Findings)
	require.Equal(t, []verify.Check{verify.Structure, verify.Values, verify.Tokenizer, verify.Template}, r.Checked)
	require.Empty(t, r.Notes)
}

// A vocabulary that changes letters and spaces is none that is wrong.
func TestGoodWordPiece(t *testing.T) {
	tokens := []string{"[UNK]", "[CLS]", "[SEP]", "▁the", "▁quick", "▁brown", "▁fox", "▁,", "▁;", "▁if", "▁two", "▁spaces"}
	types := make([]int32, len(tokens))
	for i := range types {
		types[i] = int32(gguf.TokenNormal)
	}
	s := &small{meta: gguf.NewMetadata(
		gguf.KV{Key: "general.architecture", Value: "bert"}, gguf.KV{Key: "tokenizer.ggml.model", Value: "bert"},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: tokens}, gguf.KV{Key: "tokenizer.ggml.token_type", Value: types},
		gguf.KV{Key: "tokenizer.ggml.unknown_token_id", Value: uint32(0)}, gguf.KV{Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)},
		gguf.KV{Key: "tokenizer.ggml.seperator_token_id", Value: uint32(2)},
	)}
	r := look(t, s.write(t), verify.Options{})
	require.Empty(t, r.Findings)
	require.Equal(t, []string{"there is no chat template"}, r.Notes)
}

// Each thing that is wrong is found, and says what it is about.
func TestFindings(t *testing.T) {
	set := func(key string, value any) func(*small) { return func(s *small) { s.meta.Set(key, value) } }
	list := func(key string, change func(list []string)) func(*small) {
		return func(s *small) {
			old, _ := gguf.Value[[]string](s.meta, key)
			items := append([]string(nil), old...)
			change(items)
			s.meta.Set(key, items)
		}
	}
	for name, c := range map[string]struct {
		change func(*small)
		check  verify.Check
		says   string
	}{
		"a token twice": {list("tokenizer.ggml.tokens", func(l []string) { l[300] = l[301] }), verify.Tokenizer, "1 tokens are there more than once: tokens 300 and 301 both are"},
		"a token missing": {func(s *small) {
			v, _ := gguf.Value[[]string](s.meta, "tokenizer.ggml.tokens")
			s.meta.Set("tokenizer.ggml.tokens", v[:4095])
		}, verify.Tokenizer, "it has 4096 rows, and there are 4095 tokens"},
		"tokens that are numbers": {set("tokenizer.ggml.tokens", []uint32{1}), verify.Tokenizer, "tokenizer.ggml.tokens is of type [UINT32]"},
		"a score that is NaN": {func(s *small) {
			v, _ := gguf.Value[[]float32](s.meta, "tokenizer.ggml.scores")
			v = append([]float32(nil), v...)
			v[9] = nan()
			s.meta.Set("tokenizer.ggml.scores", v)
		}, verify.Tokenizer, "the score of token 9 is NaN"},
		"too few scores":           {set("tokenizer.ggml.scores", []float32{1}), verify.Tokenizer, "1 elements for 4096 tokens"},
		"too few types":            {set("tokenizer.ggml.token_type", []int32{1}), verify.Tokenizer, "tokenizer.ggml.token_type has 1 elements"},
		"a type that there is not": {set("tokenizer.ggml.token_type", append(make([]int32, 4095), 1)), verify.Tokenizer, "token 0 is of type 0"},
		"an id beyond them":        {set("tokenizer.ggml.eos_token_id", uint32(4096)), verify.Tokenizer, "tokenizer.ggml.eos_token_id is 4096, and there are 4096 tokens"},
		"an id that is a text":     {set("tokenizer.ggml.mask_token_id", "x"), verify.Tokenizer, "tokenizer.ggml.mask_token_id is of type STRING"},
		"merges of nothing":        {set("tokenizer.ggml.merges", []string{"▁ t", "no merge"}), verify.Tokenizer, `1 of 2 merges are not of two tokens that make one: number 1, "no merge"`},
		"a byte with another text": {list("tokenizer.ggml.tokens", func(l []string) { l[3+'T'] = "<0x54 >" }), verify.Tokenizer, "token 87: byte token"},
		"a text that comes back as another": {func(s *small) {
			v, _ := gguf.Value[[]int32](s.meta, "tokenizer.ggml.token_type")
			v = append([]int32(nil), v...)
			v[3+0xf0] = int32(gguf.TokenNormal) // what is meant to be a byte is a text
			s.meta.Set("tokenizer.ggml.token_type", v)
		}, verify.Tokenizer, "as another"},
		"a template with an error": {set("tokenizer.chat_template", "{% for m in %}"), verify.Template, "tokenizer.chat_template: "},
		"a template that raises":   {set("tokenizer.chat_template", "{{ raise_exception('never') }}"), verify.Template, "never"},
		"another template":         {set("tokenizer.chat_template.tool_use", "{{ messages[0].x.y }}"), verify.Template, "tokenizer.chat_template.tool_use: "},
		"a template without end":   {set("tokenizer.chat_template", "{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}"), verify.Template, "tokenizer.chat_template: "},
		"an infinite scale":        {func(s *small) { copy(s.data[1][3*272+34:], []byte{0, 0xfc}) }, verify.Values, "1 of 64 rows of Q8_0 are not numbers; in row 3, block 1 of Q8_0 has -Inf"},
	} {
		t.Run(name, func(t *testing.T) {
			s := mini(t, gguf.Q8_0)
			c.change(s)
			path := s.write(t)
			r := look(t, path, verify.Options{})
			require.False(t, r.Good)
			found := false
			for _, f := range r.Findings {
				require.Equal(t, path, f.File)
				found = found || f.Check == c.check && strings.Contains(f.What, c.says)
			}
			require.True(t, found, "%+v", r.Findings)
		})
	}
}

func nan() float32 { var zero float32; return zero / zero }

// All that is wrong is found, not only the first: in a file that is cut, what is left is looked at.
func TestAllFindings(t *testing.T) {
	s := mini(t, gguf.Q8_0)
	copy(s.data[0], []byte{0, 0x7e})
	s.meta.Set("tokenizer.ggml.bos_token_id", uint32(5000))
	s.meta.Set("tokenizer.chat_template", "{{")
	path := s.write(t)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()-100))
	r := look(t, path, verify.Options{})
	checks := make(map[verify.Check]verify.Finding)
	for _, f := range r.Findings {
		checks[f.Check] = f
	}
	require.Contains(t, checks, verify.Tokenizer)
	require.Contains(t, checks, verify.Template)
	require.Equal(t, "blk.0.attn_q.weight", checks[verify.Structure].Tensor)
	require.Equal(t, "token_embd.weight", checks[verify.Values].Tensor)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, []byte{0, 0x7e}, content[*checks[verify.Values].Offset:][:2], "the offset is that of the NaN")
}

func TestAgainst(t *testing.T) {
	original := mini(t, gguf.F32)
	path := mini(t, gguf.Q8_0).write(t)
	r := look(t, path, verify.Options{Against: original})
	require.Empty(t, r.Findings)
	require.Len(t, r.Matches, 2)
	require.True(t, r.Matches[0].Same)
	require.Positive(t, *r.Matches[0].NMSE)

	half := len(original.data[1]) / 2
	original.data[1] = append(original.data[1][half+100*4:], original.data[1][:half+100*4]...)
	original.tensors = append(original.tensors, gguf.TensorInfo{Name: "output_norm.weight", Type: gguf.F32, Shape: []int64{1}})
	original.data = append(original.data, make([]byte, 4))
	r = look(t, path, verify.Options{Against: original})
	require.Len(t, r.Findings, 2)
	require.Equal(t, "blk.0.attn_q.weight", r.Findings[0].Tensor)
	require.Contains(t, r.Findings[0].What, "its NMSE is")
	require.NotNil(t, r.Findings[0].Offset)
	require.Equal(t, "output_norm.weight", r.Findings[1].Tensor)
	require.Contains(t, r.Findings[1].What, "missing")
}

// Scales that stand beside a tensor are applied before it is compared.
func TestAgainstWithScales(t *testing.T) {
	s := mini(t, gguf.Q8_0)
	s.tensors = append(s.tensors, gguf.TensorInfo{Name: "blk.0.attn_q.scale", Type: gguf.F32, Shape: []int64{1}})
	s.data = append(s.data, []byte{0, 0, 0, 0x3f}) // a half
	path := s.write(t)
	original := mini(t, gguf.F32)
	r := look(t, path, verify.Options{Against: original})
	require.Len(t, r.Findings, 1)
	require.Contains(t, r.Findings[0].What, "its NMSE is 0.25")
	for at := 0; at < len(original.data[1]); at += 4 {
		x := math.Float32frombits(binary.LittleEndian.Uint32(original.data[1][at:]))
		binary.LittleEndian.PutUint32(original.data[1][at:], math.Float32bits(x/2))
	}
	r = look(t, path, verify.Options{Against: original})
	require.Empty(t, r.Findings)
	require.Len(t, r.Matches, 2)
	require.Equal(t, "Q8_0", r.Matches[1].Type)
}

func TestSums(t *testing.T) {
	path := mini(t, gguf.Q8_0).write(t)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	whole := fmt.Sprintf("%x", sha256.Sum256(content))
	file, err := gguf.Open(path)
	require.NoError(t, err)
	hashes, err := gguf.Hash(t.Context(), file, nil)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	tensors := fmt.Sprintf(`"data_sha256":%q,"tensors":[{"name":"token_embd.weight","sha256":%q},{"name":"blk.0.attn_q.weight","sha256":%q}]`,
		hex.EncodeToString(hashes.Data[:]), hex.EncodeToString(hashes.Tensors[0][:]), hex.EncodeToString(hashes.Tensors[1][:]))
	other := strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		sums string
		says []string
	}{
		"lines":           {other + "  other.gguf\n" + strings.ToUpper(whole) + " *dir/model.gguf\r\n", nil},
		"another sum":     {other + "  model.gguf\n", []string{"its SHA-256 is " + whole}},
		"no sum":          {whole + "  other.gguf\n", []string{"has no sum of it"}},
		"JSON":            {`{"file":"x","file_sha256":"` + whole + `",` + tensors + "}", nil},
		"JSON of several": {`[{"file":"x"},{"file":"a/model.gguf",` + tensors + "}]", nil},
		"JSON of others":  {`[{"file":"x"},{"file":"y"}]`, []string{"has no sums of it"}},
		"another tensor":  {`{` + strings.Replace(tensors, hex.EncodeToString(hashes.Tensors[1][:]), other, 1) + "}", []string{"its SHA-256 is " + hex.EncodeToString(hashes.Tensors[1][:])}},
		"a tensor more":   {`{` + strings.Replace(tensors, `[{`, `[{"name":"x","sha256":"`+other+`"},{`, 1) + "}", []string{"it is missing"}},
		"a tensor less":   {`{"tensors":[]}`, []string{"has no sum of it", "has no sum of it"}},
		"other data":      {`{` + strings.Replace(tensors, hex.EncodeToString(hashes.Data[:]), other, 1) + "}", []string{"the SHA-256 of all tensors is"}},
	} {
		t.Run(name, func(t *testing.T) {
			manifest := filepath.Join(t.TempDir(), "SHA256SUMS")
			require.NoError(t, os.WriteFile(manifest, []byte(c.sums), 0o666))
			sums, err := verify.ReadSums(manifest)
			require.NoError(t, err)
			r := look(t, path, verify.Options{Sums: sums})
			require.Len(t, r.Findings, len(c.says), "%+v", r.Findings)
			for i, want := range c.says {
				require.Equal(t, verify.Hash, r.Findings[i].Check)
				require.Contains(t, r.Findings[i].What, want)
			}
		})
	}
	for _, broken := range []string{"", "# nothing\n", "{", "[]", "hash  file", other + "  a\n" + whole + "  a\n", other + " a"} {
		_, err := verify.ParseSums([]byte(broken))
		require.ErrorIs(t, err, gguf.ErrCorrupt, broken)
	}
}

func FuzzParseSums(f *testing.F) {
	for _, text := range []string{strings.Repeat("a", 64) + "  x\n", `\` + strings.Repeat("0", 64) + ` *a\\b\nc`, `{"file":"a","tensors":[{"name":"b"}]}`, "[{}]", "#"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if sums, err := verify.ParseSums(data); err == nil {
			require.NotNil(t, sums)
		} else {
			require.ErrorIs(t, err, gguf.ErrCorrupt)
		}
	})
}
