package moe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf"
)

// Encoder understands prompts as the base model does. Package infer/states has
// one.
type Encoder interface {
	// Tokens returns the token ids of each prompt with the vocabulary of the model, the
	// beginning-of-sequence token first if there is one.
	Tokens(model BaseModel, prompts []string) ([][]int32, error)
	// States runs the model on each text and returns, for each text and layer, what
	// goes into the layer (before its norm): at the last token, or the mean over all
	// tokens. The mean counts the padding that makes all texts as long as the longest.
	States(ctx context.Context, model BaseModel, texts [][]int32, mean bool) ([][][]float32, error)
}

// BaseModel is the base model of a merge as an Encoder sees it: converted, with all
// tensors in their own types.
type BaseModel struct {
	gguf.Source
	// NoBOS says that texts begin with no token, whatever the metadata name as the
	// beginning of a sequence.
	NoBOS bool
}

// routers returns the routers of all layers, and the gates of the shared expert if
// the architecture has them. Their rows have the length 1, but for the random
// modes.
func (r *Recipe) routers(ctx context.Context, out *output, base *model, dtype weights.Dtype, opts Options) ([]tensor, error) {
	gated := r.Experts
	if out.sharedGate != "" {
		gated = append(slices.Clip(gated), r.SharedExperts[0])
	}
	prompts, err := r.tokens(base, gated, opts.Encoder)
	if err != nil {
		return nil, err
	}
	// rows[layer] has a row for each expert.
	rows := make([][][]float64, base.config.Layers)
	for i := range r.Experts {
		states, err := r.gateRows(ctx, base, prompts[i], fmt.Sprint("router of expert ", i), opts)
		if err != nil {
			return nil, fmt.Errorf("router rows of expert %d: %w", i, err)
		}
		for layer := range rows {
			rows[layer] = append(rows[layer], states[layer])
		}
	}
	dtype = cmp.Or(dtype, weights.BF16)
	var tensors []tensor
	for layer := range rows {
		values, err := roundRows(rows[layer], dtype)
		if err != nil {
			return nil, fmt.Errorf("%w: the router of layer %d: %w", ErrRecipe, layer, err)
		}
		if a, b, ok := equalRows(values, len(r.Experts)); ok {
			return nil, fmt.Errorf("%w: experts %d and %d have the same router row in layer %d, so it cannot tell them apart", ErrRecipe, a, b, layer)
		}
		tensors = append(tensors, tensor{inLayer(int64(layer), out.router), weights.Values(dtype, values, int64(len(r.Experts)), base.config.HiddenSize)})
	}
	if out.sharedGate == "" {
		return tensors, nil
	}
	states, err := r.gateRows(ctx, base, prompts[len(r.Experts)], "gate of the shared expert", opts)
	if err != nil {
		return nil, fmt.Errorf("gate of the shared expert: %w", err)
	}
	for layer, row := range states {
		values, err := roundRows([][]float64{row}, dtype)
		if err != nil {
			return nil, fmt.Errorf("%w: the shared expert's gate of layer %d: %w", ErrRecipe, layer, err)
		}
		tensors = append(tensors, tensor{inLayer(int64(layer), out.sharedGate), weights.Values(dtype, values, 1, base.config.HiddenSize)})
	}
	return tensors, nil
}

// maxPromptTokens is how long a prompt may be, if the model's context is not shorter:
// attention takes time in proportion to the square.
const maxPromptTokens = 8192

// prompts are those of an expert in tokens.
type prompts struct{ positive, negative [][]int32 }

// tokens returns the prompts of experts, before a model is run on any. They are empty
// if the routers do not depend on them.
func (r *Recipe) tokens(base *model, experts []Expert, encoder Encoder) ([]prompts, error) {
	encoded := make([]prompts, len(experts))
	if !r.usesPrompts() {
		return encoded, nil
	}
	if encoder == nil {
		return nil, errors.New("there is nothing to read prompts with")
	}
	var texts []string
	for _, e := range experts {
		texts = append(append(texts, e.PositivePrompts...), e.NegativePrompts...)
	}
	ids, err := encoder.Tokens(base.encoded(), texts)
	if err != nil {
		return nil, err
	}
	most := maxPromptTokens
	if n := base.config.MaxPositions; n > 0 {
		most = int(min(int64(most), n))
	}
	for i, text := range ids {
		if len(text) > most && r.GateMode != CheapEmbed {
			return nil, fmt.Errorf("%w: the prompt %.40q... has %d tokens, and no more than %d can be followed", ErrRecipe, texts[i], len(text), most)
		}
	}
	for i, e := range experts {
		encoded[i].positive, ids = ids[:len(e.PositivePrompts)], ids[len(e.PositivePrompts):]
		encoded[i].negative, ids = ids[:len(e.NegativePrompts)], ids[len(e.NegativePrompts):]
	}
	return encoded, nil
}

// encoded returns the model for an Encoder.
func (m *model) encoded() BaseModel { return BaseModel{m.converted, m.converted.NoBOS()} }

// gateRows returns the row of an expert for each layer. stream tells apart what is
// random.
func (r *Recipe) gateRows(ctx context.Context, base *model, expert prompts, stream string, opts Options) ([][]float64, error) {
	if !r.usesPrompts() {
		return r.randomRows(int(base.config.Layers), int(base.config.HiddenSize), streamOf(opts.Seed, stream)), nil
	}
	return r.promptRows(ctx, base, expert, opts.Encoder)
}

// roundRows returns the rows, one after another, rounded to dtype.
func roundRows(rows [][]float64, dtype weights.Dtype) ([]float32, error) {
	var values []float32
	for _, row := range rows {
		for _, v := range row {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, errors.New("it is not finite: the base model is damaged")
			}
			values = append(values, float32(v))
		}
	}
	dtype.Round(values)
	return values, nil
}

// equalRows finds two of the rows that values are cut into that are equal.
func equalRows(values []float32, rows int) (a, b int, ok bool) {
	width := len(values) / rows
	for b := range rows {
		for a := range b {
			if slices.Equal(values[a*width:][:width], values[b*width:][:width]) {
				return a, b, true
			}
		}
	}
	return 0, 0, false
}

// randomRows returns a row for each layer: of normally distributed numbers, or
// of numbers evenly distributed within 1/sqrt(width).
func (r *Recipe) randomRows(layers, width int, seed uint64) [][]float64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	rows := make([][]float64, layers)
	for layer := range rows {
		rows[layer] = make([]float64, width)
		for i := range rows[layer] {
			if r.GateMode == Random {
				rows[layer][i] = rng.NormFloat64()
			} else {
				rows[layer][i] = (2*rng.Float64() - 1) / math.Sqrt(float64(width))
			}
		}
	}
	return rows
}

// promptRows returns what the prompts of an expert stand for in each layer: the
// positive ones less the negative ones, with length 1.
func (r *Recipe) promptRows(ctx context.Context, base *model, expert prompts, encoder Encoder) ([][]float64, error) {
	side := func(texts [][]int32) ([][]float64, error) {
		if r.GateMode == CheapEmbed {
			row, err := base.embeddings(texts)
			return slices.Repeat([][]float64{row}, int(base.config.Layers)), err
		}
		states, err := encoder.States(ctx, base.encoded(), texts, r.GateMode == HiddenAvg)
		if err != nil {
			return nil, err
		}
		return means(states), nil
	}
	rows, err := side(expert.positive)
	if err != nil {
		return nil, err
	}
	if len(expert.negative) > 0 {
		negative, err := side(expert.negative)
		if err != nil {
			return nil, err
		}
		for layer, row := range rows {
			row = slices.Clone(row)
			for i, v := range negative[layer] {
				row[i] -= v
			}
			rows[layer] = row
		}
	}
	for layer := range rows {
		rows[layer] = normalized(rows[layer])
	}
	return rows, nil
}

// means returns for each layer the mean over the prompts.
func means(states [][][]float32) [][]float64 {
	rows := make([][]float64, len(states[0]))
	for layer := range rows {
		rows[layer] = make([]float64, len(states[0][layer]))
		for _, prompt := range states {
			for i, v := range prompt[layer] {
				rows[layer][i] += float64(v) / float64(len(states))
			}
		}
	}
	return rows
}

// normalized returns the row with length 1, unless it is shorter than 1e-8.
func normalized(row []float64) []float64 {
	var squares float64
	for _, v := range row {
		squares += v * v
	}
	length := max(math.Sqrt(squares), 1e-8)
	out := make([]float64, len(row))
	for i, v := range row {
		out[i] = v / length
	}
	return out
}

// embeddings returns the sum of the embeddings of all tokens of some texts, with
// length 1.
func (m *model) embeddings(texts [][]int32) ([]float64, error) {
	t := m.tensors.Get("model.embed_tokens.weight")
	width := m.config.HiddenSize
	sum, row := make([]float64, width), make([]float32, width)
	for _, text := range texts {
		for _, id := range text {
			if err := t.ReadRows(row, int64(id), 1); err != nil {
				return nil, err
			}
			for i, v := range row {
				sum[i] += float64(v)
			}
		}
	}
	return normalized(sum), nil
}
