package hf_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// golden is what convert_hf_to_gguf.py of llama.cpp 0.7.0 (with transformers
// 5.12.1) writes for a checkpoint. There may be only the hash.
type golden struct {
	FileSHA256 string            `json:"file_sha256"`
	KV         []json.RawMessage `json:"kv"`      // [key, type, value]
	Tensors    []json.RawMessage `json:"tensors"` // [name, type, shape, first 16 digits of SHA-256]
}

// readGolden returns the golden data by checkpoint and --outtype.
func readGolden(t *testing.T) map[string]map[string]golden {
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var all map[string]map[string]golden
	require.NoError(t, json.Unmarshal(data, &all))
	return all
}

// describe returns a Source in the form of golden data.
func describe(t *testing.T, src gguf.Source) (kv, tensors []string) {
	for _, pair := range src.Metadata().All() {
		value := pair.Value
		if n, data := arrayBytes(t, value); n > 8 {
			sum := sha256.Sum256(data)
			value = map[string]any{"len": n, "sha256": hex.EncodeToString(sum[:])}
		}
		kv = append(kv, line(t, pair.Key, gguf.TypeName(pair.Value), value))
	}
	for i, info := range src.Tensors() {
		sum := sha256.Sum256(readTensor(t, src, i))
		tensors = append(tensors, line(t, info.Name, info.Type.String(), info.Shape, hex.EncodeToString(sum[:8])))
	}
	return kv, tensors
}

// arrayBytes returns the length and the bytes of a long array: numbers as they
// are in memory, strings with a zero after each.
func arrayBytes(t *testing.T, value any) (int, []byte) {
	var b bytes.Buffer
	switch v := value.(type) {
	case []string:
		for _, s := range v {
			b.WriteString(s)
			b.WriteByte(0)
		}
		return len(v), b.Bytes()
	case []int32:
		require.NoError(t, binary.Write(&b, binary.LittleEndian, v))
		return len(v), b.Bytes()
	case []float32:
		require.NoError(t, binary.Write(&b, binary.LittleEndian, v))
		return len(v), b.Bytes()
	}
	return 0, nil
}

func line(t *testing.T, values ...any) string {
	for i, v := range values {
		if f, ok := v.(float32); ok {
			values[i] = float64(f) // as Python prints it
		}
	}
	data, err := json.Marshal(values)
	require.NoError(t, err)
	return normal(t, data)
}

// normal brings JSON into one form.
func normal(t *testing.T, data []byte) string {
	var v any
	require.NoError(t, json.Unmarshal(data, &v))
	data, err := json.Marshal(v)
	require.NoError(t, err)
	return string(data)
}

func normalAll(t *testing.T, lines []json.RawMessage) []string {
	var out []string
	for _, l := range lines {
		out = append(out, normal(t, l))
	}
	return out
}

func readTensor(t *testing.T, src gguf.Source, tensor int) []byte {
	info := src.Tensors()[tensor]
	data := make([]byte, info.Bytes())
	require.NoError(t, src.ReadRows(data, tensor, 0, info.Rows()))
	return data
}

func TestGolden(t *testing.T) {
	for name, byType := range readGolden(t) {
		var dir string
		if name == "moe" {
			dir = reference.MoE(t)
		} else {
			dir = writeCase(t, t.ArtifactDir(), name)
		}
		for outtype, want := range byType {
			t.Run(name+"/"+outtype, func(t *testing.T) { checkGolden(t, dir, outtype, want) })
		}
	}
}

// checkGolden converts a directory and compares the result.
func checkGolden(t *testing.T, dir, outtype string, want golden) {
	opts := hf.Options{Auto: outtype == "auto"}
	if !opts.Auto {
		typ, err := gguf.ParseType(outtype)
		require.NoError(t, err)
		opts.Type = &typ
	}
	c, err := hf.Open(dir, opts)
	require.NoError(t, err)
	defer c.Close()
	if want.KV != nil {
		kv, tensors := describe(t, c)
		require.Equal(t, normalAll(t, want.KV), kv)
		require.Equal(t, normalAll(t, want.Tensors), tensors)
	}

	require.Equal(t, want.FileSHA256, fileHash(t, c))
}

// fileHash returns the SHA-256 of the file that is written of a checkpoint.
func fileHash(t *testing.T, c *hf.Checkpoint) string {
	path := filepath.Join(t.TempDir(), "out.gguf")
	_, err := gguf.Write(t.Context(), path, c, gguf.WriteOptions{})
	require.NoError(t, err)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// TestFusedExperts: both ways to store experts are the same model.
func TestFusedExperts(t *testing.T) {
	tensors := testmodel.Tensors(weights.BF16, 288, 96, 3)
	config := testmodel.Config("MixtralForCausalLM", "mixtral", object{"num_local_experts": 3})
	var models []*hf.Checkpoint
	for _, tensors := range [][]testmodel.Tensor{tensors, testmodel.Fuse(tensors, 96, 3)} {
		dir := filepath.Join(t.TempDir(), "model")
		require.NoError(t, os.Mkdir(dir, 0o755))
		testmodel.WriteShards(t, dir, tensors)
		testmodel.WriteTokenizer(t, dir)
		testmodel.WriteJSON(t, filepath.Join(dir, "config.json"), config)
		c, err := hf.Open(dir, hf.Options{})
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		models = append(models, c)
	}
	require.Equal(t, models[0].Metadata().All(), models[1].Metadata().All())
	for i, info := range models[0].Tensors() {
		j := slices.IndexFunc(models[1].Tensors(), func(t gguf.TensorInfo) bool { return t.Name == info.Name })
		require.GreaterOrEqual(t, j, 0, info.Name)
		require.Equal(t, info, models[1].Tensors()[j])
		require.Equal(t, readTensor(t, models[0], i), readTensor(t, models[1], j), info.Name)
	}
	require.Len(t, models[1].Tensors(), len(models[0].Tensors()))
}

// TestValues follows single values from the checkpoint to where llama.cpp wants
// them.
func TestValues(t *testing.T) {
	const experts, mlp, headDim = 3, 96, 16
	dir := t.TempDir()
	testmodel.WriteShards(t, dir, testmodel.Tensors(weights.F32, 288, mlp, experts))
	testmodel.WriteTokenizer(t, dir)
	testmodel.WriteJSON(t, filepath.Join(dir, "config.json"), testmodel.Config("MixtralForCausalLM", "mixtral", object{"num_local_experts": experts}))
	c, err := hf.Open(dir, hf.Options{Type: new(gguf.F32)})
	require.NoError(t, err)
	defer c.Close()
	for i, info := range c.Tensors() {
		var source func(row int64) (name string, sourceRow int64)
		switch info.Name {
		case "blk.1.ffn_gate_exps.weight":
			source = func(r int64) (string, int64) {
				return fmt.Sprintf("model.layers.1.block_sparse_moe.experts.%d.w1.weight", r/mlp), r % mlp
			}
		case "blk.1.ffn_down_exps.weight":
			source = func(r int64) (string, int64) {
				return fmt.Sprintf("model.layers.1.block_sparse_moe.experts.%d.w2.weight", r/64), r % 64
			}
		case "blk.1.ffn_up_exps.weight":
			source = func(r int64) (string, int64) {
				return fmt.Sprintf("model.layers.1.block_sparse_moe.experts.%d.w3.weight", r/mlp), r % mlp
			}
		case "blk.0.attn_q.weight", "blk.0.attn_k.weight":
			hf := map[string]string{"blk.0.attn_q.weight": "q_proj", "blk.0.attn_k.weight": "k_proj"}[info.Name]
			source = func(r int64) (string, int64) {
				head, j := r/headDim, r%headDim
				return "model.layers.0.self_attn." + hf + ".weight", head*headDim + j/2 + j%2*headDim/2
			}
		case "blk.0.attn_v.weight":
			source = func(r int64) (string, int64) { return "model.layers.0.self_attn.v_proj.weight", r }
		default:
			continue
		}
		data := readTensor(t, c, i)
		for row := range info.Rows() {
			name, sourceRow := source(row)
			n := info.RowLen()
			all := testmodel.Noise(name, 96*64) // both matrices have as many elements or fewer
			want := testmodel.Encode(t, weights.F32, all[sourceRow*n:][:n])
			require.Equal(t, want, data[row*info.RowBytes():][:info.RowBytes()], "%s row %d", info.Name, row)
		}
	}
}

// TestReadRows: any range of rows is that part of the whole, from many
// goroutines at once.
func TestReadRows(t *testing.T) {
	for _, name := range []string{"Tiny-Llama-1.1B-Chat-v1.0", "Beyonder-4x7B-v2", "odd name with spaces"} {
		dir := writeCase(t, t.TempDir(), name)
		for _, typ := range []gguf.Type{gguf.F32, gguf.BF16, gguf.Q8_0} {
			c, err := hf.Open(dir, hf.Options{Type: &typ})
			require.NoError(t, err)
			defer c.Close()
			var group errgroup.Group
			for i, info := range c.Tensors() {
				group.Go(func() error {
					whole := make([]byte, info.Bytes())
					if err := c.ReadRows(whole, i, 0, info.Rows()); err != nil {
						return err
					}
					for first := int64(0); first < info.Rows(); first += 7 {
						for _, n := range []int64{0, 1, min(11, info.Rows()-first), info.Rows() - first} {
							got := make([]byte, n*info.RowBytes())
							if err := c.ReadRows(got, i, first, n); err != nil {
								return err
							}
							if !bytes.Equal(got, whole[first*info.RowBytes():][:len(got)]) {
								return fmt.Errorf("%s: rows [%d, %d)", info.Name, first, first+n)
							}
						}
					}
					return nil
				})
			}
			require.NoError(t, group.Wait())
			require.Error(t, c.ReadRows(nil, 0, 0, 1))
			require.Error(t, c.ReadRows(nil, 0, c.Tensors()[0].Rows()+1, 0))
		}
	}
}

func TestOptions(t *testing.T) {
	dir := writeCase(t, t.TempDir(), "Beyonder-4x7B-v2")
	c, err := hf.Open(dir, hf.Options{Name: "Another"})
	require.NoError(t, err)
	defer c.Close()
	name, err := gguf.Value[string](c.Metadata(), "general.name")
	require.NoError(t, err)
	require.Equal(t, "Another", name)

	_, err = hf.Open(dir, hf.Options{Type: new(gguf.Q4_K)})
	require.ErrorIs(t, err, gguf.ErrUnsupported)
	require.ErrorContains(t, err, "Q4_K")
}

func TestOpenRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]any // written over a good checkpoint
		want  string
		err   error
	}{
		"config not JSON":   {map[string]any{"config.json": "{"}, "config.json", gguf.ErrCorrupt},
		"no architecture":   {map[string]any{"config.json": "{}"}, "no architectures", gguf.ErrUnsupported},
		"architecture":      {map[string]any{"config.json": `{"architectures": ["T5Model"]}`}, "T5Model", gguf.ErrUnsupported},
		"other model's":     {map[string]any{"config.json": testmodel.Config("LlamaForCausalLM", "llama", nil)}, "shape", gguf.ErrCorrupt},
		"no such tokenizer": {map[string]any{"tokenizer.model": "x"}, "tokenizer.model", gguf.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeCase(t, t.TempDir(), "Beyonder-4x7B-v2")
			writeFiles(t, dir, tt.files)
			_, err := hf.Open(dir, hf.Options{})
			require.ErrorIs(t, err, tt.err)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// TestCards: what gguf-py makes of these is in the golden data; here is what it
// fails on or what only looks like a card.
func TestCards(t *testing.T) {
	for card, want := range map[string]string{
		"":                                  "Beyonder 4x7B v2",
		"# no front matter\n---\nname: x\n": "Beyonder 4x7B v2",
		"---\n---\n":                        "Beyonder 4x7B v2",
		"---\n- a list\n---\n":              "Beyonder 4x7B v2",
		"---\nname: 7\n---\n":               "7",
		"---\r\nname: x\r\n---\r\n":         "x",
		"---\nmodel_name: y":                "y",
		"---\nname: {a: b}\n---\n":          "Beyonder 4x7B v2",
	} {
		dir := writeCase(t, t.TempDir(), "Beyonder-4x7B-v2")
		writeFiles(t, dir, map[string]any{"README.md": card})
		c, err := hf.Open(dir, hf.Options{})
		require.NoError(t, err, card)
		name, err := gguf.Value[string](c.Metadata(), "general.name")
		require.NoError(t, err)
		require.Equal(t, want, name, card)
		require.NoError(t, c.Close())
	}
}

// TestEmptyName: a config.json whose name is empty makes a model without one, as gguf-py has it; the directory's is not taken.
func TestEmptyName(t *testing.T) {
	dir := writeCase(t, t.TempDir(), "Beyonder-4x7B-v2")
	writeFiles(t, dir, map[string]any{
		"README.md":   "",
		"config.json": testmodel.Config("MixtralForCausalLM", "mixtral", object{"vocab_size": 272, "intermediate_size": 48, "num_local_experts": 4, "_name_or_path": ""}),
	})
	for name, want := range map[string]string{"": "", "Mine": "Mine"} {
		c, err := hf.Open(dir, hf.Options{Name: name})
		require.NoError(t, err)
		got, _ := gguf.Value[string](c.Metadata(), "general.name")
		require.Equal(t, want, got)
		require.NoError(t, c.Close())
	}
}

// TestOwnTypes: nothing is lost where types mix, unless Auto follows the first.
func TestOwnTypes(t *testing.T) {
	tensors := testmodel.Tensors(weights.F32, 288, 96, 2)
	for i, tensor := range tensors {
		switch {
		case strings.Contains(tensor.Name, "v_proj"), strings.HasSuffix(tensor.Name, "experts.1.w1.weight"):
			tensors[i].Dtype = weights.F16
		case strings.Contains(tensor.Name, "o_proj"), strings.Contains(tensor.Name, ".w1."), strings.Contains(tensor.Name, ".w2."):
			tensors[i].Dtype = weights.BF16
		}
	}
	dir := t.TempDir()
	testmodel.WriteShards(t, dir, tensors)
	testmodel.WriteTokenizer(t, dir)
	testmodel.WriteJSON(t, filepath.Join(dir, "config.json"), testmodel.Config("MixtralForCausalLM", "mixtral", object{"num_local_experts": 2}))
	c, err := hf.Open(dir, hf.Options{Auto: true})
	require.NoError(t, err)
	defer c.Close()
	m, err := hf.Open(dir, hf.Options{})
	require.NoError(t, err)
	defer m.Close()
	want := map[string]gguf.Type{
		"blk.0.attn_v.weight": gguf.F16, "blk.0.attn_output.weight": gguf.BF16, "blk.0.attn_q.weight": gguf.F32,
		"blk.0.ffn_gate_exps.weight": gguf.F32, "blk.0.ffn_down_exps.weight": gguf.BF16, "blk.0.ffn_up_exps.weight": gguf.F32,
		"blk.0.ffn_gate_inp.weight": gguf.F32, "blk.0.attn_norm.weight": gguf.F32,
	}
	for i, info := range m.Tensors() {
		if typ, ok := want[info.Name]; ok {
			require.Equal(t, typ, info.Type, info.Name)
		}
		if c.Tensors()[i].Type != gguf.F32 { // w1 of expert 0 is the first matrix of 16 bits
			require.Equal(t, gguf.BF16, c.Tensors()[i].Type)
		}
	}
}

// TestFullSize opens the header of a checkpoint of Beyonder's shape, 24.2 B
// parameters, whose data is one hole of 48 GB: reading it would take most of a minute.
func TestFullSize(t *testing.T) {
	const layers, experts, hidden, mlp, vocab = 32, 4, 4096, 14336, 32000
	header := make(map[string]any)
	offset := int64(0)
	add := func(name string, shape ...int64) {
		size := 2 * testmodel.Elements(shape)
		header[name] = object{"dtype": "BF16", "shape": shape, "data_offsets": []int64{offset, offset + size}}
		offset += size
	}
	add("model.embed_tokens.weight", vocab, hidden)
	add("lm_head.weight", vocab, hidden)
	add("model.norm.weight", hidden)
	for i := range layers {
		layer := fmt.Sprintf("model.layers.%d.", i)
		add(layer+"input_layernorm.weight", hidden)
		add(layer+"post_attention_layernorm.weight", hidden)
		add(layer+"self_attn.q_proj.weight", hidden, hidden)
		add(layer+"self_attn.k_proj.weight", hidden/4, hidden)
		add(layer+"self_attn.v_proj.weight", hidden/4, hidden)
		add(layer+"self_attn.o_proj.weight", hidden, hidden)
		add(layer+"block_sparse_moe.gate.weight", experts, hidden)
		for e := range experts {
			expert := fmt.Sprintf("%sblock_sparse_moe.experts.%d.", layer, e)
			add(expert+"w1.weight", mlp, hidden)
			add(expert+"w2.weight", hidden, mlp)
			add(expert+"w3.weight", mlp, hidden)
		}
	}
	text, err := json.Marshal(header)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "Beyonder-4x7B-v2")
	require.NoError(t, os.Mkdir(dir, 0o755))
	path := filepath.Join(dir, "model.safetensors")
	require.NoError(t, os.WriteFile(path, append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), 0o644))
	require.NoError(t, os.Truncate(path, 8+int64(len(text))+offset))
	data, err := os.ReadFile("../../testdata/beyonder-mini/base/tokenizer.model")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.model"), data, 0o644))
	testmodel.WriteJSON(t, filepath.Join(dir, "config.json"),
		object{"architectures": []string{"MixtralForCausalLM"}, "model_type": "mixtral", "num_local_experts": experts})

	c, err := hf.Open(dir, hf.Options{Type: new(gguf.Q8_0)})
	require.NoError(t, err)
	defer c.Close()
	elements, size := int64(0), int64(0)
	for _, info := range c.Tensors() {
		elements += info.Elements()
		size += info.Bytes()
	}
	require.EqualValues(t, 24_153_690_112, elements)
	require.Equal(t, (elements-f32Elements(c))/32*34+4*f32Elements(c), size)
	label, err := gguf.Value[string](c.Metadata(), "general.size_label")
	require.NoError(t, err)
	require.Equal(t, "4x7B", label)
}

func f32Elements(src gguf.Source) int64 {
	n := int64(0)
	for _, info := range src.Tensors() {
		if info.Type == gguf.F32 {
			n += info.Elements()
		}
	}
	return n
}
