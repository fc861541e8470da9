package graph

import (
	"context"
	"math"

	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// PerLayer adds what a token has of its own for each layer (Gemma 3n): project·(gelu(gate·x) ⊙ input), where the
// input is the layer's part of a second embedding of the token, and of a product with the first.
type PerLayer struct {
	Width  int  `key:"embedding_length_per_layer_input"`
	Tokens int  // so many have second embeddings; less than the vocabulary: all of that
	Norm   Norm // of the product
}

// perLayerOp is a PerLayer with its weights.
type perLayerOp struct {
	PerLayer
	scale         float32 // of the first embedding
	first         int     // element of the second embedding with which the layer's part begins
	embedding     Matrix  // vocabulary rows of the stream's width
	second        Matrix  // Tokens rows of layers x Width
	product       Matrix  // Width rows of the stream's width
	norm          *NormOp
	gate, project Matrix
}

// Bind implements Mixer.
func (p PerLayer) Bind(b *Binder) Op {
	o := &perLayerOp{PerLayer: p, scale: b.spec.EmbeddingScale, first: b.layer * p.Width}
	all := len(b.spec.Layers) * p.Width
	b.outside(func() {
		o.embedding = b.matrix("token_embd", b.spec.Vocabulary, b.width)
		o.second = b.matrix("per_layer_token_embd", max(p.Tokens, b.spec.Vocabulary), all)
		o.product = b.matrix("per_layer_model_proj", all, b.width).part(o.first, p.Width)
		o.norm = b.norm(p.Norm, p.Width)
	})
	o.gate, o.project = b.matrix("inp_gate", p.Width, b.width), b.matrix("proj", b.width, p.Width)
	return o
}

// Size implements Mixer.
func (p PerLayer) Size() Size { return Size{Scratch: 3 * p.Width, Inner: p.Width} }

// State implements Mixer.
func (p PerLayer) State() State { return State{} }

// Weights implements Op.
func (p *perLayerOp) Weights() []*Matrix { return []*Matrix{&p.product, &p.gate, &p.project} }

// Run implements Op. There must be no norm before it: the first embedding is where that would be.
func (p *perLayerOp) Run(ctx context.Context, e Engine, out, x []float32) error {
	s := e.Scratch(p.Width, p.Width, p.Width)
	input, second, gate := s[0], s[1], s[2]
	embedding := e.Normed()
	width := len(embedding) / e.Tokens()
	if err := e.Lookup(ctx, embedding, &p.embedding, 0); err != nil {
		return err
	}
	err := e.Each(ctx, func(row, _ int) {
		for i := range width {
			embedding[row*width+i] *= p.scale
		}
	})
	if err != nil {
		return err
	}
	if err := e.Multiply(ctx, embedding, Product{input, &p.product}); err != nil {
		return err
	}
	if err := e.Lookup(ctx, second, &p.second, p.first); err != nil {
		return err
	}
	if err := e.Multiply(ctx, x, Product{gate, &p.gate}); err != nil {
		return err
	}
	toProduct, toSecond := float32(1/math.Sqrt(float64(width))), float32(math.Sqrt(float64(p.Width)))
	err = e.Each(ctx, func(row, _ int) {
		in, of, g := input[row*p.Width:][:p.Width], second[row*p.Width:][:p.Width], gate[row*p.Width:][:p.Width]
		for i := range in {
			in[i] *= toProduct
		}
		p.norm.Apply(in, in)
		for i, v := range of {
			in[i] = (in[i] + float32(v*toSecond)) * math.Sqrt2 / 2
		}
		kernel.GELUMul(g, in)
	})
	if err != nil {
		return err
	}
	return e.Add(ctx, out, gate, &p.project)
}
