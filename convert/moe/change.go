package moe

import (
	"cmp"
	"hash/fnv"
	"math/rand/v2"

	"github.com/ggufkit/ggufkit/convert/weights"
)

// change is what becomes of a tensor on its way into the mixture: noise is added and
// it is scaled, each rounded to its own type as PyTorch does.
type change struct {
	noise, scale *float64 // nil: none
	seed         uint64   // of the noise
}

// of returns the changed tensor, converted to dtype unless that is empty: the tensor
// itself if nothing changes.
func (c change) of(r weights.Rows, dtype weights.Dtype) weights.Rows {
	own := r.Dtype()
	if (dtype == "" || dtype == own) && c.noise == nil && c.scale == nil {
		return r
	}
	_, length := weights.Count(r.Shape())
	return weights.Compute(r.Shape(), cmp.Or(dtype, own), r.Grain(), func(dst []float32, first, n int64) error {
		if err := r.ReadRows(dst, first, n); err != nil {
			return err
		}
		if c.noise != nil {
			addNoise(dst, first*length, float32(*c.noise), c.seed)
			own.Round(dst)
		}
		if c.scale != nil {
			for i := range dst {
				dst[i] *= float32(*c.scale)
			}
			own.Round(dst)
		}
		return nil
	}, r)
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
