// Package perplexity measures how well a model predicts a text, as
// llama-perplexity defines it, so that figures can be compared.
//
// The tokens of the text are cut into chunks of Ctx tokens; what is left at the
// end is dropped. The first token of every chunk is replaced by BOS where the
// vocabulary adds one. Each chunk is run from an empty context, and in its
// second half every token is scored given all before it: 255 of 512. The
// perplexity is the exponential of the mean negative log-likelihood.
//
// The definition is that of perplexity() in llama.cpp's
// tools/perplexity/perplexity.cpp, without strides. Several texts are cut each
// for itself, and scored in one run of the model. Results do not depend on
// the number of threads, as they do there in the last digits: sums are made in
// the order of the text. Memory is 4 bytes per token and 8 per scored token,
// and whatever the model needs.
//
//	tokens, bos, err := perplexity.Tokens(tok, text)
//	if err != nil {
//		return err
//	}
//	result, err := perplexity.Score(ctx, model, tokens, bos, perplexity.Options{})
//
// For several texts, see [ScoreTexts].
package perplexity

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/interval"
	"github.com/ggufkit/ggufkit/infer/results"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// DefaultCtx is the length of chunks if Options does not say otherwise.
const DefaultCtx = 512

// nonFinite are the exponent bits of a float32; all are set in NaN and
// infinities only.
const nonFinite = 0x7F80_0000

// minCtx is the length of the shortest chunk with a token to score.
const minCtx = 3

// Model computes logits.
type Model interface {
	// Forward runs chunks of token ids, each from an empty context, and calls
	// visit once for every position >= From of every chunk, with the logits of
	// the token after it, one for each token of the vocabulary. Calls may be
	// concurrent; logits are only valid during the call.
	Forward(ctx context.Context, chunks []infer.Chunk, visit func(chunk, pos int, logits []float32)) error
}

// Options says what to score.
type Options struct {
	Ctx    int // tokens in a chunk, DefaultCtx if 0
	Chunks int // at most so many of each text, all there are if 0
	// Results, if not nil, is where what is known of each window is kept. Those that are there are not run again. The
	// error is a *results.Partial if some are missing then that others have to do.
	Results *results.Place
}

func (o Options) ctx() int {
	if o.Ctx == 0 {
		return DefaultCtx
	}
	return o.Ctx
}

// Result is how well a text was predicted.
type Result struct {
	Ctx          int
	Chunks       int
	ScoredTokens int
	NLL          float64 // mean negative log-likelihood of a scored token, in nats
	PPL          float64 // exp(NLL)
	// PPLError is the standard error of PPL as llama-perplexity estimates it,
	// which takes the scored tokens for independent.
	PPLError float64
	// Low and High are the ends of the 95 % interval of PPL, made of the chunks: see package
	// interval. They are NaN if there is only one of a text.
	Low, High float64
	// ChunkNLL has the mean negative log-likelihood of each chunk of each text.
	ChunkNLL [][]float64
	// ChunkTokens has the number of scored tokens of each of them, if not all have as many.
	ChunkTokens [][]int
	Tokens      int // of all chunks, scored or not
	// Cost is what all chunks took of all texts together, on all machines, if there are Options.Results.
	Cost results.Cost
}

// Tokens encodes a text as llama-perplexity does that of its -f file: without
// one newline at its end, special tokens as text, BOS first if the vocabulary
// adds it. bos is that token, or -1. Vocabularies that add EOS are refused, as
// they are there, with an error that wraps [gguf.ErrUnsupported].
func Tokens(tok *tokenizer.Tokenizer, text string) (tokens []int32, bos int32, err error) {
	if tok.AddsEOS() {
		return nil, 0, fmt.Errorf("perplexity: %w: the vocabulary adds an end-of-sequence token", gguf.ErrUnsupported)
	}
	bos = -1
	if tok.AddsBOS() {
		bos = tok.BOS()
	}
	return tok.Encode(strings.TrimSuffix(text, "\n"), tokenizer.Options{AddSpecial: true}), bos, nil
}

// Text is something to score: what Tokens returns for it, or Conversations.
type Text struct {
	Name   string
	Tokens []int32
	BOS    int32 // the first token of every chunk, or -1
	// Windows, if there are any, are the chunks, instead of what Tokens are cut into: see Conversations.
	Windows []Window
}

// Window is tokens that are run from an empty context.
type Window struct {
	Tokens []int32
	Scored []int // positions whose next token is scored, in their order
}

// Score runs the model on the tokens of a text. The first token of every chunk
// is replaced by bos unless that is negative. It is an error if there are not
// tokens for two chunks, as in llama-perplexity, or if a logit is NaN or
// infinite.
func Score(ctx context.Context, m Model, tokens []int32, bos int32, opts Options) (Result, error) {
	chunks, err := Chunks(tokens, bos, opts)
	if err != nil {
		return Result{}, fmt.Errorf("perplexity: %w", err)
	}
	s, err := score(ctx, m, opts.windows(chunks), []int{len(chunks)}, opts)
	if err != nil {
		return Result{}, err
	}
	return s.result(0, len(chunks)), nil
}

// ScoreTexts runs the model on several texts at once, each cut into chunks as Score
// does it. It returns the result for all of their tokens together, and for each text.
func ScoreTexts(ctx context.Context, m Model, texts []Text, opts Options) (together Result, each []Result, err error) {
	windows, counts, err := TextWindows(texts, opts)
	if err != nil {
		return Result{}, nil, fmt.Errorf("perplexity: %w", err)
	}
	s, err := score(ctx, m, windows, counts, opts)
	if err != nil {
		return Result{}, nil, err
	}
	first := 0
	for _, n := range counts {
		each = append(each, s.result(first, n))
		first += n
	}
	together = s.result(0, counts...)
	together.Cost = s.cost
	return together, each, nil
}

// TextWindows cuts several texts into the chunks that ScoreTexts runs, text after
// text. Counts has the number of chunks of each. Errors name the text.
func TextWindows(texts []Text, opts Options) (windows []Window, counts []int, err error) {
	if len(texts) == 0 {
		return nil, nil, errors.New("there is no text")
	}
	for _, text := range texts {
		own := text.Windows[:min(len(text.Windows), opts.most())]
		if text.Windows == nil {
			chunks, err := Chunks(text.Tokens, text.BOS, opts)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", text.Name, err)
			}
			own = opts.windows(chunks)
		}
		for i, w := range own {
			if n := len(w.Scored); n == 0 || !slices.IsSorted(w.Scored) || w.Scored[0] < 0 || w.Scored[n-1] >= len(w.Tokens)-1 {
				return nil, nil, fmt.Errorf("%s: window %d of %d tokens cannot have the scores of those behind %v", text.Name, i, len(w.Tokens), w.Scored)
			}
		}
		windows = append(windows, own...)
		counts = append(counts, len(own))
	}
	return windows, counts, nil
}

// most returns how many chunks there may be of a text.
func (o Options) most() int {
	if o.Chunks > 0 {
		return o.Chunks
	}
	return math.MaxInt
}

// windows returns chunks with what is scored of them: what follows the positions of the second half.
func (o Options) windows(chunks [][]int32) []Window {
	var scored []int
	for pos := o.ctx() / 2; pos < o.ctx()-1; pos++ {
		scored = append(scored, pos)
	}
	windows := make([]Window, len(chunks))
	for i, chunk := range chunks {
		windows[i] = Window{chunk, scored}
	}
	return windows
}

// InferChunks returns windows as what a model runs.
func InferChunks(windows []Window) []infer.Chunk {
	chunks := make([]infer.Chunk, len(windows))
	for i, w := range windows {
		chunks[i] = infer.Chunk{Tokens: w.Tokens, From: w.Scored[0]}
	}
	return chunks
}

// Windows returns how many chunks a text of so many tokens is cut into.
func (o Options) Windows(tokens int) int { return min(tokens/o.ctx(), o.most()) }

// Chunks cuts tokens into the chunks that Score runs, at most Options.Chunks.
func Chunks(tokens []int32, bos int32, opts Options) ([][]int32, error) {
	opts.Ctx = opts.ctx()
	switch {
	case opts.Ctx < minCtx:
		return nil, fmt.Errorf("chunks of %d tokens have none to score, at least %d are needed", opts.Ctx, minCtx)
	case opts.Chunks < 0:
		return nil, fmt.Errorf("cannot score %d chunks", opts.Chunks)
	case len(tokens)/2 < opts.Ctx:
		return nil, fmt.Errorf("the text has %d tokens, chunks of %d need at least %d", len(tokens), opts.Ctx, 2*opts.Ctx)
	}
	n := opts.Windows(len(tokens))
	chunks := slices.Collect(slices.Chunk(slices.Clone(tokens[:n*opts.Ctx]), opts.Ctx))
	if bos >= 0 {
		for _, chunk := range chunks {
			chunk[0] = bos
		}
	}
	return chunks, nil
}

// score runs the model on windows, of which the texts have so many each.
func score(ctx context.Context, m Model, windows []Window, counts []int, opts Options) (_ *scorer, err error) {
	s := newScorer(windows, opts.ctx())
	if opts.Results == nil {
		if err := s.run(ctx, m, windows); err != nil {
			return nil, fmt.Errorf("perplexity: %w", err)
		}
		return s, nil
	}
	store, err := opts.Results.Open(ctx, "perplexity", len(windows), WindowFacts(windows, counts)...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := s.keep(ctx, m, store); err != nil {
		return nil, fmt.Errorf("perplexity: %w", err)
	}
	return s, store.ReadAll(s.recall)
}

// WindowFacts says what windows are, of which the texts have so many each.
func WindowFacts(windows []Window, counts []int) []gguf.Fact {
	var facts []gguf.Fact
	for i, n := range counts {
		sum := sha256.New()
		for _, w := range windows[:n] {
			fmt.Fprintln(sum, w.Tokens, w.Scored)
		}
		windows = windows[n:]
		facts = append(facts, gguf.Fact{What: fmt.Sprintf("text %d", i+1), Is: fmt.Sprintf("%d windows, SHA-256 %x", n, sum.Sum(nil))})
	}
	return facts
}

// scorer turns logits into the negative log-likelihoods of the tokens of windows.
type scorer struct {
	windows []Window
	ctx     int
	nll     [][]float64 // of the scored tokens of each window; NaN: not yet visited
	numbers []int       // of the windows that are run, nil if they are all
	cancel  context.CancelFunc
	done    func(window int) error // is called when all of a window is visited; or nil
	cost    results.Cost

	mu   sync.Mutex
	left []int // tokens of each window that are not visited
	err  error // the first
}

func newScorer(windows []Window, ctx int) *scorer {
	s := &scorer{windows: windows, ctx: ctx, nll: make([][]float64, len(windows)), left: make([]int, len(windows))}
	for i, w := range windows {
		s.nll[i], s.left[i] = slices.Repeat([]float64{math.NaN()}, len(w.Scored)), len(w.Scored)
	}
	return s
}

// run runs the model on windows: those of numbers, or all.
func (s *scorer) run(ctx context.Context, m Model, windows []Window) error {
	ctx, s.cancel = context.WithCancel(ctx)
	defer s.cancel()
	err := m.Forward(ctx, InferChunks(windows), s.visit)
	if s.err != nil {
		err = s.err // what Forward returns is only that it was cancelled
	}
	return err
}

// keep runs the model on the windows that are missing in a store, and keeps what is known of each.
func (s *scorer) keep(ctx context.Context, m Model, store *results.Store) error {
	var windows []Window
	s.numbers = store.Missing()
	for _, n := range s.numbers {
		windows = append(windows, s.windows[n])
	}
	if len(windows) == 0 {
		return nil
	}
	meter := results.NewMeter(m)
	s.done = func(n int) error {
		data, err := binary.Append(nil, binary.LittleEndian, s.nll[n])
		if err != nil {
			return err
		}
		return store.Keep(results.Record{Unit: n, Data: data, Cost: meter.Cost()})
	}
	return s.run(ctx, m, windows)
}

// recall takes over what is kept of a window.
func (s *scorer) recall(n int, data []byte, cost results.Cost) error {
	nll := s.nll[n]
	if len(data) != 8*len(nll) {
		return fmt.Errorf("%d bytes for %d tokens", len(data), len(nll))
	}
	if _, err := binary.Decode(data, binary.LittleEndian, nll); err != nil {
		return err
	}
	if slices.ContainsFunc(nll, math.IsNaN) {
		return errors.New("a token was not scored")
	}
	s.cost.Add(cost)
	return nil
}

// visit scores the token after position pos of a window.
func (s *scorer) visit(chunk, pos int, logits []float32) {
	if s.numbers != nil {
		chunk = s.numbers[chunk]
	}
	w := s.windows[chunk]
	at, ok := slices.BinarySearch(w.Scored, pos)
	if !ok {
		return
	}
	nll, err := negLogLikelihood(logits, w.Tokens[pos+1])
	if err != nil {
		err = fmt.Errorf("chunk %d, position %d: %w", chunk, pos, err)
	} else if s.set(chunk, at, pos, nll) && s.done != nil {
		err = s.done(chunk)
	}
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.cancel()
	}
}

// set notes the score of a token, and reports whether it is the last of its window.
func (s *scorer) set(chunk, at, pos int, nll float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !math.IsNaN(s.nll[chunk][at]) {
		panic(fmt.Sprintf("perplexity: chunk %d, position %d was visited twice", chunk, pos))
	}
	s.nll[chunk][at] = nll
	s.left[chunk]--
	return s.left[chunk] == 0
}

// negLogLikelihood returns -log softmax(logits)[token] in nats, with the
// roundings of llama-perplexity's log_softmax: exponentials in float32, their
// sum in float64.
func negLogLikelihood(logits []float32, token int32) (float64, error) {
	if token < 0 || int(token) >= len(logits) {
		return 0, fmt.Errorf("token %d is not in the model's vocabulary of %d", token, len(logits))
	}
	highest := float32(math.Inf(-1))
	for i, v := range logits {
		if math.Float32bits(v)&nonFinite == nonFinite {
			return 0, fmt.Errorf("the logit of token %d is %v", i, v)
		}
		highest = max(highest, v)
	}
	sum := 0.0
	for _, v := range logits {
		sum += float64(float32(math.Exp(float64(v - highest))))
	}
	return math.Log(sum) - float64(logits[token]-highest), nil
}

// result sums up texts of so many chunks each, from number first on, in the order of the
// text, so that it is always the same.
func (s *scorer) result(first int, counts ...int) Result {
	r := Result{Ctx: s.ctx}
	var all []float64
	for _, n := range counts {
		var chunks []float64
		var tokens []int
		for range n {
			at := first + r.Chunks
			nll := s.nll[at]
			if i := slices.IndexFunc(nll, math.IsNaN); i >= 0 {
				panic(fmt.Sprintf("perplexity: chunk %d, position %d was not visited", at, s.windows[at].Scored[i]))
			}
			mean, _ := meanError(nll)
			chunks, tokens, all = append(chunks, mean), append(tokens, len(nll)), append(all, nll...)
			r.Tokens += len(s.windows[at].Tokens)
			r.Chunks++
		}
		r.ChunkNLL, r.ChunkTokens = append(r.ChunkNLL, chunks), append(r.ChunkTokens, tokens)
	}
	r.ChunkTokens = interval.Unequal(r.ChunkTokens)
	r.ScoredTokens = len(all)
	r.NLL, r.PPLError = meanError(all)
	r.PPL = math.Exp(r.NLL)
	r.PPLError *= r.PPL
	ppl := interval.Weighted(r.ChunkNLL, r.ChunkTokens).Exp()
	r.Low, r.High = ppl.Low, ppl.High
	return r
}

// meanError returns the mean of the values and its standard error, which is 0
// where llama-perplexity reports none.
func meanError(values []float64) (mean, deviation float64) {
	n := float64(len(values))
	var sum, squares float64
	for _, v := range values {
		sum += v
		squares += float64(v * v) // not fused, to be the same everywhere
	}
	mean = sum / n
	if variance := squares/n - float64(mean*mean); variance > 0 {
		deviation = math.Sqrt(variance / (n - 1))
	}
	return mean, deviation
}

// Ratio returns the perplexity of a over that of b, chunk by chunk: much of what makes a chunk
// hard is common to both, and cancels. Both have to have scored the same chunks.
func Ratio(a, b Result) (interval.Estimate, error) {
	difference, err := interval.Difference(a.ChunkNLL, b.ChunkNLL, a.ChunkTokens)
	if err != nil {
		return interval.Estimate{}, fmt.Errorf("perplexity: results cannot be compared: %w", err)
	}
	return difference.Exp(), nil
}
