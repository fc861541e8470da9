package moe_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// routers is a Source with nothing but routers.
type routers struct {
	tensors []gguf.TensorInfo
	rows    [][]float32
}

func (r *routers) Metadata() *gguf.Metadata   { return gguf.NewMetadata() }
func (r *routers) Tensors() []gguf.TensorInfo { return r.tensors }
func (r *routers) ReadRows(dst []byte, tensor int, first, n int64) error {
	width := r.tensors[tensor].RowLen()
	return quant.Quantize(gguf.F32, dst, r.rows[tensor][first*width:][:n*width], int(width), nil)
}

const (
	routerWidth   = 1024
	routerExperts = 4
	routerLayers  = 3
)

// newRouters fills routers with value(layer, expert, i), each row scaled to the given
// length unless that is 0.
func newRouters(length float64, value func(layer, expert, i int) float64) *routers {
	r := &routers{}
	for layer := range routerLayers {
		r.tensors = append(r.tensors, gguf.TensorInfo{Name: "blk." + string(rune('0'+layer)) + ".ffn_gate_inp.weight", Type: gguf.F32,
			Shape: []int64{routerWidth, routerExperts}})
		var values []float32
		for expert := range routerExperts {
			row, squares := make([]float64, routerWidth), 0.0
			for i := range row {
				row[i] = value(layer, expert, i)
				squares += row[i] * row[i]
			}
			for i := range row {
				if length > 0 {
					row[i] *= length / math.Sqrt(squares)
				}
				values = append(values, float32(row[i]))
			}
		}
		r.rows = append(r.rows, values)
	}
	return r
}

func TestDiagnose(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	shared := make([]float64, routerWidth)
	for i := range shared {
		shared[i] = 2 * rng.NormFloat64()
	}
	fixed := func(_, expert, i int) float64 { return shared[i] + math.Sin(float64(expert*1000+i)) }
	for name, c := range map[string]struct {
		rows   *routers
		mode   moe.GateMode
		faults []string
	}{
		"hidden":      {newRouters(1, func(_, _, i int) float64 { return shared[i] + rng.NormFloat64() }), moe.Hidden, nil},
		"cheap_embed": {newRouters(1, fixed), moe.CheapEmbed, []string{"the same in every layer"}},
		"random":      {newRouters(0, func(_, _, _ int) float64 { return rng.NormFloat64() }), moe.Random, []string{"random"}},
		"uniform":     {newRouters(0, func(_, _, _ int) float64 { return (2*rng.Float64() - 1) / 32 }), moe.UniformRandom, []string{"random"}},
		"trained":     {newRouters(0, func(_, e, _ int) float64 { return rng.NormFloat64() * 0.02 * float64(1+e) }), moe.Trained, nil},
		"dropped text": {newRouters(1, func(l, _, i int) float64 { return math.Sin(float64(1000*l + i)) }), moe.Hidden,
			[]string{"All experts have the same rows"}},
		"twins": {newRouters(1, func(l, e, i int) float64 { return shared[i] + math.Sin(float64(l+i*(1+e%3))) }), moe.Hidden,
			[]string{"Experts 0 and 3 have the same rows in every layer"}},
		"zero": {newRouters(0, func(l, e, _ int) float64 { return rng.NormFloat64() * float64(min(1, l+e)) }), moe.Trained,
			[]string{"The row of expert 0 in layer 0 is zero"}},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := moe.Diagnose(c.rows)
			require.NoError(t, err)
			require.Equal(t, c.mode, d.Mode, d.Reason)
			require.Len(t, d.Faults, len(c.faults))
			for i, fault := range c.faults {
				require.Contains(t, d.Faults[i], fault)
			}
			require.Equal(t, routerExperts, d.Experts)
			require.Len(t, d.Layers, routerLayers)
		})
	}
	_, err := moe.Diagnose(&routers{})
	require.ErrorIs(t, err, moe.ErrNoRouters)
}

func TestCondition(t *testing.T) {
	// Rows at right angles, of lengths 1 to 4, and two that are nearly one.
	d, err := moe.Diagnose(newRouters(0, func(_, e, i int) float64 {
		if i == e {
			return float64(e + 1)
		}
		return 0
	}))
	require.NoError(t, err)
	require.InDelta(t, 4, d.Layers[0].Condition, 1e-9)
	require.Equal(t, []float64{1, 2, 3, 4}, d.Layers[0].Norms)
	require.Zero(t, d.Layers[0].Cosines[1][2])
	d, err = moe.Diagnose(newRouters(0, func(_, _, i int) float64 { return float64(i) }))
	require.NoError(t, err)
	require.True(t, math.IsInf(d.Layers[0].Condition, 1))
	require.InDelta(t, 1, d.Layers[0].Cosines[0][1], 1e-9)
	// Two rows of length 1 with cosine c have singular values sqrt(1+c) and sqrt(1-c).
	d, err = moe.Diagnose(newRouters(1, func(_, e, i int) float64 {
		if i == e || i == 0 && e == 1 {
			return 1
		}
		return 0
	}))
	require.NoError(t, err)
	c := math.Sqrt(0.5)
	require.InDelta(t, math.Sqrt((1+c)/(1-c)), d.Layers[0].Condition, 1e-6)
}
