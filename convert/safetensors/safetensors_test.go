package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// file puts a length before a header and data after it.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	b = append(b, header...)
	return append(b, make([]byte, data)...)
}

func parse(data []byte) (*safetensors.File, error) {
	return safetensors.NewFile("test.safetensors", bytes.NewReader(data), int64(len(data)))
}

func TestReadsRanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	values := make([]float32, 24)
	for i := range values {
		values[i] = float32(i) / 4
	}
	for _, dtype := range []weights.Dtype{weights.F32, weights.F16, weights.BF16} {
		testmodel.WriteFile(t, path, []testmodel.Tensor{
			{Name: "z", Dtype: weights.F32, Shape: []int64{2}},
			{Name: "a", Dtype: dtype, Shape: []int64{2, 3, 4}, Values: values},
			{Name: "empty", Dtype: dtype, Shape: []int64{0, 3}},
		})
		f, err := safetensors.Open(path)
		require.NoError(t, err)
		require.Equal(t, []string{"a", "empty", "z"}, f.Names())
		a := f.Get("a")
		require.Equal(t, dtype, a.Dtype())
		require.Equal(t, []int64{2, 3, 4}, a.Shape())
		for first := range 6 {
			for n := range 7 - first {
				raw, floats, direct := make([]byte, 4*n*dtype.Size()), make([]float32, 4*n), make([]float32, 4*n)
				require.NoError(t, a.ReadRaw(raw, int64(first), int64(n)))
				dtype.Float32(floats, raw)
				require.Equal(t, values[4*first:][:4*n], floats)
				require.NoError(t, a.ReadRows(direct, int64(first), int64(n)))
				require.Equal(t, floats, direct)
			}
		}
		all, columns := make([]byte, 24*dtype.Size()), make([]byte, 12*dtype.Size())
		require.NoError(t, a.ReadRaw(all, 0, 6))
		require.NoError(t, weights.ReadColumns(a, columns, 1, 2))
		for row := range 6 {
			require.Equal(t, all[(4*row+1)*dtype.Size():][:2*dtype.Size()], columns[2*row*dtype.Size():][:2*dtype.Size()])
		}
		require.NoError(t, weights.ReadColumns(a, all, 0, 4))
		some, five := make([]byte, 5*dtype.Size()), make([]float32, 5)
		require.NoError(t, weights.ReadElements(a, some, 6))
		dtype.Float32(five, some)
		require.Equal(t, values[6:11], five)
		require.NoError(t, weights.ReadElements(a, nil, 24))
		require.Error(t, weights.ReadElements(a, some, 20))
		require.Error(t, weights.ReadElements(a, some, -1))
		require.Error(t, weights.ReadElements(a, some[:dtype.Size()+1], 0))
		require.Error(t, weights.ReadColumns(a, columns, 3, 2))
		require.NoError(t, f.Get("empty").ReadRows(nil, 0, 0))
		require.Error(t, a.ReadRaw(make([]byte, 8*dtype.Size()), 5, 2))
		require.Error(t, a.ReadRaw(make([]byte, 4*dtype.Size()), 0, 2))
		require.Error(t, a.ReadRows(make([]float32, 4), -1, 1))
		require.NoError(t, f.Close())
	}
}

// hostile are files that must be refused, with a part of the error.
var hostile = map[string]struct {
	data []byte
	want string
}{
	"empty":            {nil, "too short"},
	"short length":     {make([]byte, 7), "too short"},
	"length too large": {file("", 0)[:8:8], "not a JSON object"},
	"length > file":    {binary.LittleEndian.AppendUint64(nil, 1), "header of 1 bytes at offset 8"},
	"length > limit":   {binary.LittleEndian.AppendUint64(nil, 100_000_001), "limit"},
	"length negative":  {binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "limit"},
	"not JSON":         {file("hello", 0), "not a JSON object"},
	"array":            {file("[]", 0), "not a JSON object"},
	"unfinished":       {file(`{"a":`, 0), `tensor "a"`},
	"two objects":      {file(`{}{}`, 0), "follows"},
	"junk after":       {file(`{} x`, 0), "follows"},
	"twice":            {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), "twice"},
	"number":           {file(`{"a":1}`, 0), `tensor "a"`},
	"deep":             {file(`{"a":{"shape":`+strings.Repeat("[", 20000), 0), `tensor "a"`},
	"metadata":         {file(`{"__metadata__":{"a":1}}`, 0), "__metadata__"},
	"no shape":         {file(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1), "shape is missing"},
	"no offsets":       {file(`{"a":{"dtype":"U8","shape":[1]}}`, 1), "data_offsets is missing"},
	"three offsets":    {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}}`, 1), "not a beginning and an end"},
	"backwards":        {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, 1), "not a beginning and an end"},
	"negative offset":  {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,0]}}`, 1), `"-1" is not a size`},
	"fraction":         {file(`{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}`, 1), `"1.5" is not a size`},
	"huge number":      {file(`{"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,1]}}`, 1), "is not a size"},
	"negative dim":     {file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}`, 1), `"-1" is not a size`},
	"overflow":         {file(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "impossible shape"},
	"overflow bytes":   {file(`{"a":{"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,0]}}`, 0), "impossible shape"},
	"size":             {file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, 4), "takes 8 bytes"},
	"outside":          {file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}`, 3), "needs 4 bytes"},
	"gap at start":     {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), "starts at offset"},
	"gap":              {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, 3), `"b" starts at offset`},
	"overlap":          {file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 3), `"b" starts at offset`},
	"rest":             {file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 2), "the last tensor ends"},
	"dtype":            {file(`{"a":{"dtype":"F4","shape":[1],"data_offsets":[0,1]}}`, 1), `"F4"`},
}

func TestHostileHeaders(t *testing.T) {
	for name, tt := range hostile {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tt.data)
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "test.safetensors")
			if name == "dtype" {
				require.ErrorIs(t, err, gguf.ErrUnsupported)
			} else {
				require.ErrorIs(t, err, gguf.ErrCorrupt)
			}
		})
	}
}

// TestHeadersAsTheReference: testdata/headers.json has headers, how many bytes follow, and
// whether version 0.8.0 of the library safetensors takes them.
func TestHeadersAsTheReference(t *testing.T) {
	// What two readers could understand in two ways is refused here, and what serde allows
	// but no writer of headers does.
	stricter := []string{"name twice", "name twice by escape", "name twice, first broken", "entry list", "dtype object", "overflow zero", "zero first large"}
	text, err := os.ReadFile("testdata/headers.json")
	require.NoError(t, err)
	var headers []struct {
		Name, Header string
		Bytes        int
		Taken        bool
	}
	require.NoError(t, json.Unmarshal(text, &headers))
	for _, h := range headers {
		_, err := parse(file(h.Header, h.Bytes))
		switch {
		case !h.Taken || slices.Contains(stricter, h.Name):
			require.Error(t, err, h.Name)
		case errors.Is(err, gguf.ErrUnsupported): // a data type that has no place here
		default:
			require.NoError(t, err, h.Name)
		}
	}
}

// TestMetadata: of several files the last that has a text counts, as in transformers.
func TestMetadata(t *testing.T) {
	dir := t.TempDir()
	for i, header := range []string{
		`{"__metadata__":{"format":"pt","a":"1","b":"1","b":"2"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`,
		`{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"__metadata__":{"a":"2"}}`,
		`{"c":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"__metadata__":null}`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("model-%05d-of-00003.safetensors", i+1)), file(header, 1), 0o644))
	}
	c, err := safetensors.OpenDir(dir)
	require.NoError(t, err)
	defer c.Close()
	for name, want := range map[string]string{"format": "pt", "a": "2", "b": "2", "c": ""} {
		require.Equal(t, want, c.Metadata(name), name)
	}
	f, err := parse(file(`{"__metadata__":{"a":"1"},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 1))
	require.NoError(t, err)
	require.Equal(t, "1", f.Metadata("a"))
	require.Empty(t, f.Metadata("b"))
}

func TestTooManyTensors(t *testing.T) {
	var header strings.Builder
	for i := range 1<<18 + 1 {
		fmt.Fprintf(&header, `,"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, i)
	}
	_, err := parse(file("{"+header.String()[1:]+"}", 0))
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.ErrorContains(t, err, "more than")
}

func TestTruncatedAnywhere(t *testing.T) {
	whole := file(`{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[],"data_offsets":[3,4]}}   `, 4)
	_, err := parse(whole)
	require.NoError(t, err)
	for n := range whole {
		_, err := parse(whole[:n])
		require.ErrorIs(t, err, gguf.ErrCorrupt, "%d bytes", n)
	}
}

func FuzzNewFile(f *testing.F) {
	for _, tt := range hostile {
		f.Add(tt.data)
	}
	f.Add(file(`{"a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},"__metadata__":{"format":"pt"}}`, 8))
	f.Add(file(`{"a":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8],"strides":[1,{"x":null}]}}`, 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parse(data)
		if err != nil {
			return
		}
		total := int64(0)
		for _, name := range file.Names() {
			tensor := file.Get(name)
			rows, length := weights.Count(tensor.Shape())
			raw := make([]byte, rows*length*int64(tensor.Dtype().Size()))
			require.NoError(t, tensor.ReadRaw(raw, 0, rows))
			require.NoError(t, tensor.ReadRows(make([]float32, rows*length), 0, rows))
			total += int64(len(raw))
		}
		require.LessOrEqual(t, total, int64(len(data)))
	})
}

// shard is a tensor of one element, and directories of such files.
func shard(t *testing.T, dir, name string, tensors ...string) {
	var list []testmodel.Tensor
	for _, tensor := range tensors {
		list = append(list, testmodel.Tensor{Name: tensor, Dtype: weights.F32, Shape: []int64{1}})
	}
	testmodel.WriteFile(t, filepath.Join(dir, name), list)
}

func index(t *testing.T, dir string, shardOf map[string]string) {
	testmodel.WriteJSON(t, filepath.Join(dir, "model.safetensors.index.json"), map[string]any{"weight_map": shardOf})
}

func TestDirectories(t *testing.T) {
	const s1, s2 = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
	for name, tt := range map[string]struct {
		write func(t *testing.T, dir string)
		want  string // tensors, or a part of the error
		err   error
	}{
		"single": {func(t *testing.T, dir string) { shard(t, dir, "model.safetensors", "b", "a") }, "a b", nil},
		"sharded": {func(t *testing.T, dir string) {
			shard(t, dir, s1, "z", "c")
			shard(t, dir, s2, "a")
			shard(t, dir, "consolidated.safetensors", "other")
			index(t, dir, map[string]string{"z": s1, "c": s1, "a": s2})
		}, "c z a", nil},
		"no index": {func(t *testing.T, dir string) { shard(t, dir, s1, "b"); shard(t, dir, s2, "a") }, "b a", nil},
		"stale index": {func(t *testing.T, dir string) {
			shard(t, dir, "output.safetensors", "a")
			index(t, dir, map[string]string{"z": s1, "a": s2})
		}, "a", nil},
		"missing shard": {func(t *testing.T, dir string) {
			shard(t, dir, s1, "b")
			index(t, dir, map[string]string{"b": s1, "a": s2})
		}, s2 + " is missing", gguf.ErrCorrupt},
		"missing shard without index": {func(t *testing.T, dir string) { shard(t, dir, s2, "b") }, s1 + " is missing", gguf.ErrCorrupt},
		"missing tensor": {func(t *testing.T, dir string) {
			shard(t, dir, s1, "b")
			shard(t, dir, s2, "a")
			index(t, dir, map[string]string{"b": s1, "a": s2, "c": s2})
		}, `"c"`, gguf.ErrCorrupt},
		"other shard": {func(t *testing.T, dir string) {
			shard(t, dir, s1, "b")
			shard(t, dir, s2, "a")
			index(t, dir, map[string]string{"b": s2, "a": s1})
		}, `"b" is in ` + s2, gguf.ErrCorrupt},
		"unlisted tensor": {func(t *testing.T, dir string) {
			shard(t, dir, s1, "b", "c")
			index(t, dir, map[string]string{"b": s1})
		}, `"c"`, gguf.ErrCorrupt},
		"unlisted shard": {func(t *testing.T, dir string) {
			shard(t, dir, s1, "b")
			shard(t, dir, s2, "a")
			index(t, dir, map[string]string{"b": s1})
		}, s2, gguf.ErrCorrupt},
		"twice": {func(t *testing.T, dir string) { shard(t, dir, s1, "b"); shard(t, dir, s2, "b") }, `"b" is in`, gguf.ErrCorrupt},
		"outside": {func(t *testing.T, dir string) {
			shard(t, dir, s1, "b")
			index(t, dir, map[string]string{"b": "../" + filepath.Base(dir) + "/" + s1})
		}, "not a file name", gguf.ErrCorrupt},
		"outside, Windows": {func(t *testing.T, dir string) {
			shard(t, dir, s1, "b")
			index(t, dir, map[string]string{"b": `..\x.safetensors`})
		}, "not a file name", gguf.ErrCorrupt},
		"parent": {func(t *testing.T, dir string) {
			shard(t, dir, s1, "b")
			index(t, dir, map[string]string{"b": ".."})
		}, "not a file name", gguf.ErrCorrupt},
		"index without map": {func(t *testing.T, dir string) { shard(t, dir, s1, "b"); index(t, dir, nil) }, "weight_map", gguf.ErrCorrupt},
		"variants beside": {func(t *testing.T, dir string) {
			shard(t, dir, "model.safetensors", "a")
			shard(t, dir, "model.fp16.safetensors", "a")
			shard(t, dir, s1, "a", "b")
			shard(t, dir, "adapter_model.safetensors", "a")
		}, "a", nil},
		"variant of parts": {func(t *testing.T, dir string) {
			shard(t, dir, s1, "b")
			shard(t, dir, s2, "a")
			shard(t, dir, "model.fp16-00001-of-00002.safetensors", "a")
			shard(t, dir, "model.ema.safetensors", "b")
		}, "b a", nil},
		"of AutoGPTQ": {func(t *testing.T, dir string) { shard(t, dir, "gptq_model-4bit-128g.safetensors", "a") }, "a", nil},
		"of ExLlama": {func(t *testing.T, dir string) {
			shard(t, dir, "output-00001-of-00002.safetensors", "b")
			shard(t, dir, "output-00002-of-00002.safetensors", "a")
		}, "b a", nil},
		"only a variant": {func(t *testing.T, dir string) { shard(t, dir, "model.fp16.safetensors", "a") }, "a", nil},
		"whole beside parts": {func(t *testing.T, dir string) {
			shard(t, dir, s1, "b")
			shard(t, dir, s2, "a")
			shard(t, dir, "model.safetensors", "other")
			index(t, dir, map[string]string{"b": s1, "a": s2})
		}, "b a", nil},
		"two variants": {func(t *testing.T, dir string) {
			shard(t, dir, "model.fp16.safetensors", "a")
			shard(t, dir, "model.fp32.safetensors", "a")
		}, "model.fp32.safetensors", gguf.ErrCorrupt},
		"adapter": {func(t *testing.T, dir string) { shard(t, dir, "adapter_model.safetensors", "a") }, "PEFT adapter", gguf.ErrUnsupported},
		"pickle": {func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "pytorch_model.bin"), []byte("x"), 0o644))
		}, "pickle", gguf.ErrUnsupported},
		"nothing":    {func(*testing.T, string) {}, "no safetensors files", os.ErrNotExist},
		"other name": {func(t *testing.T, dir string) { shard(t, dir, "adapter.safetensors", "b") }, "adapter.safetensors", os.ErrNotExist},
		"corrupt shard": {func(t *testing.T, dir string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors"), []byte("x"), 0o644))
		}, "model.safetensors", gguf.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tt.write(t, dir)
			c, err := safetensors.OpenDir(dir)
			if tt.err != nil {
				require.ErrorIs(t, err, tt.err)
				require.ErrorContains(t, err, tt.want)
				return
			}
			require.NoError(t, err)
			defer c.Close()
			require.Equal(t, tt.want, strings.Join(c.Names(), " "))
			require.NotNil(t, c.Get(c.Names()[0]))
			require.Nil(t, c.Get("absent"))
		})
	}
}

func TestCutAfterOpening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	testmodel.WriteFile(t, path, []testmodel.Tensor{{Name: "a", Dtype: weights.F32, Shape: []int64{4}}})
	f, err := safetensors.Open(path)
	require.NoError(t, err)
	defer f.Close()
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, info.Size()-1))
	err = f.Get("a").ReadRaw(make([]byte, 16), 0, 1)
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	require.ErrorContains(t, err, fmt.Sprintf(`tensor "a" at offset %d`, info.Size()-16))
}

// TestView: many look at tensors of two files at the same time and see what is stored there.
func TestView(t *testing.T) {
	dir := t.TempDir()
	want := make(map[string][]byte)
	for i := range 2 {
		var tensors []testmodel.Tensor
		for j := range 3 {
			name := fmt.Sprintf("%d.%d", i, j)
			values := []float32{float32(i), float32(j), 2, 3}
			tensors = append(tensors, testmodel.Tensor{Name: name, Dtype: weights.BF16, Shape: []int64{4}, Values: values})
			want[name] = make([]byte, 8)
			weights.BF16.Encode(want[name], values)
		}
		testmodel.WriteFile(t, filepath.Join(dir, fmt.Sprintf("model-%05d-of-00002.safetensors", i+1)), tensors)
	}
	c, err := safetensors.OpenDir(dir)
	require.NoError(t, err)
	if err := weights.View(c.Get("0.0"), func([]byte) error { return nil }); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("files cannot be mapped here")
	}
	var group errgroup.Group
	for range 50 {
		for name, want := range want {
			group.Go(func() error {
				return weights.View(c.Get(name), func(data []byte) error {
					runtime.Gosched()
					if !bytes.Equal(data, want) {
						return fmt.Errorf("%s: %x, want %x", name, data, want)
					}
					return nil
				})
			})
		}
	}
	require.NoError(t, group.Wait())
	require.ErrorIs(t, weights.View(c.Get("1.0"), func([]byte) error { return os.ErrInvalid }), os.ErrInvalid)
	require.NoError(t, c.Close())

	f, err := parse(file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4))
	require.NoError(t, err)
	require.ErrorIs(t, weights.View(f.Get("a"), func([]byte) error { panic("nothing is mapped") }), errors.ErrUnsupported)
	require.ErrorIs(t, weights.View(weights.Values(weights.F32, nil, 0), nil), errors.ErrUnsupported)
}

func TestFileIsCutShortUnderAView(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	testmodel.WriteFile(t, path, []testmodel.Tensor{{Name: "a", Dtype: weights.F32, Shape: []int64{1 << 16}}})
	f, err := safetensors.Open(path)
	require.NoError(t, err)
	defer f.Close()
	sum := func(data []byte) error {
		for _, b := range data {
			if b != 0 {
				return errors.New("not zero")
			}
		}
		return nil
	}
	if err := weights.View(f.Get("a"), sum); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("files cannot be mapped here")
	}
	require.NoError(t, os.Truncate(path, 100))
	for range 2 {
		err = weights.View(f.Get("a"), sum)
		require.ErrorIs(t, err, gguf.ErrCorrupt)
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, `tensor "a"`)
	}
}

// FuzzIndex: whatever an index says, a directory opens with the tensors that are there, or
// with an error.
func FuzzIndex(f *testing.F) {
	for _, text := range []string{
		`{"weight_map": {"a": "model-00001-of-00001.safetensors"}}`, `{"metadata": {"total_size": NaN}, "weight_map": {"a": "model-00001-of-00001.safetensors", "b": "x"}}`,
		`{"weight_map": {"a": "../x.safetensors"}}`, `{"weight_map": {"a": null}}`, `{"Weight_Map": {}}`, `null`, `{`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, index []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), index, 0o644))
		testmodel.WriteFile(t, filepath.Join(dir, "model-00001-of-00001.safetensors"), []testmodel.Tensor{{Name: "a", Dtype: weights.F32, Shape: []int64{1}}})
		c, err := safetensors.OpenDir(dir)
		if err != nil {
			require.ErrorContains(t, err, dir)
			return
		}
		require.Len(t, c.Names(), 1)
		require.NoError(t, c.Close())
	})
}
