package infer

import (
	"context"
	"errors"
	"fmt"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/graph"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
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
	engine    *tokens // of all sessions that were made together
	logits    []float32
}

// Sessions are texts of one model that grow side by side, or some of those: a step of theirs reads each weight once. What comes
// of one text does not depend on the others, to the last bit.
// They are not safe for concurrent use, those that were made together not even one by one.
type Sessions []*Session

// NewSession returns an empty text with room for so many tokens. cache is the
// type of the keys and values: F32, F16 or a quantized type whose blocks divide
// the heads, such as Q8_0. A model file is mapped into memory, since every token
// takes all its weights (but for the experts that are not chosen).
func (m *Model) NewSession(context int, cache gguf.Type) (*Session, error) {
	sessions, err := m.NewSessions(1, context, cache)
	if err != nil {
		return nil, err
	}
	return sessions[0], nil
}

// NewSessions returns n empty texts, each as NewSession does.
func (m *Model) NewSessions(n, context int, cache gguf.Type) (Sessions, error) {
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
	engine := newTokens(m, context, int64(n)*m.sessionBytes(context, cache))
	sessions := make(Sessions, n)
	for i := range sessions {
		s := &Session{m: m, context: context, engine: engine, logits: make([]float32, m.Vocabulary())}
		for mixer := range m.Spec().Mixers {
			state := mixer.State()
			s.caches = append(s.caches, newKVCache(state, context, cache))
			s.indexers = append(s.indexers, newKVCache(graph.State{Heads: 1, KeyLen: state.IndexLen}, context, cache))
			s.recurrent = append(s.recurrent, newRecurrent(state))
		}
		sessions[i] = s
	}
	return sessions, nil
}

// SessionsThatFit returns how many sessions fit into half of what Options.Memory leaves beside a run, at least one.
// The other half is for prompts on their way through the layers.
func (m *Model) SessionsThatFit(context int, cache gguf.Type) int {
	left := m.memory - newPlan(setting{models: []*Model{m}, workers: m.threads, tokens: context}, context).bytes(context, 0)
	return int(max(1, left/2/m.sessionBytes(context, cache)))
}

// sessionBytes is what a session takes: its state, its logits, what draws a token of them (sampling.Sampler), and the rooms of that token.
func (m *Model) sessionBytes(context int, cache gguf.Type) int64 {
	bytes := 4 * int64(6*m.Vocabulary()+m.graph.Stream()+m.rooms()*m.graph.Width+m.rowFloats()+m.graph.Size().Whole+2*m.graph.Size().Inner)
	for mixer := range m.Spec().Mixers {
		state := mixer.State()
		rows := state
		rows.IndexLen = 0
		bytes += int64(state.Rows(context))*rows.RowBytes(cache, cache) + int64(context)*cache.RowBytes(int64(state.IndexLen)) + 8*int64(state.Recurrent)
	}
	return bytes
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
	return s.logits, Sessions{s}.Start(ctx, [][]int32{prompt})
}

// Add appends a token and returns the logits of the one after it, which are
// valid until the next call. The error wraps ErrContextFull if there is no room.
func (s *Session) Add(ctx context.Context, token int32) ([]float32, error) {
	return s.logits, Sessions{s}.Add(ctx, []int32{token})
}

// Logits returns those of the token after the text. They are valid until it grows or is replaced.
func (s *Session) Logits() []float32 { return s.logits }

// Start replaces each text by a prompt, as Session.Start does. What prompts begin with in common is computed once.
func (s Sessions) Start(ctx context.Context, prompts [][]int32) error {
	m, err := s.model(len(prompts))
	if err != nil {
		return err
	}
	for i, prompt := range prompts {
		s[i].tokens = 0
		if len(prompt) == 0 {
			return errors.New("the prompt is empty")
		}
		if len(prompt) > s[i].context {
			return fmt.Errorf("%w: the prompt has %d tokens, the context is %d", ErrContextFull, len(prompt), s[i].context)
		}
	}
	chunks, last := Tree(prompts)
	of := make([]Sessions, len(chunks))
	for i, c := range last {
		of[c] = append(of[c], s[i])
		chunks[c].From = len(chunks[c].Tokens) - 1
	}
	err = m.forward(ctx, chunks, of, func(chunk, _ int, logits []float32) {
		for _, session := range of[chunk] {
			copy(session.logits, logits)
		}
	})
	if err != nil {
		return err
	}
	for i, prompt := range prompts {
		s[i].tokens = len(prompt)
	}
	return nil
}

// Add appends a token to each text, as Session.Add does. After an error all are as before.
func (s Sessions) Add(ctx context.Context, tokens []int32) error {
	m, err := s.model(len(tokens))
	if err != nil {
		return err
	}
	for i, session := range s {
		if token := tokens[i]; token < 0 || int(token) >= m.Vocabulary() {
			return fmt.Errorf("token %d is not one of the vocabulary's %d", token, m.Vocabulary())
		}
		if session.tokens == session.context {
			return fmt.Errorf("%w: %d tokens", ErrContextFull, session.context)
		}
	}
	if err := s[0].engine.run(ctx, s, tokens); err != nil {
		return err
	}
	for _, session := range s {
		session.tokens++
	}
	return nil
}

// model returns the sessions' model. They are to take n things, and must be different ones that were made together.
func (s Sessions) model(n int) (*Model, error) {
	if len(s) == 0 || len(s) != n {
		return nil, fmt.Errorf("there are %d sessions for %d texts", len(s), n)
	}
	seen := make(map[*Session]bool, len(s))
	for _, session := range s {
		if seen[session] || session.engine != s[0].engine {
			return nil, errors.New("the sessions are not different ones that were made together")
		}
		seen[session] = true
	}
	return s[0].m, nil
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

// seen is the keys and values of a head that a token sees: n rows of each, as they are stored, or, if there are no kernels for these, in float32.
type seen struct {
	cache        *kvCache
	head, first  int // of the rows that are stored
	n            int
	keys, values []float32 // nil: as stored
}

// get returns the keys and values of a head at positions [first, end), perhaps in the buffers of a
// worker. Values of so many elements are asked for, which may be those of the keys.
func (c *kvCache) get(w *worker, head, first, end, valueLen int) (seen, error) {
	s := seen{cache: c, head: head, first: first, n: end - first}
	if kernel.CanDotFloatRows(c.t, c.KeyLen) && (valueLen == 0 || kernel.CanDotFloatRows(c.t, valueLen)) {
		return s, nil
	}
	c.room(w, &s)
	return s, c.read(s.keys, s.values, head, first)
}

// gather is get at some positions.
func (c *kvCache) gather(w *worker, head int, positions []int32) (seen, error) {
	s := seen{n: len(positions), cache: c}
	c.room(w, &s)
	for i, pos := range positions {
		if err := c.read(s.keys[i*c.KeyLen:][:c.KeyLen], s.values[i*c.ValueLen:][:c.ValueLen], head, int(pos)); err != nil {
			return s, err
		}
	}
	return s, nil
}

// room gives what is seen buffers of a worker.
func (c *kvCache) room(w *worker, s *seen) {
	s.keys, s.values = sized(&w.keys, s.n*c.KeyLen), sized(&w.values, s.n*c.ValueLen)
}

// read sets keys and values to those of a head from a position on.
func (c *kvCache) read(keys, values []float32, head, first int) error {
	for _, part := range []struct {
		dst    []float32
		rows   []byte
		length int
	}{{keys, c.keys, c.KeyLen}, {values, c.values, c.ValueLen}} {
		if part.length == 0 {
			continue
		}
		err := c.stretches(part.rows, part.length, head, first, len(part.dst)/part.length, func(rows []byte, at, n int) error {
			return quant.Dequantize(c.t, part.dst[at*part.length:][:n*part.length], rows, part.length)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stretches calls f with n rows of a head from a position on, as they stand together: with the number of the first of them and how many these are.
func (c *kvCache) stretches(rows []byte, length, head, first, n int, f func(rows []byte, at, n int) error) error {
	size := int(c.t.RowBytes(int64(length)))
	rows = rows[head*c.rows*size:][:c.rows*size]
	for at, row := 0, first%c.rows; at < n; row = 0 {
		count := min(n-at, c.rows-row)
		if err := f(rows[row*size:][:count*size], at, count); err != nil {
			return err
		}
		at += count
	}
	return nil
}

// score sets scores to the products of a query and the keys.
func (s *seen) score(scores, query []float32) {
	if s.keys != nil {
		kernel.DotEach(scores, s.keys, query)
		return
	}
	c := s.cache
	_ = c.stretches(c.keys, c.KeyLen, s.head, s.first, s.n, func(rows []byte, at, n int) error {
		kernel.DotFloatRows(c.t, scores[at:][:n], rows, query)
		return nil
	})
}

// add adds to out the values, each times its weight. Where there are none, they are the first elements of the keys.
func (s *seen) add(out, weights []float32) {
	c := s.cache
	stored, floats, length := c.values, s.values, c.ValueLen
	if length == 0 {
		stored, floats, length = c.keys, s.keys, c.KeyLen
	}
	if s.keys != nil {
		for i, weight := range weights {
			kernel.AddScaled(out, floats[i*length:][:len(out)], weight)
		}
		return
	}
	_ = c.stretches(stored, length, s.head, s.first, s.n, func(rows []byte, at, n int) error {
		kernel.AddFloatRows(c.t, out, rows, length, weights[at:][:n])
		return nil
	})
}
