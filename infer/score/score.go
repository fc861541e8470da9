// Package score asks models how likely continuations of texts are, for many at once.
//
//	err := score.Likelihoods(ctx, []*infer.Model{m}, requests, func(r int, of []score.Likelihood) error {
//		fmt.Println(r, of[0].Log)
//		return nil
//	})
//
// Several models go side by side, layer by layer ([infer.Lockstep]), so that forms of one model are compared in one
// pass. What requests begin with in common is computed once: the examples before each question, the question before each of its
// answers. Answers of one token are read off the same logits.
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
// ends it. Otherwise it is as [infer.Lockstep].
func Likelihoods(ctx context.Context, models []*infer.Model, requests []Request, done func(request int, of []Likelihood) error) error {
	if len(requests) == 0 {
		return nil
	}
	for _, r := range requests {
		if len(r.Context) == 0 || len(r.Continuation) == 0 {
			return errors.New("score: an empty context or continuation")
		}
	}
	s := &scorer{requests: requests, done: done, models: len(models), logs: make([][]Likelihood, len(requests))}
	s.plan(!slices.ContainsFunc(models, func(m *infer.Model) bool { return !m.CanFollow() }))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.cancel = cancel
	_, err := infer.Lockstep(ctx, models, s.chunks, infer.Observer{Logits: s.logits})
	if cause := context.Cause(ctx); cause != nil && err != nil {
		return cause
	}
	return err
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

// plan makes chunks of the requests. What several feed first is a chunk of its own, which theirs follow, if the models can do that.
func (s *scorer) plan(follow bool) {
	s.left = make([]int, len(s.requests))
	fed := make([][]int32, len(s.requests))
	order := make([]int, len(s.requests))
	for i, r := range s.requests {
		s.logs[i] = make([]Likelihood, s.models*len(r.Continuation))
		s.left[i] = len(s.logs[i])
		fed[i], order[i] = r.fed(), i
	}
	slices.SortStableFunc(order, func(a, b int) int { return slices.Compare(fed[a], fed[b]) })
	if follow {
		s.branch(fed, order, 0, 0)
		return
	}
	for len(order) > 0 {
		n := 1
		for n < len(order) && slices.Equal(fed[order[n]], fed[order[0]]) {
			n++
		}
		s.chunk(fed[order[0]], order[:n], 0, 0)
		order = order[n:]
	}
}

// branch makes chunks of requests whose first tokens are the same, of which depth are in chunks already, the last of them
// 1 + its number. The requests are in the order of what they feed.
func (s *scorer) branch(fed [][]int32, requests []int, depth, after int) {
	for len(requests) > 0 {
		first := fed[requests[0]]
		if len(first) == depth { // all of it is there
			requests = requests[1:]
			continue
		}
		n := 1 // with the same next token
		for n < len(requests) && fed[requests[n]][depth] == first[depth] {
			n++
		}
		last := fed[requests[n-1]]
		end := depth
		for end < len(first) && end < len(last) && first[end] == last[end] {
			end++
		}
		s.branch(fed, requests[:n], end, s.chunk(first[depth:end], requests[:n], depth, after))
		requests = requests[n:]
	}
}

// chunk adds tokens that all of these requests feed, from a position on, behind another chunk, and returns 1 + its number.
func (s *scorer) chunk(tokens []int32, requests []int, position, after int) int {
	asked := make(map[int][]place)
	from := len(tokens)
	for _, i := range requests {
		r := s.requests[i]
		for j := range r.Continuation {
			if at := len(r.Context) - 1 + j - position; at >= 0 && at < len(tokens) {
				asked[at] = append(asked[at], place{i, j})
				from = min(from, at)
			}
		}
	}
	s.chunks = append(s.chunks, infer.Chunk{Tokens: tokens, After: after, From: from})
	s.asked = append(s.asked, asked)
	return len(s.chunks)
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
