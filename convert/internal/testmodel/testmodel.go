// Package testmodel writes small checkpoints for tests, always the same ones.
package testmodel

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// Tensor is a tensor of a checkpoint, with values or filled by its name.
type Tensor struct {
	Name   string
	Dtype  weights.Dtype // F32, F16, BF16, F8_E4M3 or U8
	Shape  []int64
	Values []float32 // nil for noise that depends on Name only
}

// Noise returns n values that depend on name only.
func Noise(name string, n int64) []float32 {
	var seed [32]byte
	copy(seed[:], name+"|")
	for i := range seed { // long names differ after 32 bytes
		for j := i; j < len(name); j += len(seed) {
			seed[i] = seed[i]*31 + name[j]
		}
	}
	rng := rand.New(rand.NewChaCha8(seed))
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(rng.IntN(4001)-2000) / 1024
	}
	return values
}

// Elements returns the number of elements of a shape.
func Elements(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

// Encode returns values as a tensor of a type holds them.
func Encode(t testing.TB, dtype weights.Dtype, values []float32) []byte {
	switch dtype {
	case weights.F8E4M3:
		return encodeF8(values)
	case weights.U8:
		data := make([]byte, len(values))
		for i, v := range values {
			data[i] = byte(v)
		}
		return data
	}
	typ, err := gguf.ParseType(string(dtype))
	require.NoError(t, err)
	data := make([]byte, typ.RowBytes(int64(len(values))))
	require.NoError(t, quant.Quantize(typ, data, values, len(values), nil))
	return data
}

// encodeF8 returns the codes of the nearest numbers.
func encodeF8(values []float32) []byte {
	var codes [256]byte
	for i := range codes {
		codes[i] = byte(i)
	}
	var numbers [256]float32
	weights.F8E4M3.Float32(numbers[:], codes[:])
	data := make([]byte, len(values))
	for i, v := range values {
		nearest := math.Inf(1)
		for code, number := range numbers {
			if d := math.Abs(float64(number - v)); d < nearest { // never for those that are no numbers
				data[i], nearest = byte(code), d
			}
		}
	}
	return data
}

// Values returns all values of a tensor.
func Values(t testing.TB, r weights.Rows) []float32 {
	require.NotNil(t, r)
	rows, length := weights.Count(r.Shape())
	values := make([]float32, rows*length)
	require.NoError(t, r.ReadRows(values, 0, rows))
	return values
}

// WriteFile writes a safetensors file.
func WriteFile(t testing.TB, path string, tensors []Tensor) {
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	var data []byte
	for _, tensor := range tensors {
		values := tensor.Values
		if values == nil {
			values = Noise(tensor.Name, Elements(tensor.Shape))
		}
		start := len(data)
		data = append(data, Encode(t, tensor.Dtype, values)...)
		header[tensor.Name] = map[string]any{"dtype": tensor.Dtype, "shape": tensor.Shape, "data_offsets": []int{start, len(data)}}
	}
	text, err := json.Marshal(header)
	require.NoError(t, err)
	file := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	file = append(append(file, text...), data...)
	require.NoError(t, os.WriteFile(path, file, 0o644))
}

// WriteShards writes one file for each list of tensors, with an index unless
// there is only one.
func WriteShards(t testing.TB, dir string, shards ...[]Tensor) {
	if len(shards) == 1 {
		WriteFile(t, filepath.Join(dir, "model.safetensors"), shards[0])
		return
	}
	weightMap := make(map[string]string)
	for i, tensors := range shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		WriteFile(t, filepath.Join(dir, name), tensors)
		for _, tensor := range tensors {
			weightMap[tensor.Name] = name
		}
	}
	WriteJSON(t, filepath.Join(dir, "model.safetensors.index.json"), map[string]any{"weight_map": weightMap})
}

// WriteJSON writes v as JSON.
func WriteJSON(t testing.TB, path string, v any) {
	data, err := json.MarshalIndent(v, "", " ")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, data, 0o644))
}

// Config returns a small config.json of the class, with the given changes; a
// nil value removes a key.
func Config(class, modelType string, changes map[string]any) map[string]any {
	config := map[string]any{
		"architectures": []string{class}, "model_type": modelType,
		"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
		"vocab_size": 288, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
		"tie_word_embeddings": false, "bos_token_id": 1, "eos_token_id": 2,
	}
	maps.Copy(config, changes)
	maps.DeleteFunc(config, func(_ string, v any) bool { return v == nil })
	return config
}

// Tensors returns the tensors of a model with Config's shapes: dense if experts
// is 0. vocab is the number of embeddings, mlp the width of the feed-forward
// part.
func Tensors(dtype weights.Dtype, vocab, mlp, experts int64) []Tensor {
	tensors := []Tensor{
		{Name: "model.embed_tokens.weight", Shape: []int64{vocab, 64}},
		{Name: "model.norm.weight", Shape: []int64{64}},
		{Name: "lm_head.weight", Shape: []int64{vocab, 64}},
	}
	for layer := range 2 {
		add := func(name string, shape ...int64) {
			tensors = append(tensors, Tensor{Name: fmt.Sprintf("model.layers.%d.%s.weight", layer, name), Shape: shape})
		}
		add("input_layernorm", 64)
		add("post_attention_layernorm", 64)
		add("self_attn.q_proj", 64, 64)
		add("self_attn.k_proj", 32, 64)
		add("self_attn.v_proj", 32, 64)
		add("self_attn.o_proj", 64, 64)
		if experts == 0 {
			add("mlp.gate_proj", mlp, 64)
			add("mlp.up_proj", mlp, 64)
			add("mlp.down_proj", 64, mlp)
			continue
		}
		add("block_sparse_moe.gate", experts, 64)
		for e := range experts {
			add(fmt.Sprintf("block_sparse_moe.experts.%d.w1", e), mlp, 64)
			add(fmt.Sprintf("block_sparse_moe.experts.%d.w2", e), 64, mlp)
			add(fmt.Sprintf("block_sparse_moe.experts.%d.w3", e), mlp, 64)
		}
	}
	for i := range tensors {
		tensors[i].Dtype = dtype
	}
	return tensors
}

// Fuse returns the tensors, of Mixtral or as WithExperts makes them, with the
// experts as transformers 5 holds them.
func Fuse(tensors []Tensor, mlp, experts int64) []Tensor {
	var fused []Tensor
	byName := make(map[string]Tensor)
	for _, tensor := range tensors {
		byName[tensor.Name] = tensor
	}
	values := func(name string) []float32 { return Noise(name, Elements(byName[name].Shape)) }
	for layer := range 2 {
		to := fmt.Sprintf("model.layers.%d.mlp.", layer)
		from, gateName, upName, downName := to, "gate_proj", "up_proj", "down_proj"
		if mixtral := fmt.Sprintf("model.layers.%d.block_sparse_moe.", layer); byName[mixtral+"gate.weight"].Name != "" {
			from, gateName, upName, downName = mixtral, "w1", "w3", "w2"
		}
		var gateUp, down []float32
		for e := range experts {
			gateUp = append(gateUp, values(fmt.Sprintf("%sexperts.%d.%s.weight", from, e, gateName))...)
			gateUp = append(gateUp, values(fmt.Sprintf("%sexperts.%d.%s.weight", from, e, upName))...)
			down = append(down, values(fmt.Sprintf("%sexperts.%d.%s.weight", from, e, downName))...)
		}
		router := byName[from+"gate.weight"]
		fused = append(fused,
			Tensor{to + "gate.weight", router.Dtype, router.Shape, values(router.Name)},
			Tensor{to + "experts.gate_up_proj", router.Dtype, []int64{experts, 2 * mlp, 64}, gateUp},
			Tensor{to + "experts.down_proj", router.Dtype, []int64{experts, 64, mlp}, down})
		tensors = slices.DeleteFunc(slices.Clone(tensors), func(t Tensor) bool {
			return t.Name == router.Name || strings.HasPrefix(t.Name, from+"experts.")
		})
	}
	return append(fused, tensors...)
}

// SentencePiece returns a tokenizer.model with unknown, control, byte and a few
// normal pieces: 272 in all.
func SentencePiece() []byte {
	var model []byte
	piece := func(text string, score float32, typ uint64) {
		var p []byte
		p = protowire.AppendString(protowire.AppendTag(p, 1, protowire.BytesType), text)
		p = protowire.AppendFixed32(protowire.AppendTag(p, 2, protowire.Fixed32Type), math.Float32bits(score))
		if typ != 1 {
			p = protowire.AppendVarint(protowire.AppendTag(p, 3, protowire.VarintType), typ)
		}
		model = protowire.AppendBytes(protowire.AppendTag(model, 1, protowire.BytesType), p)
	}
	piece("<unk>", 0, 2)
	piece("<s>", 0, 3)
	piece("</s>", 0, 3)
	for b := range 256 {
		piece(fmt.Sprintf("<0x%02X>", b), 0, 6)
	}
	for i, text := range []string{"▁", "e", "t", "a", "▁t", "he", "▁the", "n", "an", "é", "語", "▁▁"} {
		piece(text, -float32(i), 1)
	}
	piece("<user>", 0, 4)
	var trainer []byte // says that it is BPE with byte fallback
	trainer = protowire.AppendVarint(protowire.AppendTag(trainer, 3, protowire.VarintType), 2)
	trainer = protowire.AppendVarint(protowire.AppendTag(trainer, 35, protowire.VarintType), 1)
	model = protowire.AppendBytes(protowire.AppendTag(model, 2, protowire.BytesType), trainer)
	normalizer := protowire.AppendVarint(protowire.AppendTag(nil, 4, protowire.VarintType), 0) // leaves spaces as they are
	return protowire.AppendBytes(protowire.AppendTag(model, 3, protowire.BytesType), normalizer)
}

// WriteTokenizer writes tokenizer.model.
func WriteTokenizer(t testing.TB, dir string) {
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.model"), SentencePiece(), 0o644))
}
