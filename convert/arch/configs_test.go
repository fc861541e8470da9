package arch_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// TestConfigs compares the metadata of models, and the factors of their rotary embedding,
// with what convert_hf_to_gguf.py writes. See testdata/README.md.
func TestConfigs(t *testing.T) {
	data, err := os.ReadFile("testdata/configs.json")
	require.NoError(t, err)
	var golden struct {
		Base     string
		Outcomes []struct {
			KV        [][3]any
			RopeFreqs string      `json:"rope_freqs"`
			Configs   [][3]string // name, keys of Base that are not there, others
		}
	}
	require.NoError(t, json.Unmarshal(data, &golden))
	var base []string
	for pair := range strings.SplitSeq(strings.Trim(golden.Base, "{}"), `,"`) {
		base = append(base, `"`+strings.TrimPrefix(pair, `"`))
	}
	for _, outcome := range golden.Outcomes {
		want := fmt.Sprint(outcome.KV, outcome.RopeFreqs)
		for _, config := range outcome.Configs {
			name, without, changes := config[0], strings.Fields(config[1]), config[2]
			pairs := slices.DeleteFunc(slices.Clone(base), func(pair string) bool {
				return slices.ContainsFunc(without, func(key string) bool { return strings.HasPrefix(pair, `"`+key+`"`) })
			})
			if changes != "" {
				pairs = append(pairs, changes) // of a key that is there twice, the last counts
			}
			m, err := arch.Read([]byte("{" + strings.Join(pairs, ",") + "}"))
			require.NoError(t, err, name)
			require.Equal(t, want, describe(t, m), "%s: %s", name, changes)
		}
	}
}

// describe returns metadata and factors in the form of the golden data.
func describe(t *testing.T, m *arch.Model) string {
	var kv [][3]any
	for _, pair := range m.Metadata(32) {
		value, typeName := pair.Value, gguf.TypeName(pair.Value)
		switch v := value.(type) {
		case uint32:
			value = float64(v)
		case float32:
			value = float64(v)
		case []int32:
			typeName = "ARRAY"
		}
		kv = append(kv, [3]any{pair.Key, typeName, value})
	}
	factors := ""
	if values := m.RopeFactors(); values != nil {
		sum := sha256.Sum256(testmodel.Encode(t, weights.F32, values))
		factors = hex.EncodeToString(sum[:8])
	}
	return fmt.Sprint(kv, factors)
}

// TestNames: tensors are found under all the names with which models are saved, and what
// is not of the text model is left out.
func TestNames(t *testing.T) {
	all := testmodel.Tensors(weights.BF16, 288, 96, 0)
	rename := func(change func(name string) string) (tensors []testmodel.Tensor) {
		for _, tensor := range all {
			tensor.Name = change(tensor.Name)
			tensors = append(tensors, tensor)
		}
		return tensors
	}
	prefix := func(from, to string) func(string) string {
		return func(name string) string { return strings.Replace(name, from, to, 1) }
	}
	others := []testmodel.Tensor{
		{Name: "vision_tower.vision_model.embeddings.patch_embedding.weight", Dtype: weights.F16, Shape: []int64{4, 3, 2, 2}},
		{Name: "model.visual.blocks.0.attn.qkv.weight", Dtype: weights.F16, Shape: []int64{4, 4}},
		{Name: "multi_modal_projector.linear_1.weight", Dtype: weights.F16, Shape: []int64{64, 4}},
		{Name: "rotary_emb.inv_freq", Dtype: weights.F32, Shape: []int64{8}},
	}
	config := testmodel.Config("LlamaForCausalLM", "llama", nil)
	want, err := plan(t, &arch.Llama, config, all)
	require.NoError(t, err)
	for name, tensors := range map[string][]testmodel.Tensor{
		"without model.":        rename(prefix("model.", "")),
		"model.language_model.": rename(prefix("model.", "model.language_model.")),
		"language_model.model.": rename(func(name string) string { return "language_model." + name }),
		"language_model.":       rename(prefix("model.", "language_model.")),
		"model.text_model.":     rename(prefix("model.", "model.text_model.")),
		"beside others":         append(slices.Clone(all), others...),
	} {
		got, err := plan(t, &arch.Llama, config, tensors)
		require.NoError(t, err, name)
		require.Len(t, got, len(want), name)
		for _, tensor := range got {
			i := slices.IndexFunc(want, func(w arch.Tensor) bool { return w.Name == tensor.Name })
			require.GreaterOrEqual(t, i, 0, "%s: %s", name, tensor.Name)
			require.Equal(t, want[i].Shape(), tensor.Shape())
		}
	}
	_, err = plan(t, &arch.Llama, config, append(rename(prefix("model.norm", "norm")), all[1]))
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.ErrorContains(t, err, "are the same one")
}

// TestBiases: those of a Llama are taken, whatever config.json says. A Mistral has none.
func TestBiases(t *testing.T) {
	for _, said := range []bool{false, true} {
		for _, names := range [][]string{nil, {"q_proj"}, {"q_proj", "k_proj", "v_proj"}, {"o_proj"}, {"q_proj", "k_proj", "v_proj", "o_proj"}} {
			tensors := testmodel.Tensors(weights.BF16, 288, 96, 0)
			for _, name := range names {
				length := map[string]int64{"q_proj": 64, "k_proj": 32, "v_proj": 32, "o_proj": 64}[name]
				tensors = append(tensors, testmodel.Tensor{Name: "model.layers.1.self_attn." + name + ".bias", Dtype: weights.BF16, Shape: []int64{length}})
			}
			got, err := plan(t, &arch.Llama, testmodel.Config("LlamaForCausalLM", "llama", map[string]any{"attention_bias": said, "mlp_bias": said}), tensors)
			require.NoError(t, err)
			require.Len(t, got, 3+2*9+len(names))
			if i := slices.IndexFunc(got, func(tensor arch.Tensor) bool { return tensor.Name == "blk.1.attn_q.bias" }); i >= 0 {
				bias, noise := testmodel.Values(t, got[i]), testmodel.Noise("model.layers.1.self_attn.q_proj.bias", 64)
				weights.BF16.Round(noise)
				require.Equal(t, []float32{noise[0], noise[8], noise[1]}, bias[:3])
			}
			_, err = plan(t, &arch.Mistral, testmodel.Config("MistralForCausalLM", "mistral", nil), tensors)
			if len(names) == 0 {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, gguf.ErrUnsupported)
			require.ErrorContains(t, err, "MistralForCausalLM of 2 layers has no tensor")
		}
	}
}

// TestHeadless: a class without an output of its own needs none.
func TestHeadless(t *testing.T) {
	tensors := testmodel.Tensors(weights.BF16, 288, 96, 0)
	tensors = slices.DeleteFunc(tensors, func(tensor testmodel.Tensor) bool { return tensor.Name == "lm_head.weight" })
	dir := t.TempDir()
	testmodel.WriteShards(t, dir, tensors)
	files, err := safetensors.OpenDir(dir)
	require.NoError(t, err)
	defer files.Close()
	for class, ok := range map[string]bool{"LlamaModel": true, "MistralModel": true, "LlamaForCausalLM": false} {
		data, err := json.Marshal(testmodel.Config(class, "llama", nil))
		require.NoError(t, err)
		m, err := arch.Read(data)
		require.NoError(t, err)
		_, err = m.Plan(files)
		require.Equal(t, ok, err == nil, class)
	}
}
