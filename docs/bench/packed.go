package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/ggufkit/ggufkit/convert/weights"
)

// packing is a format, with what config.json says of it and what a matrix of n rows of k
// elements is made of.
type packing struct {
	name, config string
	parts        func(n, k int64) []part
}

// part is a tensor of random bytes.
type part struct {
	end   string // of its name, instead of .weight
	dtype weights.Dtype
	shape []int64
	fill  func(dst []byte, rng *rand.PCG)
}

var packings = []packing{
	{"GPTQ 4-bit g128", `{"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": true}`, func(n, k int64) []part {
		return []part{
			{".qweight", weights.I32, []int64{k / 8, n}, anyBytes}, {".qzeros", weights.I32, []int64{k / 128, n / 8}, always(0x77)},
			{".scales", weights.F16, []int64{k / 128, n}, scalesF16},
		}
	}},
	{"GPTQ 4-bit g128, act-order", `{"quant_method": "gptq", "bits": 4, "group_size": 128, "sym": true, "desc_act": true}`, func(n, k int64) []part {
		scattered := func(dst []byte, _ *rand.PCG) {
			for i := range k {
				binary.LittleEndian.PutUint32(dst[4*i:], uint32(i*37%(k/128)))
			}
		}
		return []part{
			{".qweight", weights.I32, []int64{k / 8, n}, anyBytes}, {".qzeros", weights.I32, []int64{k / 128, n / 8}, always(0x77)},
			{".scales", weights.F16, []int64{k / 128, n}, scalesF16}, {".g_idx", weights.I32, []int64{k}, scattered},
		}
	}},
	{"GPTQ 8-bit g128", `{"quant_method": "gptq", "bits": 8, "group_size": 128, "sym": true}`, func(n, k int64) []part {
		return []part{
			{".qweight", weights.I32, []int64{k / 4, n}, anyBytes}, {".qzeros", weights.I32, []int64{k / 128, n / 4}, always(0x7f)},
			{".scales", weights.F16, []int64{k / 128, n}, scalesF16},
		}
	}},
	{"AWQ GEMM g128", `{"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": true}`, func(n, k int64) []part {
		return []part{
			{".qweight", weights.I32, []int64{k, n / 8}, anyBytes}, {".qzeros", weights.I32, []int64{k / 128, n / 8}, anyBytes},
			{".scales", weights.F16, []int64{k / 128, n}, scalesF16},
		}
	}},
	{"EXL2 4.25-bit", `{"quant_method": "exl2", "version": "0.1.0", "bits": 4.25}`, func(n, k int64) []part {
		const size = 128 // of groups, a quarter of which have codes of 5 bits and the others of 4
		var groups []byte
		words := int64(0)
		for g := range k / size {
			bits := int64(4)
			if g < k/size/4 {
				bits = 5
			}
			groups = binary.LittleEndian.AppendUint16(groups, uint16(bits))
			groups = binary.LittleEndian.AppendUint16(groups, uint16(words))
			words += size * bits / 32
		}
		return []part{
			{".q_weight", weights.I32, []int64{words, n}, anyBytes}, {".q_scale", weights.I32, []int64{k / size, n / 8}, anyBytes},
			{".q_scale_max", weights.F16, []int64{k / size}, scalesF16}, {".q_groups", weights.I16, []int64{2 * k / size}, these(groups)},
			{".q_invperm", weights.I32, []int64{k}, func(dst []byte, _ *rand.PCG) {
				for i := range k {
					binary.LittleEndian.PutUint32(dst[4*i:], uint32(i*37%k))
				}
			}},
		}
	}},
	{"EXL3 4-bit", `{"quant_method": "exl3", "version": "0.0.11", "bits": 4}`, func(n, k int64) []part {
		n = (n + 127) / 128 * 128
		return []part{
			{".trellis", weights.I16, []int64{k / 16, n / 16, 16 * 4}, anyBytes}, {".suh", weights.F16, []int64{k}, scalesF16},
			{".svh", weights.F16, []int64{n}, scalesF16},
		}
	}},
	{"HQQ 4-bit g64", `{"quant_method": "hqq"}`, func(n, k int64) []part {
		return hqqParts(n, k, func(groups int64) []int64 { return []int64{groups, 1} })
	}},
	{"HQQ 4-bit g64, axis 0", `{"quant_method": "hqq"}`, func(n, k int64) []part {
		return hqqParts(n, k, func(groups int64) []int64 { return []int64{1, groups} })
	}},
	{"FP8, blocks of 128 x 128", `{"quant_method": "fp8", "weight_block_size": [128, 128]}`, func(n, k int64) []part {
		return []part{
			{".weight", weights.F8E4M3, []int64{n, k}, below(0x77)}, {".weight_scale_inv", weights.F32, []int64{(n + 127) / 128, k / 128}, scalesF32},
		}
	}},
	{"compressed-tensors int4 g128", `{"quant_method": "compressed-tensors", "format": "pack-quantized"}`, func(n, k int64) []part {
		return []part{
			{".weight_packed", weights.I32, []int64{n, k / 8}, anyBytes}, {".weight_scale", weights.BF16, []int64{n, k / 128}, scalesBF16},
			{".weight_shape", weights.I64, []int64{2}, sizes(n, k)},
		}
	}},
	{"MXFP4", `{"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized"}`, func(n, k int64) []part {
		return []part{{".weight_packed", weights.U8, []int64{n, k / 2}, anyBytes}, {".weight_scale", weights.U8, []int64{n, k / 32}, always(118)}}
	}},
	{"NVFP4", `{"quant_method": "modelopt", "quant_algo": "NVFP4"}`, func(n, k int64) []part {
		return []part{
			{".weight", weights.U8, []int64{n, k / 2}, anyBytes}, {".weight_scale", weights.F8E4M3, []int64{n, k / 16}, below(0x77)},
			{".weight_scale_2", weights.F32, nil, scalesF32},
		}
	}},
	{"bitsandbytes NF4", `{"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4"}`, func(n, k int64) []part {
		state := fmt.Sprintf(`{"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [%d, %d]}`, n, k)
		return []part{
			{".weight", weights.U8, []int64{n * k / 2, 1}, anyBytes}, {".weight.absmax", weights.F32, []int64{n * k / 64}, scalesF32},
			{".weight.quant_map", weights.F32, []int64{16}, func(dst []byte, _ *rand.PCG) { weights.F32.Encode(dst, nf4) }},
			{".weight.quant_state.bitsandbytes__nf4", weights.U8, []int64{int64(len(state))}, these([]byte(state))},
		}
	}},
	{"LLM.int8", `{"quant_method": "bitsandbytes", "load_in_8bit": true}`, func(n, k int64) []part {
		return []part{{".weight", weights.I8, []int64{n, k}, anyBytes}, {".SCB", weights.F32, []int64{n}, scalesF32}}
	}},
	{"torchao int8", `{"quant_method": "torchao"}`, func(n, k int64) []part {
		return []part{{"._weight_qdata", weights.I8, []int64{n, k}, anyBytes}, {"._weight_scale", weights.BF16, []int64{n, 1}, scalesBF16}}
	}},
}

// hqqParts are a matrix of HQQ in groups of 64, with scales of such a shape.
func hqqParts(n, k int64, shape func(groups int64) []int64) []part {
	groups := shape(n * k / 64)
	return []part{
		{".W_q", weights.U8, []int64{n * k / 2 / 64, 64}, anyBytes}, {".scale", weights.F16, groups, scalesF16}, {".zero", weights.F16, groups, scalesF16},
		{".shape", weights.I64, []int64{2}, sizes(n, k)},
	}
}

var nf4 = []float32{-1, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0, 0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983,
	0.562617, 0.72295684, 1}

func anyBytes(dst []byte, rng *rand.PCG) {
	for i := 0; i+8 <= len(dst); i += 8 {
		binary.LittleEndian.PutUint64(dst[i:], rng.Uint64())
	}
}

func these(bytes []byte) func([]byte, *rand.PCG) {
	return func(dst []byte, _ *rand.PCG) { copy(dst, bytes) }
}

func sizes(n, k int64) func([]byte, *rand.PCG) {
	return these(binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(n)), uint64(k)))
}

func always(b byte) func([]byte, *rand.PCG) {
	return func(dst []byte, _ *rand.PCG) {
		for i := range dst {
			dst[i] = b
		}
	}
}

// below returns bytes without their bits that are not in most.
func below(most byte) func([]byte, *rand.PCG) {
	return func(dst []byte, rng *rand.PCG) {
		anyBytes(dst, rng)
		for i := range dst {
			dst[i] &= most
		}
	}
}

// scales are from 1/512 to 1/256.
func scalesF16(dst []byte, rng *rand.PCG) {
	for i := 0; i < len(dst); i += 2 {
		binary.LittleEndian.PutUint16(dst[i:], 0x1800|uint16(rng.Uint64())&0x3ff)
	}
}

func scalesBF16(dst []byte, rng *rand.PCG) {
	for i := 0; i < len(dst); i += 2 {
		binary.LittleEndian.PutUint16(dst[i:], 0x3b00|uint16(rng.Uint64())&0x7f)
	}
}

func scalesF32(dst []byte, rng *rand.PCG) {
	for i := 0; i < len(dst); i += 4 {
		binary.LittleEndian.PutUint32(dst[i:], 0x3b000000|uint32(rng.Uint64())&0x7fffff)
	}
}

// mistral has some layers of Mistral 7B.
func (b *bench) mistral() shape {
	s := donor
	s.layers = b.layers
	if b.shape == small {
		s = small
		s.experts = 0
	}
	return s
}

// unpacking converts a model to BF16 from all formats, and from BF16.
func unpacking(b *bench) (table, error) {
	plain, err := b.checkpoint("mistral", b.mistral())
	if err != nil {
		return nil, err
	}
	out := filepath.Join(b.dir, "out.gguf")
	labels, commands := []string{"BF16"}, [][]string{b.ours("convert", plain, out, "--type", "BF16")}
	for _, p := range packings {
		dir, err := b.packed(p)
		if err != nil {
			return nil, err
		}
		labels, commands = append(labels, p.name), append(commands, b.ours("convert", dir, out, "--type", "BF16"))
	}
	costs, err := b.measure(commands...)
	if err != nil {
		return nil, err
	}
	written, err := os.Stat(out)
	if err != nil {
		return nil, err
	}
	t := table{{"from", "CPU", "GB written / s of CPU", "peak memory"}}
	for i, c := range costs {
		t.add(labels[i], c.seconds()[1], format(float64(written.Size())/1e9/c.cpu), c.memory())
	}
	return t, nil
}

// transcode converts GPTQ to blocks that hold the same, and to others.
func transcode(b *bench) (table, error) {
	plain, err := b.checkpoint("mistral", b.mistral())
	if err != nil {
		return nil, err
	}
	dir, err := b.packed(packings[0])
	if err != nil {
		return nil, err
	}
	exact, out := filepath.Join(b.dir, "exact.gguf"), filepath.Join(b.dir, "out.gguf")
	if _, _, err := b.run(b.ours("convert", dir, exact, "--type", "AUTO")...); err != nil {
		return nil, err
	}
	copies, err := b.measure(b.ours("convert", dir, out, "--type", "AUTO"), []string{"cp", exact, out})
	if err != nil {
		return nil, err
	}
	others, err := b.measure(b.ours("convert", dir, out, "--type", "Q4_K_M"), b.ours("convert", plain, out, "--type", "Q4_K_M"))
	if err != nil {
		return nil, err
	}
	costs := append(copies, others...)
	t := table{{"", "CPU", "wall", "peak memory"}}
	for i, label := range []string{
		"`convert GPTQ out.gguf --type AUTO`: Q4_0", "`cp` of that file", "`convert GPTQ out.gguf --type Q4_K_M`", "`convert BF16 out.gguf --type Q4_K_M`",
	} {
		t.add(label, costs[i].seconds()[1], costs[i].seconds()[0], costs[i].memory())
	}
	return t, nil
}

// packed returns a directory with the model in a format.
func (b *bench) packed(p packing) (string, error) {
	s := b.mistral()
	set, err := packedSet(s, p)
	if err != nil {
		return "", err
	}
	config := s.config()
	config["quantization_config"] = json.RawMessage(p.config)
	return b.directory(strings.ReplaceAll(p.name, " ", "-"), set, config)
}

// packedSet has the layers' matrices of a model packed.
func packedSet(s shape, p packing) (weights.Set, error) {
	plain, set := s.tensors(), new(weights.List)
	for _, name := range plain.Names() {
		r := plain.Get(name)
		if !strings.HasSuffix(name, "_proj.weight") {
			if err := set.Add(name, r); err != nil {
				return nil, err
			}
			continue
		}
		for i, part := range p.parts(r.Shape()[0], r.Shape()[1]) {
			seed := uint64(len(set.Names())*len(packings) + i)
			if err := set.Add(strings.TrimSuffix(name, ".weight")+part.end, &filled{part, seed}); err != nil {
				return nil, err
			}
		}
	}
	return set, nil
}

// filled is a tensor that is only written.
type filled struct {
	part
	seed uint64
}

func (f *filled) Shape() []int64       { return f.shape }
func (f *filled) Dtype() weights.Dtype { return f.dtype }
func (f *filled) Grain() int64         { return 1 }
func (f *filled) ReadRows([]float32, int64, int64) error {
	return errors.New("random bytes are no numbers")
}
func (f *filled) ReadRaw(dst []byte, first, _ int64) error {
	f.fill(dst, rand.NewPCG(f.seed, uint64(first)))
	return nil
}
