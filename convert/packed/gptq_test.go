package packed_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/internal/testmodel"
	"github.com/ggufkit/ggufkit/convert/packed"
	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/quant"
)

// golden are checkpoints of a matrix each, with what they say of themselves and the
// SHA-256 of its values. See testdata/README.md.
type golden struct {
	name, config, sha256 string
}

const modelMeta = `"meta": {"quantizer": ["gptqmodel:7.3.4"]}, `

var gptq = []golden{
	{"gptq-2bit-32g-actorder/k_proj", `"bits": 2, "group_size": 32, "sym": true`, "0bd65c771d8596ced9a9f0b6b3592d88939ca63d73856623aac655e5b555525a"},
	{"gptq-3bit-128g/k_proj", `"bits": 3, "group_size": 128, "sym": true`, "937f60245b241bcb847c06d761ad8bd1ec9d4a515555421a6a8efff9d0b2fdfe"},
	{"gptq-3bit-32g-asym/k_proj", `"bits": 3, "group_size": 32, "sym": false`, "78d0ff295f41a9cd3453ec6be497515a36af4848cdfad9d4fad62a735bc3e1c1"},
	{"gptq-4bit-128g/k_proj", `"bits": 4, "group_size": 128`, "8ac2430c23b6e2daf537b30552de4dd9ad52115bb980cb2c5848169187d964d0"},
	{"gptq-4bit-32g-actorder/k_proj", `"bits": 4, "group_size": 32, "desc_act": true`, "48bdc9840a3e501ecea305f40e94f080005cd0bd3e4b3573a9107129cdc22fb4"},
	{"gptq-4bit-32g-asym-z0/q_proj", `"bits": 4, "group_size": 32, "sym": false`, "919fce809c41460df3e0892ef6f3eae7e155e2e1a57824a6077da6e53dfed941"},
	{"gptq-4bit-channel/k_proj", `"bits": 4, "group_size": -1`, "950a7a37876a1f29b8595e401d65f28e6a9d4dd88b4b345c4e64a64ae381ecf6"},
	{"gptq-8bit-128g/k_proj", `"bits": 8, "group_size": 128`, "0ea60c55e8912d60c3947b2d2a7ffb194dc7a6cd3c6f2db18b5766e057f9825e"},
	{"gptqmodel-v1-4bit-32g-asym-z0/q_proj", modelMeta + `"checkpoint_format": "gptq", "sym": false`, "2e4505c85e27c40516d4f379ecf8acbece28fed04b7ad863b7c354907834172e"},
	{"gptqmodel-v1-8bit-32g/k_proj", modelMeta + `"checkpoint_format": "gptq", "sym": true`, "d9eb08e51c4daf7de5b954796b956ee15b27d0a2bc3a3f25d8d2fccaeeef63d1"},
	{"gptqmodel-v2-4bit-32g-asym/k_proj", modelMeta + `"checkpoint_format": "gptq_v2", "sym": false`, "1d5e8630c62c278e7c72d2d9ded830f86276c7c8a179d2f8080a24bbc67b10bb"},
	{"gptqmodel-v2-labelled-v1/k_proj", modelMeta + `"checkpoint_format": "gptq", "sym": true`, "65988fb32b6120e4c9e9a05fed8318f8841fc78705c7a3ab540de423c7491ec0"},
	{"autoround-4bit-128g/k_proj", `"packing_format": "auto_round:auto_gptq"`, "08b9de6df3c2063ce946cafc5cdb273b3ff75a7291958c790372abea669ffdf6"},
}

// raw is a tensor as a safetensors file has it.
type raw struct {
	Dtype  weights.Dtype `json:"dtype"`
	Shape  []int64       `json:"shape"`
	Data   []byte        `json:"-"`
	Offset [2]int        `json:"data_offsets"`
}

// module returns the tensors of one of the checkpoints in a file, to be changed.
func module(t testing.TB, file, name string) map[string]raw {
	f, err := safetensors.Open("testdata/" + file)
	require.NoError(t, err)
	defer f.Close()
	tensors := make(map[string]raw)
	for _, full := range f.Names() {
		if part, ok := strings.CutPrefix(full, name+"."); ok {
			r := f.Get(full)
			rows, _ := weights.Count(r.Shape())
			data := make([]byte, weights.Bytes(r))
			require.NoError(t, r.ReadRaw(data, 0, rows))
			tensors["m."+part] = raw{Dtype: r.Dtype(), Shape: r.Shape(), Data: data}
		}
	}
	require.NotEmpty(t, tensors)
	return tensors
}

// encode returns tensors as a safetensors file.
func encode(t testing.TB, tensors map[string]raw) []byte {
	var data []byte
	for name, r := range tensors {
		r.Offset = [2]int{len(data), len(data) + len(r.Data)}
		tensors[name], data = r, append(data, r.Data...)
	}
	header, err := json.Marshal(tensors)
	require.NoError(t, err)
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

func open(t testing.TB, file []byte) *safetensors.File {
	f, err := safetensors.NewFile("m.safetensors", bytes.NewReader(file), int64(len(file)))
	require.NoError(t, err)
	return f
}

// unpackModule unpacks tensors that say of themselves what is in config.
func unpackModule(t testing.TB, tensors map[string]raw, config string) (weights.Set, error) {
	c, err := packed.ReadConfig(files.Directory(""), []byte(`{"quantization_config": {`+config+`}}`))
	require.NoError(t, err)
	return packed.Unpack(open(t, encode(t, tensors)), c)
}

func hash(t testing.TB, values []float32) string {
	sum := sha256.Sum256(testmodel.Encode(t, weights.F32, values))
	return hex.EncodeToString(sum[:])
}

func testGolden(t *testing.T, file, method string, list []golden) {
	for _, g := range list {
		t.Run(g.name, func(t *testing.T) {
			for _, config := range []string{g.config, `"quant_method": "` + method + `", ` + g.config} {
				set, err := unpackModule(t, module(t, file, g.name), config)
				require.NoError(t, err)
				matrix := set.Get("m.weight")
				require.NotNil(t, matrix)
				for _, name := range set.Names() {
					require.True(t, name == "m.weight" || weights.IsSpare(set.Get(name)), name)
				}
				values := testmodel.Values(t, matrix)
				require.Equal(t, g.sha256, hash(t, values))
				rows, length := weights.Count(matrix.Shape())
				for first := int64(1); first < rows; first += 13 { // any rows are those of the whole
					n := min(first%7, rows-first)
					part := make([]float32, n*length)
					require.NoError(t, matrix.ReadRows(part, first, n))
					require.Equal(t, values[first*length:][:n*length], part)
				}
			}
		})
	}
}

// TestGPTQ compares with the values that AutoGPTQ, GPTQModel and AutoRound have.
func TestGPTQ(t *testing.T) { testGolden(t, "gptq.safetensors", "gptq", gptq) }

func reshaped(r raw, shape ...int64) raw { r.Shape = shape; return r }

func poked(r raw, at int, data ...byte) raw {
	r.Data = bytes.Clone(r.Data)
	copy(r.Data[at:], data)
	return r
}

// readAll reads a matrix, if it could be unpacked.
func readAll(set weights.Set, err error) error {
	if err != nil {
		return err
	}
	for _, name := range set.Names() {
		r := set.Get(name)
		rows, length := weights.Count(r.Shape())
		if err := r.ReadRows(make([]float32, rows*length), 0, rows); err != nil {
			return err
		}
	}
	return nil
}

// TestGPTQGroups: where g_idx says nothing, groups are equal runs, and negative ones
// count from the end.
func TestGPTQGroups(t *testing.T) {
	const sum = "8ac2430c23b6e2daf537b30552de4dd9ad52115bb980cb2c5848169187d964d0"
	for name, change := range map[string]func(map[string]raw){
		"missing":  func(m map[string]raw) { delete(m, "m.g_idx") },
		"zero":     func(m map[string]raw) { m["m.g_idx"] = poked(m["m.g_idx"], 0, make([]byte, 1024)...) },
		"negative": func(m map[string]raw) { m["m.g_idx"] = poked(m["m.g_idx"], 0, 0xfe, 0xff, 0xff, 0xff) },
	} {
		tensors := module(t, "gptq.safetensors", "gptq-4bit-128g/k_proj")
		change(tensors)
		set, err := unpackModule(t, tensors, `"quant_method": "gptq"`)
		require.NoError(t, err, name)
		require.Equal(t, sum, hash(t, testmodel.Values(t, set.Get("m.weight"))), name)
	}
	// A bias that says something is kept.
	tensors := module(t, "gptq.safetensors", "gptq-4bit-128g/k_proj")
	tensors["m.bias"] = poked(tensors["m.bias"], 0, 0, 0x3c)
	set, err := unpackModule(t, tensors, `"bits": 4`)
	require.NoError(t, err)
	require.False(t, weights.IsSpare(set.Get("m.bias")))
	require.EqualValues(t, 1, testmodel.Values(t, set.Get("m.bias"))[0])
}

func TestGPTQRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		config string
		change func(m map[string]raw)
		want   string
		err    error
	}{
		"Marlin":          {`"is_marlin_format": true`, nil, "Marlin", gguf.ErrUnsupported},
		"Marlin, too":     {`"checkpoint_format": "marlin"`, nil, "Marlin", gguf.ErrUnsupported},
		"bit planes":      {`"checkpoint_format": "gptq_p"`, nil, "gptq_p", gguf.ErrUnsupported},
		"other packing":   {`"packing_format": "auto_round:x"`, nil, "auto_round:x", gguf.ErrUnsupported},
		"another method":  {`"quant_method": "fp8"`, nil, `says "fp8"`, gguf.ErrCorrupt},
		"other bits":      {`"bits": 8`, nil, "codes of 4 bits, the configuration says 8", gguf.ErrCorrupt},
		"no scales":       {``, func(m map[string]raw) { delete(m, "m.scales") }, `"m.scales" is missing`, gguf.ErrCorrupt},
		"no zero points":  {``, func(m map[string]raw) { delete(m, "m.qzeros") }, `"m.qzeros" is missing`, gguf.ErrCorrupt},
		"a group too far": {``, func(m map[string]raw) { m["m.g_idx"] = poked(m["m.g_idx"], 8, 2) }, `"m.g_idx": group 2 of element 2`, gguf.ErrCorrupt},
		"far below zero":  {``, func(m map[string]raw) { m["m.g_idx"] = poked(m["m.g_idx"], 0, 0, 0, 0, 0x80) }, `"m.g_idx": group`, gguf.ErrCorrupt},
		"no number":       {``, func(m map[string]raw) { m["m.scales"] = poked(m["m.scales"], 2, 0, 0x7e) }, "scale 0 of row 1 is NaN", gguf.ErrCorrupt},
		"other rows":      {``, func(m map[string]raw) { m["m.qweight"] = reshaped(m["m.qweight"], 64, 32) }, "does not fit", gguf.ErrCorrupt},
		"a vector":        {``, func(m map[string]raw) { m["m.qweight"] = reshaped(m["m.qweight"], 2048) }, "no matrix of GPTQ", gguf.ErrCorrupt},
		"nothing":         {``, func(m map[string]raw) { m["m.qweight"] = raw{Dtype: weights.I32, Shape: []int64{1 << 40, 0}} }, "does not fit", gguf.ErrCorrupt},
		"whole scales":    {``, func(m map[string]raw) { r := m["m.scales"]; r.Dtype = weights.I16; m["m.scales"] = r }, "I16", gguf.ErrCorrupt},
		"other words": {``, func(m map[string]raw) {
			r := reshaped(m["m.qweight"], 32, 32)
			r.Dtype = weights.I64
			m["m.qweight"] = r
		}, "I64", gguf.ErrUnsupported},
		"short index": {``, func(m map[string]raw) { m["m.g_idx"] = reshaped(m["m.g_idx"], 2, 128) }, "g_idx", gguf.ErrCorrupt},
		"wide zero points": {``, func(m map[string]raw) {
			m["m.qzeros"] = raw{Dtype: weights.I32, Shape: []int64{2, 10}, Data: make([]byte, 80)}
		}, "10 words of zero points", gguf.ErrCorrupt},
	} {
		tensors := module(t, "gptq.safetensors", "gptq-4bit-128g/k_proj")
		if tt.change != nil {
			tt.change(tensors)
		}
		err := readAll(unpackModule(t, tensors, tt.config))
		require.ErrorIs(t, err, tt.err, name)
		require.ErrorContains(t, err, tt.want, name)
	}
}

// fuzzModule: whatever a file has, there are matrices of it or an error.
func fuzzModule(f *testing.F, file string, list []golden) {
	for _, g := range list {
		if !strings.Contains(g.name, "q_proj") {
			f.Add([]byte(`{`+g.config+`}`), encode(f, module(f, file, g.name)))
		}
	}
	f.Fuzz(func(t *testing.T, config, data []byte) {
		file, err := safetensors.NewFile("m.safetensors", bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		c, err := packed.ReadConfig(files.Directory(os.TempDir()), append(append([]byte(`{"quantization_config": `), config...), '}'))
		if err != nil {
			return
		}
		set, err := packed.Unpack(file, c)
		if err != nil {
			require.True(t, errors.Is(err, gguf.ErrCorrupt) || errors.Is(err, gguf.ErrUnsupported), "%v", err)
			return
		}
		for _, name := range set.Names() {
			r := set.Get(name)
			rows, length := weights.Count(r.Shape())
			if rows < 1 || length < 1 {
				continue
			}
			require.LessOrEqual(t, length, int64(16*len(data)))
			values := make([]float32, length)
			err := r.ReadRows(values, rows-1, 1)
			fuzzBlocks(t, r, values, err)
			if err != nil {
				require.ErrorIs(t, err, gguf.ErrCorrupt)
			} else if r != file.Get(name) {
				for _, v := range values {
					require.False(t, math.IsNaN(float64(v)))
				}
			}
		}
	})
}

// TestGPTQBlocks: what blocks can hold is there bit by bit. Rows of scattered groups they
// cannot, and codes that are not symmetric have a bit more.
func TestGPTQBlocks(t *testing.T) {
	types := map[string]gguf.Type{
		"gptq-3bit-128g/k_proj": gguf.Q4_0, "gptq-3bit-32g-asym/k_proj": gguf.Q4_0, "gptq-4bit-128g/k_proj": gguf.Q4_0, "gptq-4bit-channel/k_proj": gguf.Q4_0,
		"gptqmodel-v2-labelled-v1/k_proj": gguf.Q4_0, "autoround-4bit-128g/k_proj": gguf.Q4_0, "gptq-4bit-32g-asym-z0/q_proj": gguf.Q5_0,
		"gptqmodel-v1-4bit-32g-asym-z0/q_proj": gguf.Q5_0, "gptqmodel-v2-4bit-32g-asym/k_proj": gguf.Q5_0, "gptq-8bit-128g/k_proj": gguf.Q8_0,
		"gptqmodel-v1-8bit-32g/k_proj": gguf.Q8_0,
	}
	for _, g := range gptq {
		set, err := unpackModule(t, module(t, "gptq.safetensors", g.name), g.config)
		require.NoError(t, err)
		checkBlocks(t, g.name, set.Get("m.weight"), types[g.name])
	}
}

// TestScalesOfBlocks: those that are no numbers are refused as they are for values.
func TestScalesOfBlocks(t *testing.T) {
	tensors := module(t, "gptq.safetensors", "gptq-4bit-128g/k_proj")
	tensors["m.scales"] = poked(tensors["m.scales"], 4, 0, 0xfc)
	set, err := unpackModule(t, tensors, "")
	require.NoError(t, err)
	blocks, err := weights.BlocksOf(set.Get("m.weight"))
	require.NoError(t, err)
	for range 2 {
		err = blocks.Read(make([]byte, blocks.Type.RowBytes(set.Get("m.weight").Shape()[1])), 1, 1)
		require.ErrorIs(t, err, gguf.ErrCorrupt)
		require.ErrorContains(t, err, "scale 0 of row 2 is -Inf")
	}
}

// TestMappedFiles: columns of words that are looked at in a file are those that are read.
func TestMappedFiles(t *testing.T) {
	for file, list := range map[string][]golden{"gptq.safetensors": gptq, "awq.safetensors": awq, "exl2.safetensors": exl2} {
		for _, g := range list {
			tensors := module(t, file, g.name)
			path := filepath.Join(t.TempDir(), "m.safetensors")
			require.NoError(t, os.WriteFile(path, encode(t, tensors), 0o666))
			f, err := safetensors.Open(path)
			require.NoError(t, err)
			config, err := packed.ReadConfig(files.Directory(""), []byte(`{"quantization_config": {`+g.config+`}}`))
			require.NoError(t, err)
			set, err := packed.Unpack(f, config)
			require.NoError(t, err)
			matrix := set.Get("m.weight")
			require.Equal(t, g.sha256, hash(t, testmodel.Values(t, matrix)), g.name)
			blocks, err := weights.BlocksOf(matrix)
			require.NoError(t, err)
			if blocks != nil {
				checkBlocks(t, g.name, matrix, blocks.Type)
			}
			require.NoError(t, f.Close())
		}
	}
}

// checkBlocks compares a matrix with its blocks, which are of a type, or not there if
// that is 0.
func checkBlocks(t *testing.T, name string, matrix weights.Rows, want gguf.Type) {
	blocks, err := weights.BlocksOf(matrix)
	require.NoError(t, err, name)
	if want == 0 {
		require.Nil(t, blocks, name)
		return
	}
	require.NotNil(t, blocks, name)
	require.Equal(t, want, blocks.Type, name)
	rows, length := weights.Count(matrix.Shape())
	for _, part := range [][2]int64{{0, rows}, {1, 1}, {rows / 2, rows / 3}} {
		raw, values := make([]byte, want.RowBytes(length)*part[1]), make([]float32, length*part[1])
		require.NoError(t, blocks.Read(raw, part[0], part[1]), name)
		require.NoError(t, quant.Dequantize(want, values, raw, int(length)), name)
		require.Equal(t, testmodel.Values(t, matrix)[part[0]*length:][:len(values)], values, name)
	}
}

// fuzzBlocks: blocks have the values of the last row, or its error.
func fuzzBlocks(t *testing.T, r weights.Rows, values []float32, want error) {
	blocks, err := weights.BlocksOf(r)
	if blocks == nil || err != nil {
		return
	}
	rows, length := weights.Count(r.Shape())
	raw, got := make([]byte, blocks.Type.RowBytes(length)), make([]float32, length)
	err = blocks.Read(raw, rows-1, 1)
	require.Equal(t, want == nil, err == nil, "%v, %v", want, err)
	if want == nil {
		require.NoError(t, quant.Dequantize(blocks.Type, got, raw, int(length)))
		if blocks.Scales != nil {
			for i := range got {
				got[i] *= blocks.Scales[len(blocks.Scales)-1]
			}
		}
		if !blocks.Rounded {
			require.Equal(t, values, got)
		}
	}
}

func FuzzGPTQ(f *testing.F) { fuzzModule(f, "gptq.safetensors", gptq) }
