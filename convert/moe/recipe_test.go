package moe_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/moe"
)

func TestAnchorsAndMergeKeys(t *testing.T) {
	m, err := merge(t, workshop(t), `base_model: base
gate_mode: cheap_embed
experts:
  - &one
    source_model: &model one
    positive_prompts: [a, &word b]
    residual_scale: 0.5
  - <<: *one
    positive_prompts: [c]
  - source_model: two
    positive_prompts: [*word]
    negative_prompts: [*model]
`, moe.Options{})
	require.NoError(t, err)
	require.Equal(t, values(t, m, "model.layers.0.block_sparse_moe.experts.0.w2.weight"),
		values(t, m, "model.layers.0.block_sparse_moe.experts.1.w2.weight"))
}

func TestModelsMayLieAbove(t *testing.T) {
	dir := workshop(t)
	below := filepath.Join(dir, "recipes")
	require.NoError(t, os.Mkdir(below, 0o755))
	path := filepath.Join(below, "moe.yaml")
	require.NoError(t, os.WriteFile(path, []byte("base_model: ../base\ngate_mode: random\nexperts:\n  - source_model: ../one\n  - source_model: "+filepath.Join(dir, "two")+"\n"), 0o644))
	r, err := moe.Read(path)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "base"), r.BaseModel)
	require.Equal(t, filepath.Join(dir, "two"), r.Experts[1].SourceModel)
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(recipe))
	f.Add([]byte("base_model: .\nexperts:\n  - &e {source_model: ., noise_scale: 1e-3}\n  - <<: *e\ngate_mode: random\n"))
	f.Add([]byte("a: &a [x, x]\nb: &b [*a, *a]\nexperts: [[[["))
	dir := f.TempDir()
	for _, name := range []string{"base", "one", "two"} {
		require.NoError(f, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "moe.yaml")
		require.NoError(t, os.WriteFile(path, data, 0o644))
		r, err := moe.Read(path)
		if err != nil {
			require.ErrorIs(t, err, moe.ErrRecipe)
			return
		}
		require.GreaterOrEqual(t, len(r.Experts), 2)
		for _, e := range r.Experts {
			require.DirExists(t, e.SourceModel)
		}
	})
}

func TestCard(t *testing.T) {
	dir := workshop(t)
	hub := filepath.Join(dir, "models--some--Model-7B", "snapshots", "0123abcd")
	writeModel(t, hub, nil, nil)
	writeModel(t, filepath.Join(dir, "yes"), nil, nil)
	m, err := merge(t, dir, `base_model: base
gate_mode: random
experts:
  - source_model: models--some--Model-7B/snapshots/0123abcd
  - source_model: yes
  - source_model: base
`, moe.Options{})
	require.NoError(t, err)
	front, body, ok := strings.Cut(strings.TrimPrefix(string(m.Card), "---\n"), "---\n")
	require.True(t, ok)
	var card map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(front), &card))
	require.Equal(t, map[string]any{
		"base_model":   []any{"base", "some/Model-7B", "yes"},
		"library_name": "transformers",
		"pipeline_tag": "text-generation",
		"tags":         []any{"merge", "moe", "mixtral", "ggufkit"},
	}, card)
	require.Contains(t, body, "| 0 | some/Model-7B |")
	require.Contains(t, body, "The routers' rows are random")
	require.Contains(t, body, "- source_model: yes\n")
}
