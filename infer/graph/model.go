package graph

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// Model is a Spec with the weights of a Source: the norms and biases, and where the large
// ones are.
type Model struct {
	Spec
	Embedding Matrix // vocabulary x width
	Positions Matrix // positions x width, without rows if there are no embeddings of them
	Output    Matrix // vocabulary x width
	// LongContext says that rotary embeddings are others in contexts of more tokens (LongRoPE); 0: there are none such.
	LongContext int
	layers      []layer
	shares      []share

	tokenType           []float32 // of all tokens, or nil
	embeddingNorm, norm *NormOp
	altUp               *altUp // or nil
}

// layer is a Layer with its weights.
type layer struct {
	sublayers []sublayer
	altUp     *altUpLayer // or nil
}

type sublayer struct {
	Sublayer
	norm, postNorm, endNorm *NormOp // or nil
	endScale                []float32
	ops                     []Op
}

// Bind finds every tensor that a model takes and demands that there are no others: a
// tensor without a place means that the model is not what it is taken for.
func Bind(spec Spec, src gguf.Source) (*Model, error) {
	b := newBinder(spec, src)
	m := &Model{Spec: spec, layers: make([]layer, len(spec.Layers))}
	m.Embedding = b.matrix("token_embd", spec.Vocabulary, spec.Width)
	if spec.Positions > 0 {
		m.Positions = b.matrix("position_embd", spec.Positions, spec.Width)
	}
	if spec.TokenTypes > 0 {
		m.tokenType = b.weights("token_types", spec.Width, spec.TokenTypes)
	}
	m.embeddingNorm = b.norm(spec.EmbeddingNorm, spec.Width)
	m.Output = m.Embedding
	if _, ok := b.index["output.weight"]; ok && !spec.Encoder {
		m.Output = b.biased("output", spec.Vocabulary, spec.Width)
	}
	m.norm, m.altUp = b.norm(spec.OutputNorm, spec.Width), b.altUp()
	for i, l := range spec.Layers {
		b.prefix, b.layer = fmt.Sprintf("blk.%d.", i), i
		m.layers[i].altUp = b.altUpLayer()
		for _, s := range l {
			sub := sublayer{Sublayer: s, norm: b.norm(s.Norm, spec.Width)}
			for _, mixer := range s.Mixers {
				sub.ops = append(sub.ops, mixer.Bind(b))
				b.slot++
			}
			sub.postNorm, sub.endNorm = b.norm(s.PostNorm, spec.Width), b.norm(s.EndNorm, spec.Width)
			if s.EndScale != "" {
				sub.endScale = b.weights(s.EndScale, 1)
			}
			if s.EndFactor != 0 {
				sub.endScale = append(sub.endScale, s.EndFactor)
			}
			m.layers[i].sublayers = append(m.layers[i].sublayers, sub)
		}
	}
	if b.err != nil {
		return nil, b.err
	}
	b.skip(len(spec.Layers), spec.NextN)
	if i := slices.Index(b.used, false); i >= 0 {
		return nil, fmt.Errorf("%w: tensor %q has no place in the graph of a %s model", gguf.ErrUnsupported, src.Tensors()[i].Name, spec.Architecture)
	}
	m.shares = b.shares
	for r := range b.ropes {
		if r.LongFactors != "" {
			m.LongContext = r.Original
		}
	}
	return m, b.missing
}

// share says that a layer has the keys and values of another one, before it, or what its indexer chose.
type share struct{ source, layer int }

// CanBegin reports whether a layer can be the first that is run: no keys and values, nor choices of indexers, of those before it are shared.
func (m *Model) CanBegin(layer int) bool {
	return !slices.ContainsFunc(m.shares, func(s share) bool { return s.source < layer && layer <= s.layer })
}

// Weights lists the large matrices of a layer.
func (m *Model) Weights(layer int) []*Matrix {
	var all []*Matrix
	for _, s := range m.layers[layer].sublayers {
		for _, op := range s.ops {
			all = append(all, op.Weights()...)
		}
	}
	return all
}

// Together lists the large matrices of a layer by what tokens go through at once: a mixer, or a network.
func (m *Model) Together(layer int) [][]*Matrix {
	var all [][]*Matrix
	for _, s := range m.layers[layer].sublayers {
		for _, op := range s.ops {
			if mixture, ok := bare(op).(*mixtureOp); ok {
				for _, n := range mixture.networks() {
					all = append(all, n.Weights())
				}
				continue
			}
			all = append(all, op.Weights())
		}
	}
	return all
}

// Embedded makes what enters the first layer of a row of the embeddings and, if there are any
// of positions, of a row of those.
func (m *Model) Embedded(row, position []float32) {
	if m.EmbeddingScale != 0 {
		for i := range row {
			row[i] *= m.EmbeddingScale
		}
	}
	for _, added := range [][]float32{position, m.tokenType} {
		for i := range added[:min(len(added), len(row))] {
			row[i] += added[i]
		}
	}
	if m.embeddingNorm != nil {
		m.embeddingNorm.Apply(row, row)
	}
}

// Enter makes the other streams, if there are several, of the first of each token in x, which Embedded made.
func (m *Model) Enter(ctx context.Context, e Engine, x []float32) error {
	if m.altUp == nil {
		return nil
	}
	return m.altUp.enter(ctx, e, x)
}

// RunLayer takes x, the residual stream, through a layer.
func (m *Model) RunLayer(ctx context.Context, e Engine, layer int, x []float32) error {
	if err := m.layers[layer].run(ctx, e, x, m.Width); err != nil {
		return fmt.Errorf("layer %d: %w", layer, err)
	}
	return nil
}

func (l *layer) run(ctx context.Context, e Engine, x []float32, width int) error {
	if l.altUp != nil {
		return l.altUp.run(ctx, e, x, l.sublayers)
	}
	for _, s := range l.sublayers {
		if err := s.run(ctx, e, x, width); err != nil {
			return err
		}
	}
	return nil
}

func (s *sublayer) run(ctx context.Context, e Engine, x []float32, width int) error {
	if err := s.add(ctx, e, x, width); err != nil {
		return err
	}
	if s.endNorm == nil && s.endScale == nil {
		return nil
	}
	return e.Each(ctx, func(row, _ int) {
		part := x[row*width:][:width]
		if s.endNorm != nil {
			s.endNorm.Apply(part, part)
		}
		for _, factor := range s.endScale {
			for i := range part {
				part[i] *= factor
			}
		}
	})
}

// add adds the sub-layer's result to the stream.
func (s *sublayer) add(ctx context.Context, e Engine, x []float32, width int) error {
	if !s.branches() {
		return s.mix(ctx, e, x, x, width)
	}
	out := e.Branch()
	clear(out)
	if err := s.mix(ctx, e, out, x, width); err != nil {
		return err
	}
	scale := s.Scale
	if scale == 0 {
		scale = 1
	}
	return e.Each(ctx, func(row, _ int) {
		part := out[row*width:][:width]
		s.postNorm.rowOf(part)
		kernel.AddScaled(x[row*width:][:width], part, scale)
	})
}

// mix adds what the mixers make of x to out.
func (s *sublayer) mix(ctx context.Context, e Engine, out, x []float32, width int) error {
	seen, err := s.norm.seen(ctx, e, x)
	if err != nil {
		return err
	}
	for _, op := range s.ops {
		if whole(op) {
			err = op.Run(ctx, e, out, seen)
		} else {
			err = e.Blocks(func(first, end int) error {
				return op.Run(ctx, e, out[first*width:end*width], seen[first*width:end*width])
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// whole reports whether a mixer runs with all tokens at once: networks, through which the engine takes them in blocks.
func whole(op Op) bool {
	switch bare(op).(type) {
	case *NetworkOp, *mixtureOp:
		return true
	}
	return false
}

// bare returns a mixer without norms of its own.
func bare(op Op) Op {
	if n, ok := op.(normedOp); ok {
		return n.Op
	}
	return op
}

// Final returns what comes out of the model of the residual stream behind the last layer, tokens x width: of several streams
// what is made of them, normalised. x is overwritten.
func (m *Model) Final(ctx context.Context, e Engine, x []float32) ([]float32, error) {
	if m.altUp != nil {
		var err error
		if x, err = m.altUp.leave(ctx, e, x); err != nil {
			return nil, err
		}
	}
	if m.norm == nil {
		return x, nil
	}
	return x, m.norm.rows(ctx, e, x, x)
}

// Head sets logits, tokens x vocabulary, to those of the residual stream behind the last
// layer. x is overwritten.
func (m *Model) Head(ctx context.Context, e Engine, logits, x []float32) error {
	x, err := m.Final(ctx, e, x)
	if err != nil {
		return err
	}
	if err := e.Multiply(ctx, x, Product{logits, &m.Output}); err != nil {
		return err
	}
	if m.LogitScale == 0 && m.LogitCap == 0 {
		return nil
	}
	return e.Each(ctx, func(row, _ int) {
		part := logits[row*m.Vocabulary:][:m.Vocabulary]
		if m.LogitScale != 0 {
			for i := range part {
				part[i] *= m.LogitScale
			}
		}
		if m.LogitCap != 0 {
			softCap(part, m.LogitCap)
		}
	})
}

// softCap replaces each x by c·tanh(x/c).
func softCap(x []float32, c float32) {
	for i, v := range x {
		x[i] = c * float32(math.Tanh(float64(v/c)))
	}
}
