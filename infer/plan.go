package infer

import (
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
)

// plan says how a run divides the memory that it may take.
//
// Tokens go through the layers together, as many as fit: of each, the residual streams are kept, and a few rows more. All
// else that a token needs on its way is taken for a block of them. Where there are several blocks, a weight is packed once for
// all of them if what they go through at once, a mixer or a network, fits packed.
type plan struct {
	rows      int        // of a block
	held      [forms]int // slabs that stay packed from block to block
	positions int        // whose logits are computed at once
	fixed     int64      // bytes that a run takes, however many tokens there are
	perToken  int64      // bytes of each that goes through the layers
	perText   int64      // bytes for each token of the longest text
	spilled   bool       // only one of several models has its residual streams in memory
	state     int        // floats that recurrences of a mixer remember of a text
}

// What parts of the memory go where.
const (
	runtimeBytes  = 24 << 20 // for Go's runtime and the metadata
	heldShare     = 4        // of the memory: for weights that stay packed, or, if these do not fit, for blocks
	blockShare    = 16       // for blocks beside weights that do
	logitsShare   = 4        // for the logits of several models
	positionBytes = 8        // of a token
	leastRows     = 24       // of a block, however little there is
	mostRows      = 4096     // more would not be faster
)

// setting is what a plan is made for.
type setting struct {
	models  []*Model
	workers int
	tokens  int   // of all chunks, or of those that may go through the layers together
	beside  int64 // bytes that are taken by others
	whole   bool  // everything that goes through the layers together is one block
	again   bool  // weights are packed again for each block
	spilled bool  // only one of the models has its residual streams in memory
}

// newPlan divides the memory of the first model. Blocks are as small as need be for a text of the given length to fit, if it can; if
// that does not help, weights are packed again for each.
func newPlan(s setting, text int) plan {
	memory := s.models[0].memory
	for _, s.again = range []bool{false, true} {
		for shared := memory; shared > 0; shared /= 2 {
			if p := s.plan(shared); p.bytes(text, text) <= memory {
				return p
			}
		}
	}
	return s.plan(0)
}

// LeastMemory returns how many bytes it takes at least to run a text of so many tokens through so many models like this one in lock-step.
func (m *Model) LeastMemory(models, text int) int64 {
	s := setting{models: slices.Repeat([]*Model{m}, models), workers: m.threads, tokens: text, spilled: models > 1, again: true}
	return s.plan(0).bytes(text, text)
}

// Memory returns what a run may take: Options.Memory, or its default.
func (m *Model) Memory() int64 { return m.memory }

// bytes returns how many bytes so many tokens take that go through the layers together, if the longest text has so many.
func (p plan) bytes(text, tokens int) int64 {
	return p.fixed + int64(text)*p.perText + int64(tokens)*p.perToken
}

// plan divides so much memory.
func (s setting) plan(memory int64) plan {
	var p plan
	var packed packing
	var perRow, perThread int
	for _, m := range s.models {
		packed.add(m)
		perRow = max(perRow, m.rowFloats())
		perThread = max(perThread, m.threadFloats())
	}
	first := s.models[0]
	width, stream, size := first.graph.Width, first.graph.Stream(), first.graph.Size()
	if p.spilled = s.spilled; s.spilled {
		perRow += stream // what is shown of all of them
		p.perToken = 4 * int64(stream)
	} else {
		p.perToken = 4 * int64(len(s.models)*stream)
	}
	p.perToken += positionBytes + 4*int64(first.rooms()*width+size.Whole+len(s.models)*(size.Kept+size.Chosen))

	share := memory / blockShare
	held := packed.heldBytes()
	if s.again || held > first.memory/heldShare {
		held, share = 0, memory/heldShare
	} else {
		for f := range packed.held {
			p.held[f] = len(packed.held[f])
		}
	}
	rows := int(min(share/int64(4*perRow), mostRows))
	p.rows = max(rows/leastRows, 1) * leastRows
	block := 4*int64(perRow)*int64(min(p.rows, s.tokens)) + held
	if s.whole {
		p.rows, p.perToken, block = math.MaxInt, p.perToken+4*int64(perRow), memory/logitsShare+held
	}
	if p.rows >= s.tokens {
		p.held, block = [forms]int{}, block-held
	}

	logits, position := block, 4*int64(first.Vocabulary()+2*width) // with what they are made of, packed
	if len(s.models) > 1 {
		logits, position = max(block, memory/logitsShare), position+4*int64(first.Vocabulary()) // those of the first model are kept for the others
	}
	p.positions = int(max(minHeadRows, min(logits/position, int64(s.tokens))))
	logits = position * int64(p.positions)

	p.perText = 4 * int64(s.workers*2*(size.Head+queryBlock)+size.Head) // of each thread, and the angles of rotary embeddings
	if s.tokens > p.rows {
		p.perText += 4 * int64(first.remembered())
		for m := range first.graph.Mixers {
			p.state = max(p.state, m.State().Recurrent)
		}
	}
	p.fixed = runtimeBytes + s.beside + packed.slabBytes() + max(block, logits) + 4*int64(s.workers*perThread+p.state)
	return p
}

// remembered returns how many floats a mixer takes at most to remember a token of a text while the rest of it comes.
func (m *Model) remembered() (most int) {
	for mixer := range m.graph.Mixers {
		s := mixer.State()
		most = max(most, s.Heads*(s.KeyLen+s.ValueLen)+s.IndexLen)
	}
	return most
}

// rooms returns how many rooms of the model's width there are for each token beside the residual stream.
func (m *Model) rooms() int {
	n := 1
	for _, needed := range []bool{m.graph.Branches(), m.graph.Aside(), m.graph.AltUp.Streams > 0} {
		if needed {
			n++
		}
	}
	return n
}

// rowFloats is what each token of a block takes: scratch, and what is packed to be multiplied.
func (m *Model) rowFloats() int {
	size := m.graph.Size()
	packed := m.widest
	if m.compute != Exact {
		packed *= 2 // there may be tensors of every form
	}
	return max(m.graph.Width, size.Scratch, size.Network) + packed
}

// threadFloats is what each thread takes however long texts are: a panel of rows as they are stored and one of them
// dequantized, and a part of a recurrence.
func (m *Model) threadFloats() int {
	return 2*kernel.TileCols*m.widest + m.graph.Size().Recurrent
}

// packing is what packed weights take, by form.
type packing struct {
	slab [forms]int64   // bytes of the largest slab
	held [forms][]int64 // bytes of the largest first slab of what tokens go through at once, the largest second one, and so on
}

// add makes room for the weights of a model.
func (p *packing) add(m *Model) {
	p.matrix(m, &m.graph.Output)
	for layer := range m.graph.Layers {
		for _, together := range m.graph.Together(layer) {
			var number [forms]int
			for _, w := range together {
				f := m.form(w)
				for first := 0; first < w.Rows; first += slabRows(f, w) {
					if number[f] == len(p.held[f]) {
						p.held[f] = append(p.held[f], 0)
					}
					p.held[f][number[f]] = max(p.held[f][number[f]], p.matrix(m, w))
					number[f]++
				}
			}
		}
	}
}

// matrix makes room for a slab of a matrix, and returns how many bytes that has.
func (p *packing) matrix(m *Model, w *graph.Matrix) int64 {
	f := m.form(w)
	bytes := f.packed(kernel.PackedLenB(min(w.Rows, slabRows(f, w)), w.Cols))
	p.slab[f] = max(p.slab[f], bytes)
	return bytes
}

func (p *packing) slabBytes() (sum int64) {
	for _, bytes := range p.slab {
		sum += bytes
	}
	return sum
}

func (p *packing) heldBytes() (sum int64) {
	for _, slabs := range p.held {
		for _, bytes := range slabs {
			sum += bytes
		}
	}
	return sum
}
