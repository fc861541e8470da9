package infer

import (
	"math"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
)

// Operand is a kind of weights in products: of a type, and what they are computed with.
type Operand struct {
	Type    gguf.Type
	Compute Compute
}

// Work is what a run takes, as far as it is known before a weight is read. Beside it are norms, routers, activations and what is made of
// logits, which take little where matrices are large. Numbers of weights and products are of all readings together.
type Work struct {
	Batches     int                   // of chunks that pass the layers together
	Memory      int64                 // bytes that the largest of them takes, as Options.Memory counts
	Read        int64                 // bytes that are read of the rows of models, of those that are made from others, of these
	Least       int64                 // of these, what has to come from the files if each layer stays in memory until all models have passed it
	Packed      map[Operand]float64   // weights that are read, dequantized, and brought to the form of products
	Multiplied  map[Operand]float64   // products of a weight and an activation; those of attention are of F32, Exact
	Dequantized map[gguf.Type]float64 // weights that others are quantized from, of the type that they have
	Quantized   map[gguf.Type]float64 // weights that are quantized as they are read, to a type
	Hashed      int64                 // bytes
}

// Add adds other work. Memory is that of the larger one: they are done one after the other.
func (w *Work) Add(other Work) {
	w.Batches += other.Batches
	w.Memory = max(w.Memory, other.Memory)
	w.Read += other.Read
	w.Least += other.Least
	w.Hashed += other.Hashed
	add(&w.Packed, other.Packed)
	add(&w.Multiplied, other.Multiplied)
	add(&w.Dequantized, other.Dequantized)
	add(&w.Quantized, other.Quantized)
}

func add[K comparable](to *map[K]float64, other map[K]float64) {
	if *to == nil {
		*to = make(map[K]float64)
	}
	for k, n := range other {
		(*to)[k] += n
	}
}

// Plan returns what Lockstep does with the same arguments. It reads nothing.
func Plan(models []*Model, chunks []Chunk) (Work, error) {
	p := planner{lockstep: newLockstep(models, Observer{})}
	if err := p.prepare(chunks); err != nil {
		return Work{}, err
	}
	p.work.Add(Work{}) // makes the maps
	alike := make(map[passed]int)
	for first := 0; first < len(chunks); {
		n := p.begin(chunks, first)
		b := passed{tokens: p.tokens}
		ids := make(map[int32]bool)
		for _, c := range p.chunks {
			b.scored += max(0, len(c.Tokens)-max(0, c.From))
			b.pairs += c.pairs()
			for _, id := range c.Tokens {
				ids[id] = true
			}
		}
		b.ids = len(ids)
		alike[b]++
		text := 0
		for _, c := range p.chunks {
			text = max(text, c.text)
		}
		p.work.Batches, p.work.Memory = p.work.Batches+1, max(p.work.Memory, p.plan.bytes(text, p.tokens))
		first += n
	}
	for b, times := range alike {
		p.times = float64(times)
		p.batch(b)
	}
	return p.work, nil
}

// passed is what a batch takes through the models.
type passed struct {
	tokens int
	ids    int // different ones
	scored int // tokens with logits
	pairs  int // of a query and a key that it is scored against
}

// pairs returns how many scores one head computes for a chunk, if it sees all that is before.
func (c *batchChunk) pairs() (pairs int) {
	for first := 0; first < len(c.Tokens); first += queryBlock {
		rows := min(queryBlock, len(c.Tokens)-first)
		pairs += rows * (c.first + first + rows)
	}
	return pairs
}

// planner counts what is done where lockstep does it.
type planner struct {
	*lockstep
	work  Work
	times float64          // that what is counted is done
	seen  map[origin]bool  // rows that were read in the stage
	made  map[rowsKey]bool // of those that are kept in it, whether they are there
}

// origin is where the rows of a matrix are read.
type origin struct {
	src           gguf.Source
	tensor, first int
}

func (p *planner) batch(b passed) {
	p.seen = make(map[origin]bool)
	for _, m := range p.models {
		p.read(m, &m.graph.Embedding, float64(b.ids)/float64(m.graph.Embedding.Rows))
		for mixer := range m.graph.Mixers {
			size := mixer.Size()
			p.work.Multiplied[Operand{gguf.F32, Exact}] += p.times * float64(b.pairs) * float64(size.Scores) * float64(size.Head)
		}
	}
	for i := range p.models[0].graph.Layers {
		p.forget(layerStage(i))
		p.stage(layerStage(i), b.tokens, p.plan.rows)
	}
	p.forget(outputStage)
	for left := b.scored; left > 0; left -= p.plan.positions {
		p.stage(outputStage, min(p.plan.positions, left), p.plan.positions)
	}
}

// forget forgets what was read and made, for the next stage.
func (p *planner) forget(s stage) {
	p.seen, p.made = make(map[origin]bool), make(map[rowsKey]bool)
	p.reuse.fitting(p.models, s, func(key rowsKey, _ *graph.Matrix, _, _ int) { p.made[key] = false })
}

// stage counts what matrices of all models take for so many tokens, in blocks of some.
func (p *planner) stage(s stage, tokens, block int) {
	for _, m := range p.models {
		for _, w := range s.matrices(m) {
			n, used := float64(tokens), 1.0
			if w.Share > 0 {
				used = 1 - math.Pow(1-w.Share, n) // how likely it is that any token is sent to it
				n *= w.Share
			}
			kind := Operand{m.src.Tensors()[w.Tensor].Type, m.compute}
			if w.Exact {
				kind.Compute = Exact
			}
			if p.plan.held == ([forms]int{}) { // packed again for each block
				used *= max(1, math.Ceil(n/float64(block)))
			}
			elements := p.times * float64(w.Rows) * float64(w.Cols)
			p.work.Packed[kind] += used * elements
			p.work.Multiplied[kind] += n * elements
			id := rowsKey{gguf.RowsID(m.src, w.Tensor), w.First}
			there, kept := p.made[id]
			if kept {
				p.made[id], used = true, min(used, 1)
			}
			if !there {
				p.read(m, w, used)
			}
		}
	}
}

// read counts what it takes to read a share of the rows of a matrix, and to make them if they are made as they are read.
func (p *planner) read(m *Model, w *graph.Matrix, share float64) {
	src, tensor := gguf.Unwrap(m.src, w.Tensor)
	info := src.Tensors()[tensor]
	rows := p.times * share * float64(w.Rows)
	if made, ok := src.(gguf.Wrapper); ok && gguf.RowsID(src, tensor) != nil {
		p.work.Quantized[info.Type] += rows * float64(w.Cols)
		of := made.Unwrap(tensor, int64(w.First), int64(w.Rows))
		src, tensor = gguf.Unwrap(of.Source, of.Tensor)
		info = src.Tensors()[tensor]
		p.work.Dequantized[info.Type] += rows * float64(w.Cols)
	}
	bytes := int64(rows * float64(info.RowBytes()))
	p.work.Read += bytes
	if at := (origin{src, tensor, w.First}); !p.seen[at] {
		p.seen[at] = true
		p.work.Least += int64(float64(bytes) / max(share, 1))
	}
}
