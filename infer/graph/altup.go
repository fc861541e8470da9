package graph

import (
	"context"
	"math"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// AltUp is alternating updates (arXiv 2301.13310), as Gemma 3n has them: the residual stream of a token is several streams,
// one after another, each as wide as a model's. In a layer, a sum of all is added to each, the sub-layers compute with the
// active one, and what they have changed of it is added to all. The factors of these sums follow from the active stream.
//
// The last sub-layer of a layer comes after that. It sees the active stream, times altup_correct_scale, and what it makes is
// added to all streams but the first. The zero value is a single stream.
type AltUp struct {
	Streams int  `key:"altup.num_inputs"`
	Active  int  `key:"altup.active_idx"` // number of that one
	Norm    Norm // of what the factors follow from
}

// streams are those of AltUp, each so wide.
type streams struct {
	AltUp
	width int
}

// of returns a stream of a token.
func (s streams) of(x []float32, row, stream int) []float32 {
	return x[(row*s.Streams+stream)*s.width:][:s.width]
}

// take sets dst, tokens x width, to a stream.
func (s streams) take(ctx context.Context, e Engine, dst, x []float32, stream int) error {
	return e.Each(ctx, func(row, _ int) { copy(dst[row*s.width:][:s.width], s.of(x, row, stream)) })
}

// altUp has what is of no layer: what the other streams are made of in front of the first layer, and what is made of them
// behind the last.
type altUp struct {
	streams
	project, unproject []Matrix // of each stream but the first, width x width
}

// altUp returns nil if there is one stream only.
func (b *Binder) altUp() *altUp {
	a := b.spec.AltUp
	if a.Streams == 0 {
		return nil
	}
	stack := func(name string) []Matrix { return b.stack(name, a.Streams-1, b.width, b.width) }
	return &altUp{streams{a, b.width}, stack("altup_proj"), stack("altup_unembd_proj")}
}

// enter makes the other streams: products with the first, as long as that.
func (a *altUp) enter(ctx context.Context, e Engine, x []float32) error {
	first, product := e.Normed(), e.Branch()
	if err := a.take(ctx, e, first, x, 0); err != nil {
		return err
	}
	for i := range a.project {
		if err := e.Multiply(ctx, first, Product{product, &a.project[i]}); err != nil {
			return err
		}
		err := e.Each(ctx, func(row, _ int) {
			made, stream := product[row*a.width:][:a.width], a.of(x, row, i+1)
			clear(stream)
			kernel.AddScaled(stream, made, toLengthOf(a.of(x, row, 0), made))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leave returns the mean of the first stream and products with the others, as long as that.
func (a *altUp) leave(ctx context.Context, e Engine, x []float32) ([]float32, error) {
	mean, other, product := e.Normed(), e.Active(), e.Branch()
	if err := a.take(ctx, e, mean, x, 0); err != nil {
		return nil, err
	}
	for i := range a.unproject {
		if err := a.take(ctx, e, other, x, i+1); err != nil {
			return nil, err
		}
		if err := e.Multiply(ctx, other, Product{product, &a.unproject[i]}); err != nil {
			return nil, err
		}
		err := e.Each(ctx, func(row, _ int) {
			made := product[row*a.width:][:a.width]
			kernel.AddScaled(mean[row*a.width:][:a.width], made, toLengthOf(a.of(x, row, 0), made))
		})
		if err != nil {
			return nil, err
		}
	}
	return mean, e.Each(ctx, func(row, _ int) {
		part := mean[row*a.width:][:a.width]
		for i := range part {
			part[i] /= float32(a.Streams)
		}
	})
}

// toLengthOf returns the factor that makes x as long as target.
func toLengthOf(target, x []float32) float32 {
	const least = 1e-5 // mean square of x
	return float32(math.Sqrt(meanSquare(target, 0) / max(meanSquare(x, 0), least)))
}

// altUpLayer has what is of a layer.
type altUpLayer struct {
	streams
	norm    *NormOp
	router  Matrix    // Streams x width: what the factors are sums of, before its tanh
	predict []float32 // Streams x Streams factors, each of Streams numbers
	correct []float32 // Streams factors
	scale   []float32 // of what the last sub-layer sees
}

// altUpLayer returns nil if there is one stream only.
func (b *Binder) altUpLayer() *altUpLayer {
	a := b.spec.AltUp
	if a.Streams == 0 {
		return nil
	}
	return &altUpLayer{
		streams: streams{a, b.width}, norm: b.norm(a.Norm, b.width), router: b.exact("altup_router", a.Streams),
		predict: b.weights("altup_predict_coef", a.Streams, a.Streams*a.Streams), correct: b.weights("altup_correct_coef", a.Streams, a.Streams),
		scale: b.weights("altup_correct_scale", b.width),
	}
}

// run takes the streams through the sub-layers.
func (a *altUpLayer) run(ctx context.Context, e Engine, x []float32, layer []sublayer) error {
	active, last := e.Active(), layer[len(layer)-1]
	if err := a.blocks(ctx, e, x, a.before); err != nil {
		return err
	}
	for _, s := range layer[:len(layer)-1] {
		if err := s.run(ctx, e, active, a.width); err != nil {
			return err
		}
	}
	if err := a.blocks(ctx, e, x, a.after); err != nil {
		return err
	}
	out := e.Branch()
	clear(out)
	if err := last.mix(ctx, e, out, active, a.width); err != nil {
		return err
	}
	return e.Each(ctx, func(row, _ int) {
		part := out[row*a.width:][:a.width]
		last.postNorm.rowOf(part)
		for stream := 1; stream < a.Streams; stream++ {
			kernel.AddScaled(a.of(x, row, stream), part, 1)
		}
	})
}

// blocks takes the streams through a step block by block.
func (a *altUpLayer) blocks(ctx context.Context, e Engine, x []float32, step func(ctx context.Context, e Engine, x []float32) error) error {
	return e.Blocks(func(first, end int) error { return step(ctx, e, x[first*a.Streams*a.width:end*a.Streams*a.width]) })
}

// before adds a sum of all to each stream, and sets the active one apart.
func (a *altUpLayer) before(ctx context.Context, e Engine, x []float32) error {
	active, room := e.Active(), e.Scratch(a.Streams, a.Streams*a.width)
	numbers, old := room[0], room[1]
	if err := a.take(ctx, e, active, x, a.Active); err != nil {
		return err
	}
	if err := a.route(ctx, e, numbers, active); err != nil {
		return err
	}
	return e.Each(ctx, func(row, _ int) {
		for stream := range a.Streams {
			copy(a.of(old, row, stream), a.of(x, row, stream))
		}
		for to := range a.Streams {
			for from := range a.Streams {
				kernel.AddScaled(a.of(x, row, to), a.of(old, row, from), a.factor(a.predict, to*a.Streams+from, numbers, row))
			}
		}
		copy(active[row*a.width:][:a.width], a.of(x, row, a.Active))
	})
}

// after adds what the one apart has become more than the active stream to each, and sets it to what the last sub-layer sees.
func (a *altUpLayer) after(ctx context.Context, e Engine, x []float32) error {
	active, numbers := e.Active(), e.Scratch(a.Streams)[0]
	if err := a.route(ctx, e, numbers, active); err != nil {
		return err
	}
	return e.Each(ctx, func(row, _ int) {
		part, now := active[row*a.width:][:a.width], a.of(x, row, a.Active)
		for i, v := range now {
			part[i] -= v
		}
		for stream := range a.Streams {
			kernel.AddScaled(a.of(x, row, stream), part, 1+a.factor(a.correct, stream, numbers, row))
		}
		for i, v := range now {
			part[i] = v * a.scale[i]
		}
	})
}

// route sets numbers, tokens x Streams, to what factors are sums of.
func (a *altUpLayer) route(ctx context.Context, e Engine, numbers, active []float32) error {
	if err := a.norm.rows(ctx, e, e.Normed(), active); err != nil {
		return err
	}
	if err := e.Multiply(ctx, e.Normed(), Product{numbers, &a.router}); err != nil {
		return err
	}
	for i, v := range numbers {
		numbers[i] = float32(math.Tanh(float64(v) / float64(a.width)))
	}
	return nil
}

// factor returns a row of coefficients times the numbers of a token.
func (a *altUpLayer) factor(coefficients []float32, i int, numbers []float32, row int) (sum float32) {
	return kernel.Dot(coefficients[i*a.Streams:][:a.Streams], numbers[row*a.Streams:][:a.Streams])
}
