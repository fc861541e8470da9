package recipe_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

func overrides(t *testing.T, texts ...string) []recipe.Override {
	t.Helper()
	all, err := recipe.ReadOverrides(strings.NewReader(strings.Join(texts, "\n")))
	require.NoError(t, err)
	require.Len(t, all, len(texts))
	return all
}

func TestOverridesTheFirstCounts(t *testing.T) {
	meta, tensors := tiny(
		gguf.TensorInfo{Name: "blk.0.attn_q.weight", Type: gguf.F16, Shape: []int64{256, 8}},
		gguf.TensorInfo{Name: "blk.0.attn_k.weight", Type: gguf.F16, Shape: []int64{256, 8}},
	)
	types, err := recipe.Plan(meta, tensors, recipe.Q4_K_S, recipe.Options{Overrides: overrides(t, `ATTN_[qv]=q8_0`, `attn=Q2_K`)})
	require.NoError(t, err)
	require.Equal(t, []gguf.Type{gguf.Q4_K, gguf.Q6_K, gguf.Q8_0, gguf.Q2_K}, types)
}

func TestTypesForSingleTensorsMustFit(t *testing.T) {
	meta, tensors := tiny()
	tensors[0].Shape[0], tensors[1].Shape[0] = 96, 96
	q8, q6 := gguf.Q8_0, gguf.Q6_K
	types, err := recipe.Plan(meta, tensors, recipe.F16, recipe.Options{OutputType: &q8, TokenEmbeddingType: &q8})
	require.NoError(t, err)
	require.Equal(t, []gguf.Type{gguf.Q8_0, gguf.Q8_0}, types)
	for name, opts := range map[string]recipe.Options{
		"output.weight":     {OutputType: &q6},
		"token_embd.weight": {TokenEmbeddingType: &q6},
	} {
		_, err := recipe.Plan(meta, tensors, recipe.Q4_K_M, opts)
		require.ErrorIs(t, err, gguf.ErrUnsupported)
		require.ErrorContains(t, err, name)
	}
}

func TestParseOverrideRefuses(t *testing.T) {
	for text, message := range map[string]string{
		`attn_q`:           "PATTERN=TYPE",
		`=q8_0`:            "PATTERN=TYPE",
		`attn_q=`:          "PATTERN=TYPE",
		`attn_q=q9`:        `"q9" is not a tensor type`,
		`attn_(?=q)=q8_0`:  "of groups that start with (?, there are (?: and (?! only",
		`attn_(?<!q)=q8_0`: "of groups that start with (?",
		`(?i)attn=q8_0`:    "of groups that start with (?",
		`(a)\2=q8_0`:       `there is no group before \2`,
		`(a\1)=q8_0`:       `\1 is in the group that it refers to`,
		`\x4=q8_0`:         "hexadecimal digits",
		`[a-\d]=q8_0`:      "ends in a class",
		`[\d-z]=q8_0`:      "starts with a class",
		`[z-a]=q8_0`:       `from 'z' to 'a' is empty`,
		`[[:foo:]]=q8_0`:   `no class of characters called "foo"`,
		`[[.foo.]]=q8_0`:   `no character called "foo"`,
		`attn\=q8_0`:       "backslash",
		`attn_(q=q8_0`:     "a ) is missing",
		`attn_q)=q8_0`:     "a ) without (",
		`[[:alpha]=q8_0`:   "a :] is missing",
		`[a=q8_0`:          "a ] is missing",
		`a{1,=q8_0`:        "a repeat is none of {n}, {n,} and {n,m}",
		`*a=q8_0`:          `nothing that '*' could repeat`,
	} {
		_, err := recipe.ParseOverride(text)
		require.ErrorContains(t, err, message, text)
		require.ErrorContains(t, err, "\"", text)
	}
	_, err := recipe.ReadOverrides(strings.NewReader("attn_q=q8_0\n attn_k"))
	require.ErrorContains(t, err, "attn_k")
}

func TestParseOverrideNeverPanics(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune(`a1[]()^$\.*+?{},:=|q_0-`)), 0, 20, -1).Draw(r, "text")
		if o, err := recipe.ParseOverride(text + "=q8_0"); err == nil {
			require.Equal(r, text+"=q8_0", o.String())
		}
	})
}

func TestLint(t *testing.T) {
	_, tensors := tiny(
		gguf.TensorInfo{Name: "blk.0.attn_q.weight", Type: gguf.F16, Shape: []int64{256, 8}},
		gguf.TensorInfo{Name: "blk.0.attn_norm.weight", Type: gguf.F32, Shape: []int64{256}},
	)
	q8 := gguf.Q8_0
	for name, c := range map[string]struct {
		ft   recipe.FileType
		opts recipe.Options
		want []string
	}{
		"nothing to say": {ft: recipe.Q4_K_M, opts: recipe.Options{Overrides: overrides(t, `attn=q8_0`), OutputType: &q8, TokenEmbeddingType: &q8}},
		"no match": {ft: recipe.Q4_K_M, opts: recipe.Options{Overrides: overrides(t, `attn_k=q8_0`)}, want: []string{
			`"attn_k=q8_0" matches no tensor`,
		}},
		"not quantized": {ft: recipe.Q4_K_M, opts: recipe.Options{Overrides: overrides(t, `norm=q8_0`)}, want: []string{
			`"norm=q8_0" is ignored: blk.0.attn_norm.weight is not quantized, and it matches no tensor it could apply to`,
		}},
		"shadowed": {ft: recipe.Q4_K_M, opts: recipe.Options{Overrides: overrides(t, `attn=q8_0`, `attn_q=q4_0`)}, want: []string{
			`"attn_q=q4_0" is ignored: blk.0.attn_q.weight is matched by "attn=q8_0" before, and it matches no tensor it could apply to`,
		}},
		"another option": {ft: recipe.Q4_K_M, opts: recipe.Options{Overrides: overrides(t, `^output\.=q4_0`), OutputType: &q8}, want: []string{
			`"^output\\.=q4_0" is ignored: output.weight has a type by another option, and it matches no tensor it could apply to`,
		}},
		"not a quantized file type": {ft: recipe.F16, opts: recipe.Options{Overrides: overrides(t, `attn=q8_0`)}, want: []string{
			`"attn=q8_0" is ignored: overrides only apply to quantized file types, not to F16`,
		}},
		"copy": {ft: recipe.Copy, opts: recipe.Options{Overrides: overrides(t, `attn=q8_0`)}, want: []string{
			`"attn=q8_0" is ignored: overrides only apply to quantized file types, not to COPY`,
		}},
		"upper case": {ft: recipe.Q4_K_M, opts: recipe.Options{Overrides: overrides(t, `\Dattn_q=q8_0`)}, want: []string{
			`"\\Dattn_q=q8_0": patterns are made lower case, \D now means \d`,
			`"\\Dattn_q=q8_0" matches no tensor`,
		}},
		"output left alone": {ft: recipe.Q4_K_M, opts: recipe.Options{LeaveOutput: true, OutputType: &q8}, want: []string{
			"the type for the output matrix is ignored, since output.weight is left as it is",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, recipe.Lint(tensors, c.ft, c.opts))
		})
	}
	bare := tensors[2:]
	require.Equal(t, []string{
		"the type for the output matrix is ignored: there is no output.weight",
		"the type for token embeddings is ignored: there is no token_embd.weight",
	}, recipe.Lint(bare, recipe.F16, recipe.Options{OutputType: &q8, TokenEmbeddingType: &q8}))
	require.Equal(t, []string{"there is no output.weight that could be left as it is"}, recipe.Lint(bare, recipe.Q8_0, recipe.Options{LeaveOutput: true}))
}

func TestPrune(t *testing.T) {
	names := func(tensors []gguf.TensorInfo) (all []string) {
		for _, info := range tensors {
			all = append(all, info.Name)
		}
		return all
	}
	var tensors []gguf.TensorInfo
	for _, name := range []string{"blk.2.a", "token_embd.weight", "dec.blk.0.a", "blk.10.a", "blk.1.a", "blk.1.b"} {
		tensors = append(tensors, gguf.TensorInfo{Name: name, Shape: []int64{1}})
	}
	pruned, err := recipe.Prune(tensors, []int{1, 3, 1})
	require.NoError(t, err)
	require.Equal(t, []string{"blk.1.a", "token_embd.weight", "dec.blk.0.a", "blk.2.a"}, names(pruned.Tensors))
	require.Equal(t, []int{0, 1, 2, 3}, pruned.Origin)
	require.Equal(t, 3, pruned.Layers)
	require.Equal(t, []int{3}, pruned.Absent)
	require.Equal(t, "blk.2.a", tensors[0].Name, "the argument stays as it is")

	_, err = recipe.Prune(tensors, []int{0, 1, 2, 10})
	require.ErrorContains(t, err, "none of 4 layers would be left")
}

func TestOverrideOfATensorIsForItAlone(t *testing.T) {
	names := []string{"blk.0.attn_output.weight", "blk.1.attn_q.weight", "blk.11.attn_q.weight", "blk.1.attn_q.weight.weight", "xblk.1.attn_q.weight",
		"blk.1xattn_q.weight"}
	var infos []gguf.TensorInfo
	for _, name := range names {
		infos = append(infos, gguf.TensorInfo{Name: name, Type: gguf.F16, Shape: []int64{256, 8}})
	}
	meta, tensors := tiny(infos...)
	for i, tensor := range tensors {
		tensor.Type = gguf.Q3_K
		o, err := recipe.OverrideOf(tensor)
		require.NoError(t, err)
		types, err := recipe.Plan(meta, tensors, recipe.Q8_0, recipe.Options{Overrides: overrides(t, o.String())})
		require.NoError(t, err)
		for j, typ := range types {
			require.Equal(t, i == j, typ == gguf.Q3_K, "%s on %s", o, tensors[j].Name)
		}
	}
	for _, name := range []string{"blk.0.A.weight", "a b.weight", "a=b.weight"} {
		_, err := recipe.OverrideOf(gguf.TensorInfo{Name: name, Type: gguf.Q3_K})
		require.Error(t, err, name)
	}
}
