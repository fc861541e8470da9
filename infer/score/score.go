// Package score asks models how likely continuations of texts are, and for continuations, of many texts at once.
//
//	err := score.Likelihoods(ctx, []*infer.Model{m}, requests, func(r int, of []score.Likelihood) error {
//		fmt.Println(r, of[0].Log)
//		return nil
//	})
//
// Several models go side by side, layer by layer ([infer.Lockstep]), so that forms of one model are compared in one
// pass. What requests begin with in common is computed once: the examples before each question, the question before each of its
// answers. Answers of one token are read off the same logits.
//
// Texts that a model continues, by its likeliest tokens or drawn ones, grow side by side ([infer.Sessions]), so that each weight is read
// once for a token of all of them.
//
//	err := score.Continuations(ctx, m, prompts, func(p int, tokens []int32) error {
//		fmt.Println(p, vocab.Decode(tokens))
//		return nil
//	})
package score

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"

	"github.com/ggufkit/ggufkit/infer"
)

// Request is a continuation of a text. Neither may be empty.
type Request struct {
	Context, Continuation []int32
}

// fed returns the tokens that a model has to see.
func (r Request) fed() []int32 {
	return slices.Concat(r.Context, r.Continuation[:len(r.Continuation)-1])
}

// Likelihood is how likely a model takes a continuation for.
type Likelihood struct {
	Log    float64 // natural logarithm of the probability of all of its tokens
	Greedy bool    // each of its tokens is the likeliest
}

// Likelihoods calls done with what each model says of each request, as soon as that is known, for one at a time. An error of done
// ends it, and so does a logit that is NaN or infinite, as a broken model has them. Otherwise it is as [infer.Lockstep].
func Likelihoods(ctx context.Context, models []*infer.Model, requests []Request, done func(request int, of []Likelihood) error) error {
	if len(requests) == 0 {
		return nil
	}
	for _, r := range requests {
		if len(r.Context) == 0 || len(r.Continuation) == 0 {
			return errors.New("score: an empty context or continuation")
		}
	}
	return byLength(models[0], len(requests), func(r int) int { return len(requests[r].fed()) }, func(of []int) error {
		s := &scorer{models: len(models), logs: make([][]Likelihood, len(of))}
		for _, r := range of {
			s.requests = append(s.requests, requests[r])
		}
		s.done = func(r int, likelihoods []Likelihood) error { return done(of[r], likelihoods) }
		return s.run(ctx, models)
	})
}

// byLength calls run with the numbers of all n texts, in their order; of a model whose rotary embeddings are others in long contexts, with those of
// short texts and then with those of long ones, so that nothing depends on how long others are.
func byLength(m *infer.Model, n int, length func(text int) int, run func(of []int) error) error {
	var parts [2][]int
	for i := range n {
		part := 0
		if long := m.LongContext(); long > 0 && length(i) > long {
			part = 1
		}
		parts[part] = append(parts[part], i)
	}
	for _, of := range parts {
		if len(of) > 0 {
			if err := run(of); err != nil {
				return err
			}
		}
	}
	return nil
}

// scorer collects what logits say of requests.
type scorer struct {
	requests []Request
	models   int
	done     func(request int, of []Likelihood) error
	cancel   context.CancelCauseFunc
	chunks   []infer.Chunk
	asked    []map[int][]place // of each chunk, by position

	mu   sync.Mutex
	logs [][]Likelihood // of each request: models x tokens
	left []int          // how many of them it waits for
}

// place is a token of a request's continuation.
type place struct{ request, index int }

// run has models answer the requests.
func (s *scorer) run(ctx context.Context, models []*infer.Model) error {
	s.plan()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.cancel = cancel
	_, err := infer.Lockstep(ctx, models, s.chunks, infer.Observer{Logits: s.logits})
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	return err
}

// plan makes chunks of the requests. What several feed first is one that theirs follow.
func (s *scorer) plan() {
	s.left = make([]int, len(s.requests))
	fed := make([][]int32, len(s.requests))
	for i, r := range s.requests {
		s.logs[i] = make([]Likelihood, s.models*len(r.Continuation))
		s.left[i] = len(s.logs[i])
		fed[i] = r.fed()
	}
	chunks, last := infer.Tree(fed)
	s.chunks, s.asked = chunks, make([]map[int][]place, len(chunks))
	for i, r := range s.requests {
		chunk := last[i]
		first := len(fed[i]) - len(chunks[chunk].Tokens) // of its tokens
		for j := len(r.Continuation) - 1; j >= 0; j-- {
			at := len(r.Context) - 1 + j
			for at < first {
				chunk = chunks[chunk].After - 1
				first -= len(chunks[chunk].Tokens)
			}
			s.ask(chunk, at-first, place{i, j})
		}
	}
}

// ask has a chunk show what it says at a position.
func (s *scorer) ask(chunk, position int, p place) {
	if s.asked[chunk] == nil {
		s.asked[chunk] = make(map[int][]place)
	}
	s.asked[chunk][position] = append(s.asked[chunk][position], p)
	s.chunks[chunk].From = min(s.chunks[chunk].From, position)
}

// logits is what a model says at a position of a chunk.
func (s *scorer) logits(model, chunk, pos int, logits, _ []float32) {
	asked := s.asked[chunk][pos]
	if len(asked) == 0 {
		return
	}
	best := slices.Max(logits)
	var sum float64
	for _, l := range logits {
		sum += math.Exp(float64(l - best))
	}
	total := float64(best) + math.Log(sum)
	if total-total != 0 {
		s.cancel(&infer.ModelError{Model: model, Err: errors.New("a logit is not finite")})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range asked {
		tokens := s.requests[p.request].Continuation
		l := logits[tokens[p.index]]
		s.logs[p.request][model*len(tokens)+p.index] = Likelihood{float64(l) - total, l == best}
		if s.left[p.request]--; s.left[p.request] == 0 {
			if err := s.done(p.request, s.result(p.request)); err != nil {
				s.cancel(err)
			}
		}
	}
}

// result sums what is known of a request, in the order of its tokens.
func (s *scorer) result(request int) []Likelihood {
	n := len(s.requests[request].Continuation)
	of := make([]Likelihood, s.models)
	for m := range of {
		of[m].Greedy = true
		for _, l := range s.logs[request][m*n:][:n] {
			of[m].Log += l.Log
			of[m].Greedy = of[m].Greedy && l.Greedy
		}
	}
	s.logs[request] = nil
	return of
}
