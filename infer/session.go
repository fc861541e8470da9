package infer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/internal/kernel"
	"github.com/ggufkit/ggufkit/quant"
)

// ErrContextFull means that a Session has no room for another token.
var ErrContextFull = errors.New("the context is full")

// Session is a text that grows token by token. It remembers the keys and values
// of all layers: blocks x kv heads x (key length + value length) elements of the
// cache's type per token. It is not safe for concurrent use.
type Session struct {
	m        *Model
	cache    gguf.Type
	context  int
	tokens   int      // in the text so far
	layers   []memory // of each layer
	rotation rotation
	crew     crew
	chosen   []choice
	networks []weighted // that the token goes through in a layer

	vectors [][]kernel.Vector8 // of products that are under way

	x, normed, q, k, v, heads, gate, up, out, router, logits []float32
	alwaysGate                                               [1]float32
}

// memory is what a layer keeps of the tokens: for each kv head the rows of all
// positions, in the type of the cache.
type memory struct{ keys, values []byte }

// NewSession returns an empty text with room for so many tokens. cache is the
// type of the keys and values: F32, F16 or a quantized type whose blocks divide
// the heads, such as Q8_0. A model file is mapped into memory, since every token
// takes all its weights (but for the experts that are not chosen).
func (m *Model) NewSession(context int, cache gguf.Type) (*Session, error) {
	if context < 1 || context > maxCount {
		return nil, fmt.Errorf("a context of %d tokens is not possible", context)
	}
	if !quant.CanQuantize(cache) || quant.NeedsImportance(cache) || !quant.CanDequantize(cache) {
		return nil, fmt.Errorf("%w: a cache of type %s", gguf.ErrUnsupported, cache)
	}
	for _, length := range []int{m.keyLen, m.valueLen} {
		if length%cache.BlockSize() != 0 {
			return nil, fmt.Errorf("%w: heads of %d elements are not whole blocks of %s", gguf.ErrUnsupported, length, cache)
		}
	}
	if err := gguf.Map(m.src); err != nil {
		return nil, err
	}
	s := &Session{
		m: m, cache: cache, context: context, rotation: m.newRotation(context),
		crew: crew{workers: make([]worker, m.threads)}, layers: make([]memory, len(m.layers)), chosen: make([]choice, m.expertsUsed),
		x: make([]float32, m.width), normed: make([]float32, m.width),
		q: make([]float32, m.heads*m.keyLen), k: make([]float32, m.kvHeads*m.keyLen), v: make([]float32, m.kvHeads*m.valueLen),
		heads: make([]float32, m.heads*m.valueLen), router: make([]float32, m.experts), logits: make([]float32, m.Vocabulary()),
	}
	hidden := max(m.hidden, m.expertsUsed*m.expertHidden+m.sharedHidden)
	s.gate, s.up, s.out = make([]float32, hidden), make([]float32, hidden), make([]float32, (m.expertsUsed+1)*m.width)
	for i := range s.layers {
		rows := int64(context * m.kvHeads)
		s.layers[i] = memory{make([]byte, rows*cache.RowBytes(int64(m.keyLen))), make([]byte, rows*cache.RowBytes(int64(m.valueLen)))}
	}
	return s, nil
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
	err := s.m.forward(ctx, []Chunk{{Tokens: prompt, From: len(prompt) - 1}}, entrance{}, s, func(_, _ int, logits []float32) { copy(s.logits, logits) })
	if err != nil {
		return nil, err
	}
	s.tokens = len(prompt)
	return s.logits, nil
}

// Add appends a token and returns the logits of the one after it, which are
// valid until the next call. The error wraps ErrContextFull if there is no room.
func (s *Session) Add(ctx context.Context, token int32) ([]float32, error) {
	m := s.m
	if token < 0 || int(token) >= m.Vocabulary() {
		return nil, fmt.Errorf("token %d is not one of the vocabulary's %d", token, m.Vocabulary())
	}
	if s.tokens == s.context {
		return nil, fmt.Errorf("%w: %d tokens", ErrContextFull, s.context)
	}
	s.crew.start()
	defer s.crew.stop()
	if err := m.read(&s.crew.workers[0], s.x, m.embedding, int(token), 1); err != nil {
		return nil, err
	}
	for i := range m.layers {
		if err := s.layer(ctx, &m.layers[i]); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
	}
	rmsNorm(s.normed, s.x, m.outputNorm, m.epsilon)
	if err := s.multiply(vectorProduct{s.logits, s.normed, m.output}); err != nil {
		return nil, err
	}
	s.tokens++
	return s.logits, nil
}

func (s *Session) layer(ctx context.Context, l *layer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m := s.m
	rmsNorm(s.normed, s.x, l.attnNorm, m.epsilon)
	err := s.multiply(vectorProduct{s.q, s.normed, l.q}, vectorProduct{s.k, s.normed, l.k}, vectorProduct{s.v, s.normed, l.v})
	if err != nil {
		return err
	}
	m.place(s.rotation, s.q, l.qNorm, s.tokens)
	m.place(s.rotation, s.k, l.kNorm, s.tokens)
	if err := s.remember(l.index, s.tokens, s.k, s.v); err != nil {
		return err
	}
	if err := s.crew.run(m.kvHeads, func(w *worker, kv int) error { return s.attend(w, l.index, kv) }); err != nil {
		return err
	}
	if err := s.multiply(vectorProduct{s.out[:m.width], s.heads, l.attnOutput}); err != nil {
		return err
	}
	kernel.AddScaled(s.x, s.out[:m.width], 1)

	rmsNorm(s.normed, s.x, l.ffnNorm, m.epsilon)
	networks, err := s.choose(l)
	if err != nil {
		return err
	}
	return s.feedForward(networks)
}

// weighted is a network with the factor of what it adds to the residual stream.
type weighted struct {
	network
	weight float32
}

// choose returns the networks of layer l that the token goes through, in the
// order in which Forward adds their results.
func (s *Session) choose(l *layer) ([]weighted, error) {
	var gates []vectorProduct
	if l.router.rows > 0 {
		gates = append(gates, vectorProduct{s.router, s.normed, l.router})
	}
	if l.alwaysGate.rows > 0 {
		gates = append(gates, vectorProduct{s.alwaysGate[:], s.normed, l.alwaysGate})
	}
	if len(gates) > 0 {
		if err := s.multiply(gates...); err != nil {
			return nil, err
		}
	}
	networks := s.networks[:0]
	if l.router.rows > 0 {
		s.m.choose(s.chosen, s.router)
		slices.SortFunc(s.chosen, func(a, b choice) int { return a.expert - b.expert })
		for _, c := range s.chosen {
			networks = append(networks, weighted{l.experts[c.expert], c.weight})
		}
	}
	if l.alwaysGate.rows > 0 {
		networks = append(networks, weighted{l.always, sigmoid(s.alwaysGate[0])})
	} else if l.always.gate.rows > 0 {
		networks = append(networks, weighted{l.always, 1})
	}
	s.networks = networks
	return networks, nil
}

// feedForward adds the results of some networks to the residual stream.
func (s *Session) feedForward(networks []weighted) error {
	var in, out []vectorProduct
	used := 0
	for i, n := range networks {
		gate, up := s.gate[used:][:n.gate.rows], s.up[used:][:n.up.rows]
		used += len(gate)
		in = append(in, vectorProduct{gate, s.normed, n.gate}, vectorProduct{up, s.normed, n.up})
		out = append(out, vectorProduct{s.out[i*s.m.width:][:s.m.width], gate, n.down})
	}
	if err := s.multiply(in...); err != nil {
		return err
	}
	kernel.SiLUMul(s.gate[:used], s.up[:used])
	if err := s.multiply(out...); err != nil {
		return err
	}
	for i, n := range networks {
		kernel.AddScaled(s.x, out[i].dst, n.weight)
	}
	return nil
}

// remember stores the keys and values of a position.
func (s *Session) remember(layer, pos int, k, v []float32) error {
	for _, part := range []struct {
		memory []byte
		x      []float32
		length int
	}{{s.layers[layer].keys, k, s.m.keyLen}, {s.layers[layer].values, v, s.m.valueLen}} {
		size := int(s.cache.RowBytes(int64(part.length)))
		for head := range s.m.kvHeads {
			row := part.memory[(head*s.context+pos)*size:][:size]
			if err := quant.Quantize(s.cache, row, part.x[head*part.length:][:part.length], part.length, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// attend computes the query heads that share key-value head kv.
func (s *Session) attend(w *worker, layer, kv int) error {
	m, n := s.m, s.tokens+1
	keys, values := sized(&w.keys, n*m.keyLen), sized(&w.values, n*m.valueLen)
	keyBytes, valueBytes := int(s.cache.RowBytes(int64(m.keyLen))), int(s.cache.RowBytes(int64(m.valueLen)))
	if err := quant.Dequantize(s.cache, keys, s.layers[layer].keys[kv*s.context*keyBytes:][:n*keyBytes], m.keyLen); err != nil {
		return err
	}
	if err := quant.Dequantize(s.cache, values, s.layers[layer].values[kv*s.context*valueBytes:][:n*valueBytes], m.valueLen); err != nil {
		return err
	}
	scale := float32(1 / math.Sqrt(float64(m.keyLen)))
	scores := sized(&w.scores, n)
	group := m.heads / m.kvHeads
	for head := kv * group; head < (kv+1)*group; head++ {
		query, out := s.q[head*m.keyLen:][:m.keyLen], s.heads[head*m.valueLen:][:m.valueLen]
		for pos := range scores {
			scores[pos] = kernel.Dot(query, keys[pos*m.keyLen:][:m.keyLen])
		}
		sum := kernel.ExpSum(scores, scale)
		clear(out)
		for pos, score := range scores {
			kernel.AddScaled(out, values[pos*m.valueLen:][:m.valueLen], score/sum)
		}
	}
	return nil
}

// vectorProduct is one product of a weight matrix and a vector: dst becomes
// w·x + bias.
type vectorProduct struct {
	dst, x []float32
	w      matrix
}

// vectorTask is about how many bytes of a matrix one task takes at least: rows that
// are dequantized stay in a core's cache. Other products go through rows once and
// ask for them ahead, so they take longer stretches, of a share of the matrix.
const (
	vectorTask     = 64 << 10
	tasksPerWorker = 2
)

// multiply computes some products, rows in parallel.
func (s *Session) multiply(products ...vectorProduct) error {
	type task struct{ product, first, rows int }
	var tasks []task
	rounded := s.round(products)
	for i, p := range products {
		info := s.m.src.Tensors()[p.w.tensor]
		rows := max(1, vectorTask/int(info.RowBytes()))
		if rounded[i] != nil || kernel.CanDotFloatRows(info.Type, p.w.cols) {
			rows = max(rows, p.w.rows/(tasksPerWorker*len(s.crew.workers)))
		}
		for first := 0; first < p.w.rows; first += rows {
			tasks = append(tasks, task{i, first, min(rows, p.w.rows-first)})
		}
	}
	return s.crew.run(len(tasks), func(w *worker, i int) error {
		t := tasks[i]
		p, dst := products[t.product], products[t.product].dst[t.first:][:t.rows]
		var err error
		if x := rounded[t.product]; x != nil {
			err = s.m.multiplyInt8(w, dst, x, p.w, t.first)
		} else {
			err = s.m.multiplyExact(w, dst, p.x, p.w, t.first)
		}
		if err == nil && p.w.bias != nil {
			kernel.AddScaled(dst, p.w.bias[t.first:], 1)
		}
		return err
	})
}

// round returns the vectors of the products that integers can do, rounded: a
// vector of several products once, nil for other products.
func (s *Session) round(products []vectorProduct) [][]kernel.Vector8 {
	rounded := make([][]kernel.Vector8, len(products))
	if s.m.compute == Exact {
		return rounded
	}
	used := 0
	for i, p := range products {
		if len(p.x)%256 != 0 || !kernel.CanDotRows(s.m.src.Tensors()[p.w.tensor].Type) {
			continue
		}
		if i > 0 && rounded[i-1] != nil && &p.x[0] == &products[i-1].x[0] {
			rounded[i] = rounded[i-1]
			continue
		}
		if used == len(s.vectors) {
			s.vectors = append(s.vectors, nil)
		}
		rounded[i] = sized(&s.vectors[used], len(p.x)/256)
		kernel.QuantizeVector(rounded[i], p.x)
		used++
	}
	return rounded
}

// multiplyExact multiplies rows of w, from number first on, one for each element
// of dst.
func (m *Model) multiplyExact(worker *worker, dst, x []float32, w matrix, first int) error {
	return m.useRows(worker, w, first, len(dst), func(raw []byte) error {
		if t := m.src.Tensors()[w.tensor].Type; kernel.CanDotFloatRows(t, w.cols) {
			kernel.DotFloatRows(t, dst, raw, x)
			return nil
		}
		rows := sized(&worker.rows, len(dst)*w.cols)
		if err := m.dequantize(rows, w, raw); err != nil {
			return err
		}
		for r := range dst {
			dst[r] = kernel.Dot(x, rows[r*w.cols:][:w.cols])
		}
		return nil
	})
}

// multiplyInt8 is multiplyExact with a rounded vector, for types that
// kernel.DotRows can do.
func (m *Model) multiplyInt8(worker *worker, dst []float32, x []kernel.Vector8, w matrix, first int) error {
	return m.useRows(worker, w, first, len(dst), func(rows []byte) error {
		kernel.DotRows(m.src.Tensors()[w.tensor].Type, dst, rows, x)
		return nil
	})
}
