package arch_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// familyTensor is a tensor of a checkpoint or a model.
type familyTensor struct {
	name  string
	shape []int64
	value []float32 // of a tensor of one number
}

// readFamilies calls a function with what is known of checkpoints of many families: see
// testdata/families.py.
func readFamilies(t *testing.T, with func(t *testing.T, config string, kv [][2]any, sources, tensors []familyTensor)) {
	file, err := os.Open("testdata/families.json.gz")
	require.NoError(t, err)
	defer file.Close()
	data, err := gzip.NewReader(file)
	require.NoError(t, err)
	var families []struct {
		Name, Config     string
		Sources, Tensors [][]json.RawMessage
		KV               [][2]any
	}
	require.NoError(t, json.NewDecoder(data).Decode(&families))
	read := func(raw [][]json.RawMessage) (tensors []familyTensor) {
		for _, r := range raw {
			var next familyTensor
			require.NoError(t, json.Unmarshal(r[0], &next.name))
			require.NoError(t, json.Unmarshal(r[1], &next.shape))
			if len(r) > 2 {
				next.value = make([]float32, 1)
				require.NoError(t, json.Unmarshal(r[2], &next.value[0]))
			}
			tensors = append(tensors, next)
		}
		return tensors
	}
	for _, f := range families {
		t.Run(f.Name, func(t *testing.T) { with(t, f.Config, f.KV, read(f.Sources), read(f.Tensors)) })
	}
}

// TestFamilies compares metadata, and the names, shapes and order of tensors, with what
// convert_hf_to_gguf.py makes of the checkpoints.
func TestFamilies(t *testing.T) {
	readFamilies(t, checkFamily)
}

func checkFamily(t *testing.T, config string, kv [][2]any, sources, tensors []familyTensor) {
	m, err := arch.Read([]byte(config))
	require.NoError(t, err)
	var set weights.List
	for _, s := range sources {
		r := weights.Compute(s.shape, weights.F32, 1, nil)
		if s.value != nil {
			r = weights.Values(weights.F32, s.value, s.shape...)
		}
		require.NoError(t, set.Add(s.name, r))
	}
	planned, err := m.Plan(&set)
	require.NoError(t, err)
	var got []familyTensor
	for _, p := range planned {
		shape := slices.Clone(p.Shape())
		slices.Reverse(shape)
		got = append(got, familyTensor{name: p.Name, shape: shape})
	}
	require.Equal(t, tensors, got)
	var pairs [][2]any
	for _, kv := range metadata(t, m) {
		pairs = append(pairs, [2]any{kv.Key, plain(t, kv)})
	}
	require.Equal(t, kv, pairs)
	if roberta := `"RobertaModel"`; strings.Contains(config, roberta) { // which CamemBERT is
		checkFamily(t, strings.NewReplacer(roberta, `"CamembertModel"`, `"roberta"`, `"camembert"`).Replace(config), kv, sources, tensors)
	}
}

// metadata returns all that a model has of its own.
func metadata(t *testing.T, m *arch.Model) []gguf.KV {
	early, err := m.EarlyMetadata()
	require.NoError(t, err)
	return append(early, m.Metadata(0)...)
}

// TestFamiliesRefused: what metadata have no place for, or what is missing, in these checkpoints.
func TestFamiliesRefused(t *testing.T) {
	refused := map[string][]struct {
		old, changed string
		err          error
	}{
		"hunyuan-moe": {
			{`"moe_topk": [`, `"moe_topk": [2,`, gguf.ErrUnsupported}, {`"num_shared_expert": [`, `"num_shared_expert": [0,`, gguf.ErrUnsupported},
			{`"num_shared_expert"`, `"other"`, gguf.ErrCorrupt}, {`"moe_topk": [`, `"moe_topk": [], "others": [`, gguf.ErrCorrupt},
		},
		"hunyuan-moe-dyn": {{`"rope_theta": 10000.0`, `"rope_theta": 20000.0`, gguf.ErrUnsupported}, {`"max_position_embeddings": 32768`, `"max_position_embeddings": 4096`, gguf.ErrUnsupported}},
		"minicpm": {
			{`"scale_emb"`, `"other"`, gguf.ErrCorrupt}, {`"scale_depth": 1.4`, `"scale_depth": 0`, gguf.ErrCorrupt}, {`"dim_model_base"`, `"other"`, gguf.ErrCorrupt},
			{`"scale_emb"`, `"num_experts": 8, "scale_emb"`, gguf.ErrCorrupt},
		},
		"minicpm4": {{`"long_factor": [`, `"long_factor": [1.0,`, gguf.ErrCorrupt}},
		"nomic-bert": {
			{`"activation_function": "swiglu"`, `"activation_function": "gelu"`, gguf.ErrUnsupported}, {`"qkv_proj_bias": false`, `"qkv_proj_bias": true`, gguf.ErrUnsupported},
			{`"n_layer"`, `"moe_every_n_layers": 2, "n_layer"`, gguf.ErrUnsupported}, {`"n_positions": 8192`, `"n_positions": 512`, gguf.ErrUnsupported},
			{`"causal"`, `"other"`, gguf.ErrUnsupported},
		},
	}
	readFamilies(t, func(t *testing.T, config string, _ [][2]any, _, _ []familyTensor) {
		for _, r := range refused[strings.TrimPrefix(t.Name(), "TestFamiliesRefused/")] {
			require.Contains(t, config, r.old)
			_, err := arch.Read([]byte(strings.Replace(config, r.old, r.changed, 1)))
			require.ErrorIs(t, err, r.err, r.changed)
		}
	})
}

// TestFamiliesRestored: a checkpoint that is made of a model converts to the same model.
func TestFamiliesRestored(t *testing.T) {
	readFamilies(t, func(t *testing.T, config string, _ [][2]any, sources, _ []familyTensor) {
		checkRestored(t, config, sources)
	})
}

// TestVariantsRestored is TestFamiliesRestored for what these checkpoints have not.
func TestVariantsRestored(t *testing.T) {
	shared := func(sources []familyTensor) []familyTensor {
		for _, layer := range []string{"0", "1"} {
			sources = append(sources, familyTensor{name: "model.layers." + layer + ".shared_mlp.input_linear.weight", shape: []int64{96, 64}},
				familyTensor{name: "model.layers." + layer + ".shared_mlp.output_linear.weight", shape: []int64{64, 48}})
		}
		return sources
	}
	// All experts of a layer in two tensors become a tensor for each matrix of each.
	apart := func(sources []familyTensor) (all []familyTensor) {
		for _, s := range sources {
			prefix, part, ok := strings.Cut(s.name, ".mlp.experts.")
			if !ok {
				all = append(all, s)
				continue
			}
			for i := range s.shape[0] {
				name := fmt.Sprintf("%s.mlp.experts.%d.", prefix, i)
				if part == "down_proj" {
					all = append(all, familyTensor{name: name + "down_proj.weight", shape: []int64{s.shape[2], s.shape[1]}})
					continue
				}
				for _, part := range []string{"gate", "up"} {
					all = append(all, familyTensor{name: name + part + "_proj.weight", shape: []int64{s.shape[2] / 2, s.shape[1]}})
				}
			}
		}
		return all
	}
	fused := func(sources []familyTensor) (all []familyTensor) { // the reverse
		for _, s := range sources {
			prefix, part, ok := strings.Cut(s.name, ".mlp.experts.")
			switch {
			case !ok:
				all = append(all, s)
			case part == "0.down_proj.weight":
				all = append(all, familyTensor{name: prefix + ".mlp.experts.down_proj", shape: []int64{8, s.shape[0], s.shape[1]}})
			case part == "0.gate_proj.weight":
				all = append(all, familyTensor{name: prefix + ".mlp.experts.gate_up_proj", shape: []int64{8, 2 * s.shape[0], s.shape[1]}})
			}
		}
		return all
	}
	latentBiases := func(sources []familyTensor) []familyTensor {
		return append(sources, familyTensor{name: "model.layers.0.self_attn.q_a_proj.bias", shape: []int64{32}},
			familyTensor{name: "model.layers.0.self_attn.kv_a_proj_with_mqa.bias", shape: []int64{48}},
			familyTensor{name: "model.layers.0.self_attn.o_proj.bias", shape: []int64{64}})
	}
	// A layer behind the last, like it, and what layers that guess more tokens than the next have besides.
	next := func(sources []familyTensor) (all []familyTensor) {
		all = append(sources, familyTensor{name: "model.layers.3.eh_proj.weight", shape: []int64{64, 128}})
		for _, s := range sources {
			if rest, ok := strings.CutPrefix(s.name, "model.layers.2."); ok {
				all = append(all, familyTensor{name: "model.layers.3." + rest, shape: s.shape})
			}
		}
		for _, name := range []string{"enorm", "hnorm", "shared_head.norm"} {
			all = append(all, familyTensor{name: "model.layers.3." + name + ".weight", shape: []int64{64}})
		}
		return append(all, familyTensor{name: "model.layers.3.shared_head.head.weight", shape: []int64{384, 64}})
	}
	withoutNormsAndBiases := func(sources []familyTensor) []familyTensor {
		return slices.DeleteFunc(sources, func(s familyTensor) bool {
			return strings.HasSuffix(s.name, "_proj.bias") || strings.HasSuffix(s.name, "q_norm.weight") || strings.HasSuffix(s.name, "k_norm.weight")
		})
	}
	sharedIndexers := func(sources []familyTensor) []familyTensor {
		return slices.DeleteFunc(sources, func(s familyTensor) bool { return strings.HasPrefix(s.name, "model.layers.2.self_attn.indexer.") })
	}
	// The layers that predict the tokens after the next are not in every copy of a model.
	withoutPredictors := func(sources []familyTensor) []familyTensor {
		return slices.DeleteFunc(sources, func(s familyTensor) bool { return strings.HasPrefix(s.name, "mtp.") })
	}
	renamed := func(pairs ...string) func([]familyTensor) []familyTensor {
		return func(sources []familyTensor) (all []familyTensor) {
			for _, s := range sources {
				s.name = strings.NewReplacer(pairs...).Replace(s.name)
				all = append(all, s)
			}
			return all
		}
	}
	// Positions that are counted from behind the padding token, which is 1, and names as RoBERTa and old models have them.
	roberta := func(sources []familyTensor) []familyTensor {
		sources = renamed("LayerNorm.weight", "LayerNorm.gamma", "LayerNorm.bias", "LayerNorm.beta")(sources)
		for i, s := range sources {
			if sources[i].name = "roberta." + s.name; s.name == "embeddings.position_embeddings.weight" {
				sources[i].shape = []int64{s.shape[0] + 2, s.shape[1]}
			}
		}
		return sources
	}
	// Layers that share keys and values with others may have their own, too.
	unshared := func(sources []familyTensor) []familyTensor {
		for _, s := range []familyTensor{{name: "k_proj.weight", shape: []int64{16, 64}}, {name: "v_proj.weight", shape: []int64{16, 64}}, {name: "k_norm.weight", shape: []int64{16}}} {
			s.name = "model.layers.3.self_attn." + s.name
			sources = append(sources, s)
		}
		return renamed("model.", "model.language_model.")(sources)
	}
	// Tokens that are not of texts add nothing in layers.
	fewerEmbeddings := func(sources []familyTensor) []familyTensor {
		for i, s := range sources {
			if s.name == "model.embed_tokens_per_layer.weight" {
				sources[i].shape = []int64{300, s.shape[1]}
			}
		}
		return sources
	}
	// Two streams between layers instead of four, and biases of attention.
	twoStreams := func(sources []familyTensor) (all []familyTensor) {
		for _, s := range sources {
			switch {
			case strings.Contains(s.name, "projections.1.") || strings.Contains(s.name, "projections.2."):
				continue
			case strings.HasSuffix(s.name, "modality_router.weight"):
				s.shape = []int64{2, 64}
			case strings.HasSuffix(s.name, "correction_coefs.weight"):
				s.shape = []int64{2, 2}
			case strings.HasSuffix(s.name, "prediction_coefs.weight"):
				s.shape = []int64{4, 2}
			case strings.Contains(s.name, "self_attn.") && strings.HasSuffix(s.name, "_proj.weight"):
				all = append(all, familyTensor{name: strings.TrimSuffix(s.name, "weight") + "bias", shape: s.shape[:1]})
			}
			all = append(all, s)
		}
		return all
	}
	variants := map[string][]struct {
		changes map[string]any
		sources func([]familyTensor) []familyTensor
	}{
		"granite-moe": {{map[string]any{"architectures": []string{"GraniteMoeSharedForCausalLM"}, "model_type": "granitemoeshared",
			"shared_intermediate_size": 48}, shared}},
		"qwen3-vl-moe":   {{nil, apart}},
		"gpt2":           {{map[string]any{"n_ctx": nil}, renamed("transformer.", "")}},
		"bloom":          {{map[string]any{"seq_length": 2048, "n_embed": 64, "hidden_size": nil}, renamed("transformer.", "")}},
		"pythia":         {{map[string]any{"rotary_pct": nil, "rope_parameters": map[string]any{"partial_rotary_factor": 0.5, "rope_theta": 5000.0}}, nil}},
		"mpt":            {{map[string]any{"attn_config": map[string]any{"alibi": true, "alibi_bias_max": 16, "clip_qkv": 6.5}}, nil}},
		"falcon-7b-like": {{map[string]any{"num_kv_heads": 4, "rope_theta": 500042.0}, nil}},
		"bert":           {{map[string]any{"architectures": []string{"RobertaModel"}, "pad_token_id": 1, "max_position_embeddings": 130}, roberta}},
		"modern-bert":    {{map[string]any{"rope_parameters": nil, "global_rope_theta": 80000.0, "layer_norm_eps": nil, "classifier_pooling": "mean"}, nil}},
		"gemma4-e2b":     {{map[string]any{"architectures": []string{"Gemma4ForConditionalGeneration"}}, unshared}},
		"gemma3n-shared": {{map[string]any{"activation_sparsity_pattern": nil, "intermediate_size": 64, "vocab_size_per_layer_input": 300}, fewerEmbeddings},
			{map[string]any{"altup_num_inputs": 2, "altup_active_idx": 1, "attention_bias": true}, twoStreams}},
		"deepseek-v3": {{nil, fused}, {map[string]any{"scoring_func": "softmax", "rope_scaling": map[string]any{"type": "yarn", "factor": 40.0,
			"mscale": 0.707, "mscale_all_dim": 0.707}}, nil}, {map[string]any{"attention_bias": true, "norm_topk_prob": false}, latentBiases}},
		"deepseek-v2": {{map[string]any{"n_group": 2, "topk_group": 1, "topk_method": "group_limited_greedy", "rope_scaling": map[string]any{
			"type": "yarn", "factor": 40.0, "mscale": 0.707, "mscale_all_dim": 0.707}}, nil}},
		"glm47-flash": {{map[string]any{"num_nextn_predict_layers": 1}, next}, {map[string]any{"num_nextn_predict_layers": 1}, nil}},
		"glm5-dsa": {{map[string]any{"num_nextn_predict_layers": 1}, next}, {map[string]any{"indexer_types": nil, "index_topk_freq": 2}, sharedIndexers},
			{map[string]any{"architectures": []string{"DeepseekV32ForCausalLM"}, "model_type": "deepseek_v32", "num_nextn_predict_layers": 1}, next}},
		"qwen3-next":    {{nil, withoutPredictors}},
		"qwen35-text":   {{nil, withoutPredictors}, {map[string]any{"mtp_num_hidden_layers": 0}, withoutPredictors}},
		"glm45-moe":     {{map[string]any{"use_qk_norm": false, "attention_bias": false, "first_k_dense_replace": 1}, withoutNormsAndBiases}},
		"glm4":          {{map[string]any{"partial_rotary_factor": 0.75}, nil}},
		"llama4-text":   {{map[string]any{"layer_types": slices.Repeat([]string{"full_attention"}, 4), "rope_scaling": nil}, nil}},
		"gpt-oss-bf16":  {{map[string]any{"rope_scaling": map[string]any{"rope_type": "default"}}, nil}},
		"afmoe":         {{map[string]any{"score_func": "sigmoid", "route_norm": true}, nil}, {map[string]any{"rope_scaling": map[string]any{"rope_type": "yarn", "factor": 4.0}}, nil}},
		"bailingmoe2":   {{map[string]any{"moe_shared_expert_intermediate_size": 32, "score_function": "softmax"}, nil}},
		"cohere2":       {{map[string]any{"rotary_pct": 0.5}, nil}},
		"hunyuan-dense": {{map[string]any{"rope_scaling": nil, "rope_theta": 500000.0}, nil}, {map[string]any{"rope_scaling": map[string]any{"type": "dynamic", "alpha": 7.3}, "max_position_embeddings": 32768}, nil}},
		"hunyuan-moe":   {{map[string]any{"moe_topk": 3, "moe_intermediate_size": 48, "num_shared_expert": 1}, nil}},
		"nemotron":      {{map[string]any{"rope_scaling": map[string]any{"rope_type": "linear", "factor": 4.0}, "partial_rotary_factor": 0.75}, nil}},
		"stablelm":      {{map[string]any{"use_parallel_residual": true, "partial_rotary_factor": 1.0}, nil}},
		"phi3":          {{map[string]any{"sliding_window": nil}, nil}},
	}
	readFamilies(t, func(t *testing.T, config string, _ [][2]any, sources, _ []familyTensor) {
		for _, v := range variants[strings.TrimPrefix(t.Name(), "TestVariantsRestored/")] {
			var params map[string]any
			decoder := json.NewDecoder(strings.NewReader(config))
			decoder.UseNumber() // 30.0 stays what it is
			require.NoError(t, decoder.Decode(&params))
			maps.Copy(params, v.changes)
			text, err := json.Marshal(params)
			require.NoError(t, err)
			changed := slices.Clone(sources)
			if v.sources != nil {
				changed = v.sources(changed)
			}
			checkRestored(t, string(text), changed)
		}
	})
}

// checkRestored converts a checkpoint with random weights, makes one of the model, and converts that.
func checkRestored(t *testing.T, config string, sources []familyTensor) {
	m, err := arch.Read([]byte(config))
	require.NoError(t, err)
	want := plannedSource(t, m, randomSet(t, sources))
	from := want
	if m.Class == arch.GLM4MoELite.Class { // the vocabulary tells it from DeepSeek
		from.meta = gguf.NewMetadata(append(slices.Clone(want.meta.All()), gguf.KV{Key: "tokenizer.ggml.pre", Value: "glm4"})...)
	}
	restored, err := arch.Restore(from)
	require.NoError(t, err)
	require.Equal(t, m.Name, restored.Name)
	text, err := json.Marshal(restored.Config)
	require.NoError(t, err)
	again, err := arch.Read(text)
	require.NoError(t, err)
	got := plannedSource(t, again, &restored.List)
	require.Equal(t, want.meta.All(), got.meta.All())
	require.ElementsMatch(t, want.tensors, got.tensors)
	if len(restored.Starts) == 0 {
		require.Equal(t, want.tensors, got.tensors)
	}
	for name, data := range want.data {
		require.True(t, bytes.Equal(data, got.data[name]), name)
	}
}

// TestRestoreOfAnything: whatever the metadata say, a checkpoint is made or none.
func TestRestoreOfAnything(t *testing.T) {
	readFamilies(t, func(t *testing.T, config string, _ [][2]any, sources, _ []familyTensor) {
		m, err := arch.Read([]byte(config))
		require.NoError(t, err)
		src := plannedSource(t, m, randomSet(t, sources))
		pairs := slices.Clone(src.meta.All())
		for _, kv := range pairs[1:] {
			for _, v := range []any{uint32(0), uint32(math.MaxUint32), float32(-1), "", []bool{}, nil} {
				src.meta = gguf.NewMetadata(pairs...)
				if src.meta.Delete(kv.Key); v != nil {
					src.meta.Set(kv.Key, v)
				}
				restored, err := arch.Restore(src)
				if err != nil {
					known := errors.Is(err, gguf.ErrCorrupt) || errors.Is(err, gguf.ErrUnsupported) || errors.Is(err, gguf.ErrNoKey)
					require.True(t, known, "%s is %v: %v", kv.Key, v, err)
					continue
				}
				_, err = restored.Plan(&restored.List)
				require.NoError(t, err, "%s is %v", kv.Key, v)
			}
		}
	})
}

// randomSet returns the tensors of a checkpoint with random weights.
func randomSet(t *testing.T, sources []familyTensor) weights.Set {
	var set weights.List
	random := rand.New(rand.NewPCG(1, 2))
	for _, s := range sources {
		rows, length := weights.Count(s.shape)
		values := make([]float32, rows*length)
		for i := range values {
			values[i] = random.Float32() - 0.5
		}
		if s.value != nil {
			values = s.value
		}
		require.NoError(t, set.Add(s.name, weights.Values(weights.F32, values, s.shape...)))
	}
	return &set
}

// memorySource is a model in memory.
type memorySource struct {
	meta    *gguf.Metadata
	tensors []gguf.TensorInfo
	data    map[string][]byte
}

func (s memorySource) Metadata() *gguf.Metadata   { return s.meta }
func (s memorySource) Tensors() []gguf.TensorInfo { return s.tensors }
func (s memorySource) ReadRows(dst []byte, tensor int, first, n int64) error {
	info := s.tensors[tensor]
	copy(dst, s.data[info.Name][first*info.RowBytes():][:n*info.RowBytes()])
	return nil
}

// plannedSource returns the model that a checkpoint converts to, in F32.
func plannedSource(t *testing.T, m *arch.Model, set weights.Set) memorySource {
	planned, err := m.Plan(set)
	require.NoError(t, err)
	s := memorySource{gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: m.Name}), nil, make(map[string][]byte)}
	for _, kv := range metadata(t, m) {
		s.meta.Set(kv.Key, kv.Value)
	}
	for _, p := range planned {
		shape := slices.Clone(p.Shape())
		slices.Reverse(shape)
		rows, length := weights.Count(p.Shape())
		values, data := make([]float32, rows*length), make([]byte, 4*rows*length)
		require.NoError(t, p.ReadRows(values, 0, rows))
		weights.F32.Encode(data, values)
		s.tensors = append(s.tensors, gguf.TensorInfo{Name: p.Name, Type: gguf.F32, Shape: shape})
		s.data[p.Name] = data
	}
	return s
}

// plain returns a value as JSON has it.
func plain(t *testing.T, kv gguf.KV) (v any) {
	value := kv.Value
	switch f := value.(type) {
	case float32:
		value = float64(f)
	case []float32:
		var all []any
		for _, f := range f {
			if v := float64(f); math.IsInf(v, 0) {
				all = append(all, strings.ToLower(strings.TrimPrefix(fmt.Sprint(v), "+")))
			} else {
				all = append(all, v)
			}
		}
		value = all
	}
	data, err := json.Marshal(value)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &v))
	return v
}
