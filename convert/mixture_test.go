package convert_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// TestRecipeIsWhatItWrites: a recipe and the directory that a merge writes are the
// same model.
func TestRecipeIsWhatItWrites(t *testing.T) {
	const experts = "gate_mode: random\nexperts: [{source_model: KIND-a}, {source_model: KIND-b, noise_scale: 0.1}]\n"
	for name, tt := range map[string]struct{ kind, recipe string }{
		"mixtral":  {"mistral", ""},
		"deepseek": {"mistral", "shared_experts: [{source_model: KIND-c}]\narchitecture: deepseek\n"},
		"qwen moe": {"mistral", "shared_experts: [{source_model: KIND-c}]\narchitecture: qwen\n"},
		"qwen2moe": {"qwen2", "shared_experts: [{source_model: KIND-c}]\n"},
		"qwen3moe": {"qwen3", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, letter := range []string{"a", "b", "c"} {
				writeDense(t, filepath.Join(dir, tt.kind+"-"+letter), tt.kind)
			}
			path := filepath.Join(dir, "mixture.yaml")
			text := strings.ReplaceAll("base_model: KIND-a\n"+experts+tt.recipe, "KIND", tt.kind)
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
			recipe, err := moe.Read(path)
			require.NoError(t, err)
			merged, err := moe.New(t.Context(), recipe, moe.Options{Seed: 7})
			require.NoError(t, err)
			out := filepath.Join(dir, "mixture")
			require.NoError(t, merged.Write(t.Context(), out, moe.WriteOptions{ShardBytes: 100_000}))
			require.NoError(t, merged.Files.Close())

			options := convert.Options{Checkpoint: hf.Options{Type: new(gguf.Q8_0)}, Merge: moe.Options{Seed: 7}}
			recipeModel := open(t, path, options)
			require.True(t, slices.ContainsFunc(recipeModel.Tensors(), func(t gguf.TensorInfo) bool { return t.Name == "blk.1.ffn_down_exps.weight" }))
			_, want := write(t, open(t, out, options))
			_, got := write(t, recipeModel)
			require.True(t, string(want) == string(got))
		})
	}
}

// writeDense writes a model that can become part of a mixture, with networks that
// differ by its name.
func writeDense(t testing.TB, dir, kind string) {
	tensors := testmodel.Tensors(weights.BF16, 288, 96, 0)
	class := "MistralForCausalLM"
	switch kind {
	case "qwen2":
		class, tensors = "Qwen2ForCausalLM", testmodel.WithAttention(tensors, testmodel.Qwen2Biases)
	case "qwen3":
		class, tensors = "Qwen3ForCausalLM", testmodel.WithHeads(testmodel.WithAttention(tensors, testmodel.Qwen3Norms), 32)
	}
	for i := range tensors {
		if strings.Contains(tensors[i].Name, ".mlp.") {
			tensors[i].Values = testmodel.Noise(filepath.Base(dir)+tensors[i].Name, testmodel.Elements(tensors[i].Shape))
		}
	}
	require.NoError(t, os.Mkdir(dir, 0o755))
	testmodel.WriteShards(t, dir, tensors)
	testmodel.WriteTokenizer(t, dir)
	config := testmodel.Config(class, kind, nil)
	if kind == "qwen3" {
		config["head_dim"] = 32
	}
	testmodel.WriteJSON(t, filepath.Join(dir, "config.json"), config)
}
