package arch_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
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
	readFamilies(t, func(t *testing.T, config string, kv [][2]any, sources, tensors []familyTensor) {
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
	})
}

// metadata returns all that a model has of its own.
func metadata(t *testing.T, m *arch.Model) []gguf.KV {
	early, err := m.EarlyMetadata()
	require.NoError(t, err)
	return append(early, m.Metadata(0)...)
}

// TestFamiliesRestored: a checkpoint that is made of a model converts to the same model.
func TestFamiliesRestored(t *testing.T) {
	readFamilies(t, func(t *testing.T, config string, _ [][2]any, sources, _ []familyTensor) {
		m, err := arch.Read([]byte(config))
		require.NoError(t, err)
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
		want := plannedSource(t, m, &set)
		restored, err := arch.Restore(want)
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
	})
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
