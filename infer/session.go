package infer

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/quant"
)

// ErrContextFull means that a Session has no room for another token.
var ErrContextFull = errors.New("the context is full")

// Session is a text that grows token by token. It has the KV cache of each layer, and what
// recurrences remember.
// It is not safe for concurrent use.
type Session struct {
	m       *Model
	context int
	tokens  int // in the text so far
	// Of each mixer of the model.
	caches    []kvCache
	indexers  []kvCache // the keys of indexers
	recurrent []recurrent
	token     *token
	logits    []float32
}

// NewSession returns an empty text with room for so many tokens. cache is the
// type of the keys and values: F32, F16 or a quantized type whose blocks divide
// the heads, such as Q8_0. A model file is mapped into memory, since every token
// takes all its weights (but for the experts that are not chosen).
func (m *Model) NewSession(context int, cache gguf.Type) (*Session, error) {
	if m.graph.Encoder {
		return nil, m.graph.NoLogits()
	}
	if context < 1 || context > maxContext {
		return nil, fmt.Errorf("a context of %d tokens is not possible", context)
	}
	if !quant.CanQuantize(cache) || quant.NeedsImportance(cache) || !quant.CanDequantize(cache) {
		return nil, fmt.Errorf("%w: a cache of type %s", gguf.ErrUnsupported, cache)
	}
	for mixer := range m.Spec().Mixers {
		state := mixer.State()
		for _, length := range []int{state.KeyLen, state.ValueLen, state.IndexLen} {
			if length%cache.BlockSize() != 0 {
				return nil, fmt.Errorf("%w: heads of %d elements are not whole blocks of %s", gguf.ErrUnsupported, length, cache)
			}
		}
	}
	if err := gguf.Map(m.src); err != nil {
		return nil, err
	}
	s := &Session{m: m, context: context, logits: make([]float32, m.Vocabulary())}
	for mixer := range m.Spec().Mixers {
		state := mixer.State()
		s.caches = append(s.caches, newKVCache(state, context, cache))
		s.indexers = append(s.indexers, newKVCache(graph.State{Heads: 1, KeyLen: state.IndexLen}, context, cache))
		s.recurrent = append(s.recurrent, newRecurrent(state))
	}
	s.token = newToken(s)
	return s, nil
}

// maxContext bounds the tokens of a Session.
const maxContext = 1 << 24

// Compute says how Add multiplies, which with Int8 is not how Start does (see the package
// documentation): "exact", or for how many of the large matrices it is in int8, with the
// rows as they are stored; the others are multiplied in float32.
func (s *Session) Compute() string {
	if s.m.compute == Exact {
		return Exact.String()
	}
	all := []*graph.Matrix{&s.m.graph.Output}
	for l := range s.m.graph.Layers {
		all = append(all, s.m.graph.Weights(l)...)
	}
	stored := 0
	for _, w := range all {
		if s.m.dotsRows(w) {
			stored++
		}
	}
	return fmt.Sprintf("int8 of stored rows, %d of %d matrices", stored, len(all))
}

// Len returns the number of tokens in the text.
func (s *Session) Len() int { return s.tokens }

// Start replaces the text by a prompt and returns the logits of the token after
// it, which are valid until the next call. It works layer by layer, as Forward.
func (s *Session) Start(ctx context.Context, prompt []int32) ([]float32, error) {
	s.tokens = 0
	if len(prompt) == 0 {
		return nil, errors.New("the prompt is empty")
	}
	if len(prompt) > s.context {
		return nil, fmt.Errorf("%w: the prompt has %d tokens, the context is %d", ErrContextFull, len(prompt), s.context)
	}
	chunks := []Chunk{{Tokens: prompt, From: len(prompt) - 1}}
	err := s.m.forward(ctx, chunks, entrance{}, s, func(_, _ int, logits []float32) { copy(s.logits, logits) })
	if err != nil {
		return nil, err
	}
	s.tokens = len(prompt)
	return s.logits, nil
}

// Add appends a token and returns the logits of the one after it, which are
// valid until the next call. The error wraps ErrContextFull if there is no room.
func (s *Session) Add(ctx context.Context, token int32) ([]float32, error) {
	if token < 0 || int(token) >= s.m.Vocabulary() {
		return nil, fmt.Errorf("token %d is not one of the vocabulary's %d", token, s.m.Vocabulary())
	}
	if s.tokens == s.context {
		return nil, fmt.Errorf("%w: %d tokens", ErrContextFull, s.context)
	}
	if err := s.token.run(ctx, token, s.logits); err != nil {
		return nil, err
	}
	s.tokens++
	return s.logits, nil
}

// kvCache has the keys and values of a text for an attention: for each KV head, a row of
// each position in a type, or of those in the window, which take turns.
type kvCache struct {
	graph.State
	t            gguf.Type
	rows         int // of a head
	keys, values []byte
}

func newKVCache(s graph.State, context int, t gguf.Type) kvCache {
	rows := s.Rows(context)
	keys := int64(rows*s.Heads) * t.RowBytes(int64(s.KeyLen))
	values := int64(rows*s.Heads) * t.RowBytes(int64(s.ValueLen))
	return kvCache{s, t, rows, make([]byte, keys), make([]byte, values)}
}

// put stores the keys and values of all heads at a position.
func (c *kvCache) put(pos int, keys, values []float32) error {
	for _, part := range []struct {
		rows   []byte
		x      []float32
		length int
	}{{c.keys, keys, c.KeyLen}, {c.values, values, c.ValueLen}} {
		if part.length == 0 {
			continue
		}
		size := int(c.t.RowBytes(int64(part.length)))
		for head := range c.Heads {
			row := part.rows[(head*c.rows+pos%c.rows)*size:][:size]
			if err := quant.Quantize(c.t, row, part.x[head*part.length:][:part.length], part.length, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// get returns the keys and values of a head at positions [first, end), in the buffers of a
// worker.
func (c *kvCache) get(w *worker, head, first, end int) (keys, values []float32, err error) {
	keys, values = c.room(w, end-first)
	return keys, values, c.read(keys, values, head, first)
}

// gather is get at some positions.
func (c *kvCache) gather(w *worker, head int, positions []int32) (keys, values []float32, err error) {
	keys, values = c.room(w, len(positions))
	for i, pos := range positions {
		if err := c.read(keys[i*c.KeyLen:][:c.KeyLen], values[i*c.ValueLen:][:c.ValueLen], head, int(pos)); err != nil {
			return nil, nil, err
		}
	}
	return keys, values, nil
}

// room returns the buffers of a worker for n keys and values.
func (c *kvCache) room(w *worker, n int) (keys, values []float32) {
	return sized(&w.keys, n*c.KeyLen), sized(&w.values, n*c.ValueLen)
}

// read sets keys and values to those of a head from a position on.
func (c *kvCache) read(keys, values []float32, head, first int) error {
	for _, part := range []struct {
		dst    []float32
		rows   []byte
		length int
	}{{keys, c.keys, c.KeyLen}, {values, c.values, c.ValueLen}} {
		size := int(c.t.RowBytes(int64(part.length)))
		rows := part.rows[head*c.rows*size:][:c.rows*size]
		for dst, at := part.dst, first%c.rows; len(dst) > 0; at = 0 {
			count := min(len(dst)/part.length, c.rows-at)
			if err := quant.Dequantize(c.t, dst[:count*part.length], rows[at*size:][:count*size], part.length); err != nil {
				return err
			}
			dst = dst[count*part.length:]
		}
	}
	return nil
}
