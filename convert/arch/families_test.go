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
		value []float32 // of a tensor of one number
	}
	var families []struct {
		Name, Config     string
		Sources, Tensors [][]json.RawMessage
		KV               [][2]any
	}
	require.NoError(t, json.NewDecoder(data).Decode(&families))
	read := func(raw [][]json.RawMessage) (tensors []tensor) {
		for _, r := range raw {
			var next tensor
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
		t.Run(f.Name, func(t *testing.T) {
			m, err := arch.Read([]byte(f.Config))
			require.NoError(t, err)
			var set weights.List
			for _, s := range read(f.Sources) {
				r := weights.Compute(s.shape, weights.F32, 1, nil)
				if s.value != nil {
					r = weights.Values(weights.F32, s.value, s.shape...)
				}
				require.NoError(t, set.Add(s.name, r))
			}
			planned, err := m.Plan(&set)
			require.NoError(t, err)
			var got []tensor
			for _, p := range planned {
				shape := slices.Clone(p.Shape())
				slices.Reverse(shape)
				got = append(got, tensor{name: p.Name, shape: shape})
			}
			require.Equal(t, read(f.Tensors), got)
			var pairs [][2]any
			early, err := m.EarlyMetadata()
			require.NoError(t, err)
			for _, kv := range append(early, m.Metadata(0)...) {
				pairs = append(pairs, [2]any{kv.Key, plain(t, kv)})
			}
			require.Equal(t, f.KV, pairs)
		})
	}
}

// plain returns a value as JSON has it.
func plain(t *testing.T, kv gguf.KV) (v any) {
	value := kv.Value
	switch f := value.(type) {
	case float32:
		value = float64(f)
	case []float32:
		var all []float64
		for _, f := range f {
			all = append(all, float64(f))
		}
		value = all
	}
	data, err := json.Marshal(value)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &v))
	return v
}
