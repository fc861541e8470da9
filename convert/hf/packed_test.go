package hf_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// TestPacked: a checkpoint whose matrices are packed is the one that they stand for.
func TestPacked(t *testing.T) {
	const height, width = 48, 40
	var plain, packed []testmodel.Tensor
	for _, tensor := range testmodel.Tensors(weights.BF16, 288, 96, 2) {
		plain, packed = append(plain, tensor), append(packed, tensor)
		if !strings.Contains(tensor.Name, "_proj.") && !strings.Contains(tensor.Name, ".experts.") {
			continue
		}
		rows, length := tensor.Shape[0], tensor.Shape[1]
		grid := []int64{(rows + height - 1) / height, (length + width - 1) / width}
		scales := testmodel.Noise(tensor.Name+"_scale_inv", grid[0]*grid[1])
		code := &packed[len(packed)-1]
		code.Dtype = weights.F8E4M3
		packed = append(packed, testmodel.Tensor{Name: tensor.Name + "_scale_inv", Dtype: weights.F32, Shape: grid, Values: scales})
		values := make([]float32, rows*length)
		weights.F8E4M3.Float32(values, testmodel.Encode(t, weights.F8E4M3, testmodel.Noise(tensor.Name, rows*length)))
		for i := range values {
			y, x := int64(i)/length, int64(i)%length
			values[i] *= scales[y/height*grid[1]+x/width]
		}
		plain[len(plain)-1].Dtype, plain[len(plain)-1].Values = weights.F32, values
	}
	config := object{"num_local_experts": 2, "intermediate_size": 96}
	open := func(tensors []testmodel.Tensor, opts hf.Options) *hf.Checkpoint {
		dir := filepath.Join(t.TempDir(), "model")
		require.NoError(t, os.Mkdir(dir, 0o755))
		testmodel.WriteShards(t, dir, tensors)
		testmodel.WriteTokenizer(t, dir)
		testmodel.WriteJSON(t, filepath.Join(dir, "config.json"), testmodel.Config("MixtralForCausalLM", "mixtral", config))
		c, err := hf.Open(dir, opts)
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	for _, opts := range []hf.Options{{}, {Auto: true}, {Type: new(gguf.Q8_0)}} {
		delete(config, "quantization_config")
		want := open(plain, opts)
		config["quantization_config"] = object{"quant_method": "fp8", "weight_block_size": []int{height, width}}
		got := open(packed, opts)
		wantKV, wantTensors := describe(t, want)
		kv, tensors := describe(t, got)
		require.Equal(t, wantKV, kv)
		require.Equal(t, wantTensors, tensors)
		for i, info := range got.Tensors() {
			require.Empty(t, want.Packings(i))
			if strings.HasSuffix(info.Name, "_exps.weight") || strings.Contains(info.Name, ".attn_q.") {
				require.Len(t, got.Packings(i), 1, info.Name)
				require.Equal(t, "FP8 48x40", got.Packings(i)[0].String())
				require.Equal(t, info.Elements(), got.Packings(i)[0].Elements, "of all experts")
			}
		}
		stored, err := gguf.StorageOf(got)
		require.NoError(t, err)
		require.Equal(t, got.Inputs()[0].Size(), stored.Bytes)
	}
}

// TestNVFP4: what is packed as GGUF's blocks is goes into the file that
// convert_hf_to_gguf.py writes.
func TestNVFP4(t *testing.T) {
	dir := filepath.Join(t.ArtifactDir(), "NVFP4")
	require.NoError(t, os.Mkdir(dir, 0o755))
	var tensors []testmodel.Tensor
	for _, tensor := range testmodel.Tensors(weights.BF16, 288, 128, 0) {
		module, ok := strings.CutSuffix(tensor.Name, "_proj.weight")
		if !ok {
			tensors = append(tensors, tensor)
			continue
		}
		n, k := tensor.Shape[0], tensor.Shape[1]
		codes, scales := testmodel.Noise(tensor.Name, n*k/2), testmodel.Noise(tensor.Name+"_scale", n*k/16)
		for i, v := range codes {
			codes[i] = float32(int(v*1024) & 255)
		}
		for i, v := range scales {
			scales[i] = max(v, -v)
		}
		tensors = append(tensors,
			testmodel.Tensor{Name: tensor.Name, Dtype: weights.U8, Shape: []int64{n, k / 2}, Values: codes},
			testmodel.Tensor{Name: tensor.Name + "_scale", Dtype: weights.F8E4M3, Shape: []int64{n, k / 16}, Values: scales})
		global := testmodel.Tensor{Name: tensor.Name + "_scale_2", Dtype: weights.F32, Shape: []int64{}, Values: []float32{float32(n) / 1000}}
		if strings.HasSuffix(module, "v") {
			global.Values[0] = 1 // needs no tensor
		}
		input := testmodel.Tensor{Name: module + "_proj.input_scale", Dtype: weights.F32, Shape: []int64{}, Values: []float32{float32(k) / 7}}
		tensors = append(tensors, global, input)
	}
	testmodel.WriteShards(t, dir, tensors)
	testmodel.WriteTokenizer(t, dir)
	testmodel.WriteJSON(t, filepath.Join(dir, "config.json"), testmodel.Config("MistralForCausalLM", "mistral", object{
		"intermediate_size": 128, "sliding_window": nil, "torch_dtype": "bfloat16",
		"quantization_config": object{"quant_method": "modelopt", "quant_algo": "NVFP4", "config_groups": object{"group_0": object{
			"targets": []string{"Linear"}, "weights": object{"dynamic": false, "num_bits": 4, "type": "float", "group_size": 16}}}},
	}))
	c, err := hf.Open(dir, hf.Options{Auto: true, Exact: true})
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, "ccaf723b81483749510cf85a5a57105b58191aeda970c0e3e68608b4bcf68129", fileHash(t, c))
}
