package score_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/sampling"
	"github.com/ggufkit/ggufkit/infer/score"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/testdata/reference"
)

// open opens a checkpoint for the test.
func open(t *testing.T, dir string) gguf.Source {
	t.Helper()
	src, err := hf.Open(dir, hf.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, src.Close()) })
	return src
}

// windows is a small Gemma 2 of random weights.
const windows = "../../testdata/gemma2"

func model(t *testing.T, src gguf.Source, opts infer.Options) *infer.Model {
	t.Helper()
	m, err := infer.New(src, opts)
	require.NoError(t, err)
	return m
}

// text returns n tokens, others for each seed.
func text(n int, seed uint64) []int32 {
	rng := rand.New(rand.NewPCG(seed, 0))
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = rng.Int32N(384)
	}
	return tokens
}

// alone is what a model says of a request, computed of it alone and plainly.
func alone(t *testing.T, m *infer.Model, r score.Request) score.Likelihood {
	t.Helper()
	all := slices.Concat(r.Context, r.Continuation)
	logs := make([]score.Likelihood, len(all))
	require.NoError(t, m.Forward(t.Context(), []infer.Chunk{{Tokens: all[:len(all)-1]}}, func(_, pos int, logits []float32) {
		next, top, sum := logits[all[pos+1]], slices.Max(logits), 0.0
		for _, l := range logits {
			sum += math.Exp(float64(l - top))
		}
		logs[pos+1] = score.Likelihood{Log: float64(next) - (float64(top) + math.Log(sum)), Greedy: next == top}
	}))
	result := score.Likelihood{Greedy: true}
	for _, l := range logs[len(r.Context):] {
		result.Log, result.Greedy = result.Log+l.Log, result.Greedy && l.Greedy
	}
	return result
}

// TestLikelihoodsAreThoseOfEachAlone has requests that begin alike in all ways, of unequal lengths, by models of several forms.
func TestLikelihoodsAreThoseOfEachAlone(t *testing.T) {
	shots, question := text(30, 1), text(9, 2)
	few := slices.Concat(shots, question)
	requests := []score.Request{
		{few, text(1, 3)}, {few, text(1, 4)}, {few, text(5, 5)}, {few, slices.Concat(text(5, 5), text(2, 6))}, {few, text(1, 3)}, // a document's answers, one twice
		{slices.Concat(few, text(3, 5)), text(4, 7)}, // its context has a part of another's answer
		{shots[:4], shots[4:9]},                      // all of it is what others begin with
		{shots, question},
		{text(1, 8), text(1, 9)}, {text(50, 10), text(17, 11)}, {shots[1:], question},
	}
	src := open(t, windows)
	for _, memory := range []int64{0, 1} {
		models := []*infer.Model{
			model(t, src, infer.Options{Memory: memory, Threads: 2}),
			model(t, src, infer.Options{Compute: infer.Int8All}),
		}
		answered := make([]int, len(requests))
		require.NoError(t, score.Likelihoods(t.Context(), models, requests, func(r int, of []score.Likelihood) error {
			answered[r]++
			require.Len(t, of, len(models))
			for i, m := range models {
				require.Equal(t, alone(t, m, requests[r]), of[i], "request %d, model %d", r, i)
			}
			return nil
		}))
		require.Equal(t, slices.Repeat([]int{1}, len(requests)), answered)
	}
}

// TestLikelihoodsComputePrefixesOnce counts the tokens that go through the layers.
func TestLikelihoodsComputePrefixesOnce(t *testing.T) {
	tokens := 0
	m := model(t, open(t, reference.MoE(t)), infer.Options{Router: func(r infer.Routing) {
		if r.Layer == 0 {
			tokens += r.Tokens
		}
	}})
	shots := text(20, 1)
	var requests []score.Request
	for question := range uint64(3) {
		context := slices.Concat(shots, text(5, 10+question))
		for answer := range uint64(4) {
			requests = append(requests, score.Request{Context: context, Continuation: text(1, 20+answer)})
		}
		requests = append(requests, score.Request{Context: context, Continuation: text(4, 30)})
	}
	require.NoError(t, score.Likelihoods(t.Context(), []*infer.Model{m}, requests, func(int, []score.Likelihood) error { return nil }))
	require.Equal(t, 20+3*(5+3), tokens)
}

func TestLikelihoodsEnd(t *testing.T) {
	m := []*infer.Model{model(t, open(t, windows), infer.Options{})}
	requests := []score.Request{{text(3, 1), text(1, 2)}, {text(3, 3), text(1, 2)}}
	broken := errors.New("broken")
	for last := range requests { // also by the last answer
		calls := 0
		require.ErrorIs(t, score.Likelihoods(t.Context(), m, requests, func(int, []score.Likelihood) error {
			if calls++; calls > last {
				return broken
			}
			return nil
		}), broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, score.Likelihoods(ctx, m, requests, nil), context.Canceled)
	require.ErrorContains(t, score.Likelihoods(t.Context(), m, []score.Request{{nil, text(1, 1)}}, nil), "an empty context")
	require.ErrorContains(t, score.Likelihoods(t.Context(), m, []score.Request{{text(1, 1), nil}}, nil), "or continuation")
	require.NoError(t, score.Likelihoods(t.Context(), m, nil, nil))
}

// broken is a model with a norm that is not a number.
type broken struct{ gguf.Source }

func (b broken) ReadRows(dst []byte, tensor int, first, n int64) error {
	if b.Tensors()[tensor].Name != "output_norm.weight" {
		return b.Source.ReadRows(dst, tensor, first, n)
	}
	for i := range dst {
		dst[i] = 0xff
	}
	return nil
}

func TestBrokenModels(t *testing.T) {
	m := model(t, broken{open(t, windows)}, infer.Options{})
	err := score.Likelihoods(t.Context(), []*infer.Model{m}, []score.Request{{text(3, 1), text(1, 2)}}, nil)
	require.ErrorContains(t, err, "model 0: a logit is not finite")
	err = score.Continuations(t.Context(), m, []score.Prompt{{Tokens: text(3, 1), Most: 2, Ended: never}}, nil)
	require.ErrorContains(t, err, "the logit of token 0 is NaN")
}

// never is of prompts that end with Most.
func never([]int32) bool { return false }

// continued is a continuation of each prompt, all side by side.
func continued(t *testing.T, m *infer.Model, prompts ...score.Prompt) [][]int32 {
	t.Helper()
	all := make([][]int32, len(prompts))
	require.NoError(t, score.Continuations(t.Context(), m, prompts, func(i int, tokens []int32) error {
		require.Nil(t, all[i])
		all[i] = slices.Clone(tokens)
		return nil
	}))
	return all
}

// plainly continues a prompt with a session of its own.
func plainly(t *testing.T, m *infer.Model, p score.Prompt, room int) []int32 {
	t.Helper()
	session, err := m.NewSession(room, gguf.F32)
	require.NoError(t, err)
	sampler, err := sampling.New(p.Sampling)
	require.NoError(t, err)
	logits, err := session.Start(t.Context(), p.Tokens)
	require.NoError(t, err)
	tokens := []int32{}
	for len(tokens) < p.Most {
		next, err := sampler.Next(logits, slices.Concat(p.Tokens, tokens))
		require.NoError(t, err)
		if tokens = append(tokens, next); p.Ended(tokens) {
			break
		}
		logits, err = session.Add(t.Context(), next)
		require.NoError(t, err)
	}
	return tokens
}

// TestContinuationsAreThoseOfEachAlone has more prompts than go side by side, of unequal lengths, some of which begin alike, that
// end early or late, by the likeliest token or drawn.
func TestContinuationsAreThoseOfEachAlone(t *testing.T) {
	var prompts []score.Prompt
	room := 0
	for i := range 45 {
		p := score.Prompt{Tokens: text(1+i*7%29, uint64(i)), Most: i * 5 % 23, Ended: never}
		if i%3 == 0 {
			p.Tokens = slices.Concat(text(12, 99), p.Tokens)
		}
		if i%4 == 0 {
			p.Sampling = sampling.Options{Temperature: 1.1, TopP: 0.95, RepetitionPenalty: 1.1, Seed: uint64(i)}
		}
		if i%5 == 0 { // when a certain token comes, if it does
			p.Ended = func(tokens []int32) bool { return tokens[len(tokens)-1]%7 == 0 }
		}
		prompts = append(prompts, p)
		room = max(room, len(p.Tokens)+p.Most)
	}
	src := open(t, windows)
	for _, opts := range []infer.Options{{Threads: 2}, {Memory: 1}, {Compute: infer.Int8All}} {
		m := model(t, src, opts)
		got, early := continued(t, m, prompts...), 0
		for i, p := range prompts {
			require.Equal(t, plainly(t, m, p, room), got[i], "prompt %d", i)
			if len(got[i]) < p.Most {
				early++
			}
		}
		require.Positive(t, early)
	}
}

// TestContinuationsOfOnePrompt draws several from the same prompt: as seeds say.
func TestContinuationsOfOnePrompt(t *testing.T) {
	m := model(t, open(t, windows), infer.Options{})
	drawn := func(seed uint64) score.Prompt {
		return score.Prompt{Tokens: text(9, 1), Most: 12, Ended: never, Sampling: sampling.Options{Temperature: 1.5, Seed: seed}}
	}
	got := continued(t, m, drawn(1), drawn(2), drawn(1), drawn(3))
	require.Equal(t, got[0], got[2])
	require.NotEqual(t, got[0], got[1])
	require.NotEqual(t, got[1], got[3])
	require.Equal(t, got[1:2], continued(t, m, drawn(2)))
}

// TestContinuationsStopWithinTokens has a stop text that begins in one token and ends in the next.
func TestContinuationsStopWithinTokens(t *testing.T) {
	src := open(t, windows)
	vocab, err := tokenizer.New(src.Metadata())
	require.NoError(t, err)
	m := model(t, src, infer.Options{})
	prompt := score.Prompt{Tokens: text(9, 1), Most: 40, Ended: never, Sampling: sampling.Options{Temperature: 1, Seed: 5}}
	free := continued(t, m, prompt)[0]
	require.Len(t, free, 40)
	at, stop := 0, ""
	for i := 5; i+1 < len(free) && stop == ""; i++ {
		one, both := vocab.Decode(free[i:i+1]), vocab.Decode(free[i:i+2])
		if len(one) < 2 || len(both) < len(one)+2 || !strings.HasPrefix(both, one) {
			continue
		}
		if s := both[len(one)-1 : len(one)+1]; !strings.Contains(vocab.Decode(free[:i+1]), s) {
			at, stop = i+2, s // the first of free that have it
		}
	}
	require.NotEmpty(t, stop)
	prompt.Ended = func(tokens []int32) bool { return strings.Contains(vocab.Decode(tokens), stop) }
	other := score.Prompt{Tokens: text(20, 3), Most: 40, Ended: never}
	got := continued(t, m, other, prompt, other)
	require.Equal(t, free[:at], got[1])
	require.Len(t, got[0], 40)
	require.Equal(t, got[0], got[2])
}

func TestContinuationsEnd(t *testing.T) {
	m := model(t, open(t, windows), infer.Options{})
	prompts := slices.Repeat([]score.Prompt{{Tokens: text(3, 1), Most: 5, Ended: never}}, 3)
	broken := errors.New("broken")
	require.ErrorIs(t, score.Continuations(t.Context(), m, prompts, func(int, []int32) error { return broken }), broken)

	ctx, cancel := context.WithCancel(t.Context())
	prompts[1].Ended = func(tokens []int32) bool {
		if len(tokens) == 3 {
			cancel()
		}
		return false
	}
	require.ErrorIs(t, score.Continuations(ctx, m, prompts, func(int, []int32) error {
		t.Error("done")
		return nil
	}), context.Canceled)

	require.NoError(t, score.Continuations(t.Context(), m, nil, nil))
	prompts[2].Sampling.TopP = 2
	require.ErrorContains(t, score.Continuations(t.Context(), m, prompts, nil), "the top-p is 2")
	require.ErrorContains(t, score.Continuations(t.Context(), m, []score.Prompt{{Most: 1}}, nil), "the prompt is empty")
}

// longRoPE is a model with other rotary embeddings in contexts of more than 20 tokens.
type longRoPE struct{ gguf.Source }

const longContext = 20

func (l longRoPE) Metadata() *gguf.Metadata {
	meta := l.Source.Metadata().Clone()
	meta.Set("llama.rope.scaling.original_context_length", uint32(longContext))
	return meta
}

func (l longRoPE) Tensors() []gguf.TensorInfo {
	factors := func(name string) gguf.TensorInfo {
		return gguf.TensorInfo{Name: name, Type: gguf.F32, Shape: []int64{16}}
	}
	return append(slices.Clone(l.Source.Tensors()), factors("rope_factors_short.weight"), factors("rope_factors_long.weight"))
}

func (l longRoPE) ReadRows(dst []byte, tensor int, first, n int64) error {
	others := len(l.Source.Tensors())
	if tensor < others {
		return l.Source.ReadRows(dst, tensor, first, n)
	}
	for i := range len(dst) / 4 {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(float32(1+i*(tensor-others))))
	}
	return nil
}

// TestLongTextsChangeNoOthers has texts beside some that are long enough for other rotary embeddings.
func TestLongTextsChangeNoOthers(t *testing.T) {
	m := model(t, longRoPE{open(t, "../../testdata/beyonder-mini/base")}, infer.Options{})
	require.Equal(t, longContext, m.LongContext())
	var requests []score.Request
	var prompts []score.Prompt
	for i, n := range []int{12, 40, 18, 17, 12} {
		requests = append(requests, score.Request{Context: text(n, 1), Continuation: text(3, uint64(i))})
		prompts = append(prompts, score.Prompt{Tokens: text(n, 1), Most: 3, Ended: never, Sampling: sampling.Options{Temperature: 3, Seed: uint64(i)}})
	}
	require.NoError(t, score.Likelihoods(t.Context(), []*infer.Model{m}, requests, func(r int, of []score.Likelihood) error {
		require.Equal(t, alone(t, m, requests[r]), of[0], "request %d", r)
		return nil
	}))
	got := continued(t, m, prompts...)
	for i, p := range prompts {
		require.Equal(t, plainly(t, m, p, len(p.Tokens)+p.Most), got[i], "prompt %d", i)
	}
	require.NotEqual(t, plainly(t, m, prompts[0], 40), got[0]) // it is not the same in a long context
}
