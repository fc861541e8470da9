package arch_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// TestFamilies compares metadata, and the names, shapes and order of tensors, with what
// convert_hf_to_gguf.py makes of checkpoints of many families. See testdata/families.py.
func TestFamilies(t *testing.T) {
	file, err := os.Open("testdata/families.json.gz")
	require.NoError(t, err)
	defer file.Close()
	data, err := gzip.NewReader(file)
	require.NoError(t, err)
	type tensor struct {
		name  string
		shape []int64
	}
	var families []struct {
		Name, Config     string
		Sources, Tensors [][2]json.RawMessage
		KV               [][2]any
	}
	require.NoError(t, json.NewDecoder(data).Decode(&families))
	read := func(raw [][2]json.RawMessage) (tensors []tensor) {
		for _, r := range raw {
			var next tensor
			require.NoError(t, json.Unmarshal(r[0], &next.name))
			require.NoError(t, json.Unmarshal(r[1], &next.shape))
			tensors = append(tensors, next)
		}
		return tensors
	}
	for _, f := range families {
		t.Run(f.Name, func(t *testing.T) {
			m, err := arch.Read([]byte(f.Config))
			require.NoError(t, err)
			var set weights.List
			for _, s := range read(f.Sources) {
				require.NoError(t, set.Add(s.name, weights.Compute(s.shape, weights.F32, 1, nil)))
			}
			planned, err := m.Plan(&set)
			require.NoError(t, err)
			var got []tensor
			for _, p := range planned {
				shape := slices.Clone(p.Shape())
				slices.Reverse(shape)
				got = append(got, tensor{p.Name, shape})
			}
			require.Equal(t, read(f.Tensors), got)
			var pairs [][2]any
			for _, kv := range append(m.EarlyMetadata(), m.Metadata(0)...) {
				pairs = append(pairs, [2]any{kv.Key, plain(t, kv)})
			}
			require.Equal(t, f.KV, pairs)
		})
	}
}

// plain returns a value as JSON has it.
func plain(t *testing.T, kv gguf.KV) (v any) {
	value := kv.Value
	if f, ok := value.(float32); ok {
		value = float64(f)
	}
	data, err := json.Marshal(value)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &v))
	return v
}
