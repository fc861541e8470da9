package moe_test

import (
	"os"
	"path/filepath"
	"testing"

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
	require.Equal(t, values(t, m.Checkpoint, "model.layers.0.block_sparse_moe.experts.0.w2.weight"),
		values(t, m.Checkpoint, "model.layers.0.block_sparse_moe.experts.1.w2.weight"))
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
