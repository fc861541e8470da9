package moe

import (
	"hash/fnv"
	"io"
	"math/rand/v2"

	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// change is a tensor of a model as it becomes part of the mixture: noise is added
// and it is scaled, each rounded to its own type as PyTorch does, and then it is
// converted to dtype.
type change struct {
	source       *safetensors.Tensor
	dtype        safetensors.Dtype
	noise, scale *float64 // nil: none
	seed         uint64   // of the noise
}

// tensor returns the changed tensor, the source itself if nothing changes.
func (c change) tensor(name string) *safetensors.Tensor {
	if c.dtype == c.source.Dtype && c.noise == nil && c.scale == nil {
		return c.source.Renamed(name)
	}
	return safetensors.NewTensor(name, c.dtype, c.source.Shape, c)
}

// ReadAt implements io.ReaderAt for whole elements.
func (c change) ReadAt(dst []byte, offset int64) (int, error) {
	size := int64(c.dtype.Size())
	first, n := offset/size, int64(len(dst))/size
	raw, values := make([]byte, n*int64(c.source.Dtype.Size())), make([]float32, n)
	if err := c.source.Read(raw, first); err != nil {
		return 0, err
	}
	c.source.Dtype.Float32(values, raw)
	if c.noise != nil {
		addNoise(values, first, float32(*c.noise), c.seed)
		round(c.source.Dtype, values)
	}
	if c.scale != nil {
		for i := range values {
			values[i] *= float32(*c.scale)
		}
		round(c.source.Dtype, values)
	}
	encode(c.dtype, dst, values)
	return len(dst), nil
}

var _ io.ReaderAt = change{}

// types are the tensor types of plain numbers.
var types = map[safetensors.Dtype]gguf.Type{safetensors.F32: gguf.F32, safetensors.F16: gguf.F16, safetensors.BF16: gguf.BF16}

// encode stores values as numbers of type d, which is one of types.
func encode(d safetensors.Dtype, dst []byte, values []float32) {
	if err := quant.Quantize(types[d], dst, values); err != nil {
		panic(err) // plain numbers always have a codec
	}
}

// round rounds values to numbers of type d, to float32 for types that have more.
func round(d safetensors.Dtype, values []float32) {
	if d != safetensors.F16 && d != safetensors.BF16 {
		return
	}
	raw := make([]byte, 2*len(values))
	encode(d, raw, values)
	d.Float32(values, raw)
}

// noiseBlock is how many numbers a generator of noise makes, so that a tensor can
// be read from anywhere.
const noiseBlock = 1024

// addNoise adds normally distributed numbers, always the same to the same element.
func addNoise(values []float32, first int64, scale float32, seed uint64) {
	for i := int64(0); i < int64(len(values)); {
		block, at := (first+i)/noiseBlock, (first+i)%noiseBlock
		rng := rand.New(rand.NewPCG(seed, uint64(block)))
		for range at {
			rng.NormFloat64()
		}
		for ; at < noiseBlock && i < int64(len(values)); at, i = at+1, i+1 {
			values[i] += float32(rng.NormFloat64()) * scale
		}
	}
}

// streamOf returns a seed for one tensor.
func streamOf(seed uint64, tensor string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(tensor)) // never fails
	return h.Sum64() ^ seed
}
