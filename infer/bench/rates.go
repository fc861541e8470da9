package bench

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/isa"
)

// What runs consist of, and in which unit it is measured: Rates.
const (
	opPack       = "pack" // weights are read, dequantized and packed for products
	opMultiply   = "multiply"
	opDequantize = "dequantize"
	opQuantize   = "quantize"
	opImportance = "quantize+imatrix"
	opSum        = "sha256"

	megaWeights  = "Mweights/s"
	gigaProducts = "Gop/s"
	gigaBytes    = "GB/s"
)

// part is something that a run consists of.
type part struct{ op, typ, compute string }

// Rates are how much of what runs consist of a core does in a second, while all others do the same: weights, products or bytes.
type Rates map[part]float64

// ErrNoRate means that a run consists of something that was not measured.
var ErrNoRate = errors.New("there is no figure")

// NewRates makes rates of the figures of an instruction set that MeasureRates, Quantize and so on return: those with the most threads.
func NewRates(tier string, results []Result) Rates {
	rates, threads := make(Rates), make(map[part]int)
	units := map[string]float64{megaWeights: 1e6, gigaProducts: 1e9 / 2, gigaBytes: 1e9}
	for _, r := range results {
		p := part{r.Op, r.Type, r.Compute}
		if r.ISA != tier || r.Threads < max(1, threads[p]) || !(r.Value > 0) {
			continue
		}
		threads[p] = r.Threads
		rates[p] = r.Value * units[r.Unit] / float64(r.Threads)
		if r.Op == opDequantize {
			rates[p] /= 4 // bytes of float32
		}
	}
	return rates
}

// parts lists what work consists of, and how much there is of each. What is quantized is so with an importance matrix or without.
func parts(w infer.Work, importance bool) map[part]float64 {
	all := map[part]float64{{op: opSum}: float64(w.Hashed)}
	for of, n := range w.Packed {
		all[part{opPack, of.Type.String(), of.Compute.String()}] = n
	}
	for of, n := range w.Multiplied {
		all[part{opMultiply, of.Type.String(), of.Compute.String()}] = n
	}
	for t, n := range w.Dequantized {
		all[part{op: opDequantize, typ: t.String()}] = n
	}
	quantize := opQuantize
	if importance {
		quantize = opImportance
	}
	for t, n := range w.Quantized {
		all[part{op: quantize, typ: t.String()}] = n
	}
	return all
}

// CoreTime returns how long one core would take for some work, of which quantizing is done with an importance matrix or without. The error
// wraps ErrNoRate.
func (r Rates) CoreTime(w infer.Work, importance bool) (time.Duration, error) {
	seconds := 0.0
	var missing []string
	for p, n := range parts(w, importance) {
		if n == 0 {
			continue
		}
		if r[p] == 0 {
			missing = append(missing, strings.Join(slices.DeleteFunc([]string{p.op, p.typ, p.compute}, func(s string) bool { return s == "" }), " "))
		}
		seconds += n / r[p]
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return 0, fmt.Errorf("%w: %s", ErrNoRate, strings.Join(missing, ", "))
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// All returns work that consists of everything that can be measured for some types and computes.
func All(types []gguf.Type, computes []infer.Compute) infer.Work {
	w := infer.Work{
		Packed: make(map[infer.Operand]float64), Multiplied: make(map[infer.Operand]float64),
		Dequantized: make(map[gguf.Type]float64), Quantized: make(map[gguf.Type]float64), Hashed: 1,
	}
	w.Multiplied[infer.Operand{Type: gguf.F32, Compute: infer.Exact}] = 1 // attention
	for _, t := range types {
		for _, compute := range computes {
			of := infer.Operand{Type: t, Compute: compute}
			w.Packed[of], w.Multiplied[of] = 1, 1
		}
		w.Dequantized[t], w.Quantized[t] = 1, 1
	}
	return w
}

// MeasureRates measures what some work consists of, on a number of threads that are all busy, as what a quarter of many short times do not exceed: each thread with data
// of its own, which stay in its core's caches. Quantizing is measured without an importance matrix and with one, and, as in a quant.View, with looking for what is no number
// in what is read and in what is made.
func MeasureRates(ctx context.Context, w infer.Work, threads int) ([]Result, error) {
	wanted := parts(w, false)
	for p, n := range parts(w, true) {
		wanted[p] = n
	}
	var results []Result
	add := func(op, typ, compute string, value float64, unit string) {
		results = append(results, Result{
			Op: op, Type: typ, ISA: isa.Current().String(), Threads: threads, Compute: compute, Value: value * float64(threads), Unit: unit,
		})
	}
	for t := range gguf.Types() {
		s := newSample(t)
		for _, compute := range []infer.Compute{infer.Exact, infer.Int8, infer.Int8All} {
			if wanted[part{opPack, t.String(), compute.String()}] == 0 && wanted[part{opMultiply, t.String(), compute.String()}] == 0 {
				continue
			}
			few := typical(ctx, threads, s.multiply(ctx, compute, fewTokens))
			many := typical(ctx, threads, s.multiply(ctx, compute, fewTokens+moreTokens))
			multiply := max(many-few, few/1000) / moreTokens // seconds for a token
			pack := max(few-multiply*fewTokens, few/1000)
			if wanted[part{opPack, t.String(), compute.String()}] > 0 {
				add(opPack, t.String(), compute.String(), sampleSize/pack/1e6, megaWeights)
			}
			add(opMultiply, t.String(), compute.String(), 2*sampleSize/multiply/1e9, gigaProducts)
		}
		if wanted[part{op: opDequantize, typ: t.String()}] > 0 {
			add(opDequantize, t.String(), "", 4*sampleSize/typical(ctx, threads, s.dequantize)/1e9, gigaBytes)
		}
		if wanted[part{op: opQuantize, typ: t.String()}] > 0 && !quant.NeedsImportance(t) {
			add(opQuantize, t.String(), "", quantized/typical(ctx, threads, s.quantize(nil))/1e6, megaWeights)
		}
		if wanted[part{op: opImportance, typ: t.String()}] > 0 {
			add(opImportance, t.String(), "", quantized/typical(ctx, threads, s.quantize(s.importance))/1e6, megaWeights)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	if wanted[part{op: opSum}] > 0 {
		data := make([]byte, 4*sampleSize)
		add(opSum, "", "", float64(len(data))/typical(ctx, threads, func() func() error {
			return func() error {
				sha256.Sum256(data)
				return nil
			}
		})/1e9, gigaBytes)
	}
	return results, ctx.Err()
}

// Rates are measured on some rows, and products with some tokens and with more.
const (
	sampleRows, sampleCols = 128, 1024
	sampleSize             = sampleRows * sampleCols
	quantized              = sampleSize / 8 // of them, since it may take long
	fewTokens, moreTokens  = 16, 112        // no more than there are rows
)

// sample is what a type is measured with.
type sample struct {
	typ                 gguf.Type
	weights, importance []float32
	blocks              []byte
}

func newSample(t gguf.Type) *sample {
	rng := rand.New(rand.NewPCG(1, 2))
	s := &sample{typ: t, weights: make([]float32, sampleSize), importance: make([]float32, sampleCols), blocks: make([]byte, sampleRows*t.RowBytes(sampleCols))}
	for i := range s.weights {
		s.weights[i] = float32(rng.NormFloat64() * 0.02)
	}
	for i := range s.importance {
		s.importance[i] = float32(rng.ExpFloat64())
	}
	if quant.CanQuantize(t) {
		_ = quant.Quantize(t, s.blocks, s.weights, sampleCols, s.importance) // the sizes are ours
	}
	return s
}

func (s *sample) multiply(ctx context.Context, compute infer.Compute, tokens int) func() func() error {
	return func() func() error {
		product := infer.Product{Type: s.typ, Weights: s.blocks, Cols: sampleCols, Compute: compute, Threads: 1}
		dst := make([]float32, tokens*sampleRows)
		return func() error { return product.Multiply(ctx, dst, s.weights[:tokens*sampleCols]) }
	}
}

func (s *sample) dequantize() func() error {
	dst := slices.Clone(s.weights)
	return func() error {
		return errors.Join(quant.Validate(s.typ, s.blocks, sampleCols), quant.Dequantize(s.typ, dst, s.blocks, sampleCols))
	}
}

func (s *sample) quantize(importance []float32) func() func() error {
	return func() func() error {
		dst := slices.Clone(s.blocks[:len(s.blocks)*quantized/sampleSize])
		return func() error {
			return errors.Join(quant.Quantize(s.typ, dst, s.weights[:quantized], sampleCols, importance), quant.Validate(s.typ, dst, sampleCols))
		}
	}
}

// typical returns how many seconds what prepare returns takes on each of the threads that all do it: a quarter of the times at most. As each time is
// short, other programs that run now and then do not count.
func typical(ctx context.Context, threads int, prepare func() func() error) float64 {
	const enough, most = 24, 10 * moment // calls, if they do not take too long
	took := make([][]float64, threads)
	var group errgroup.Group
	start := time.Now()
	for i := range threads {
		group.Go(func() error {
			run := prepare()
			for elapsed := time.Duration(0); len(took[i]) == 0 || elapsed < moment || len(took[i]) < enough && elapsed < most; elapsed = time.Since(start) {
				before := time.Now()
				if err := run(); err != nil && ctx.Err() == nil {
					return err
				}
				took[i] = append(took[i], time.Since(before).Seconds())
				if ctx.Err() != nil {
					break
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		panic(err) // all types have codecs and the sizes are ours
	}
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	return max(all[len(all)/4], 1e-9)
}
