// Package sampling chooses the next token from a model's logits, as the
// generate method of Hugging Face's transformers does: the repetition penalty
// comes first, then temperature, top-k, top-p and min-p, each on what the ones
// before have left. (llama.cpp applies the temperature last, so the same numbers
// mean something else there.)
//
//	s, err := sampling.New(sampling.Options{Temperature: 0.7, TopK: 50, TopP: 0.95, Seed: 1})
//	if err != nil {
//		return err
//	}
//	next, err := s.Next(logits, ids)
//
// The same seed gives the same tokens on every machine that computes the same
// logits, but not those of torch, whose generator is its own.
package sampling

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Options say how tokens are drawn. The zero value takes the most likely one.
type Options struct {
	// Temperature divides the logits; 0 takes the most likely token, the first
	// of several, and looks at nothing but RepetitionPenalty besides.
	Temperature float64
	// TopK keeps the tokens that are as likely as the one at rank TopK or more,
	// which may be more than TopK; 0 keeps all.
	TopK int
	// TopP keeps the fewest most likely tokens whose probabilities add up to TopP
	// or more; 0 and 1 keep all. Of equals, the one with the higher id stays.
	TopP float64
	// MinP keeps the tokens with at least this part of the probability of the most
	// likely one; 0 keeps all.
	MinP float64
	// RepetitionPenalty divides the positive and multiplies the negative logits
	// of tokens that are in the text already (arXiv 1909.05858); 0 and 1 do
	// nothing.
	RepetitionPenalty float64
	Seed              uint64
}

// Sampler draws tokens. It is not safe for concurrent use.
type Sampler struct {
	opts       Options
	rng        *rand.Rand
	candidates []candidate
}

type candidate struct {
	id    int32
	logit float64
}

// New returns an error if an option is out of its range.
func New(opts Options) (*Sampler, error) {
	for _, o := range []struct {
		name      string
		value     float64
		low, high float64
	}{
		{"temperature", opts.Temperature, 0, math.MaxFloat64},
		{"top-k", float64(opts.TopK), 0, math.MaxInt32},
		{"top-p", opts.TopP, 0, 1},
		{"min-p", opts.MinP, 0, 1},
		{"repetition penalty", opts.RepetitionPenalty, 0, math.MaxFloat64},
	} {
		if !(o.value >= o.low && o.value <= o.high) {
			return nil, fmt.Errorf("the %s is %v, not within %v and %v", o.name, o.value, o.low, o.high)
		}
	}
	return &Sampler{opts: opts, rng: rand.New(rand.NewPCG(opts.Seed, 0))}, nil
}

// Next returns the token that follows text, given its logits, one for each token
// of the vocabulary. NaN or infinite logits are an error, as a broken model has
// them.
func (s *Sampler) Next(logits []float32, text []int32) (int32, error) {
	best := 0
	for id, v := range logits {
		if v-v != 0 {
			return 0, fmt.Errorf("the logit of token %d is %v", id, v)
		}
		if v > logits[best] {
			best = id
		}
	}
	if s.opts.Temperature == 0 && !s.penalizes() {
		return int32(best), nil
	}
	s.candidates = s.candidates[:0]
	for id, v := range logits {
		s.candidates = append(s.candidates, candidate{int32(id), float64(v)})
	}
	s.penalize(text)
	if s.opts.Temperature == 0 {
		return slices.MaxFunc(s.candidates, func(a, b candidate) int { return cmp.Compare(a.logit, b.logit) }).id, nil
	}
	for i := range s.candidates {
		s.candidates[i].logit /= s.opts.Temperature
	}
	s.topK()
	s.topP()
	s.minP()
	return s.draw(), nil
}

func (s *Sampler) penalizes() bool {
	return s.opts.RepetitionPenalty != 0 && s.opts.RepetitionPenalty != 1
}

func (s *Sampler) penalize(text []int32) {
	if !s.penalizes() {
		return
	}
	penalty := s.opts.RepetitionPenalty
	seen := make(map[int32]bool, len(text))
	for _, id := range text {
		if seen[id] {
			continue
		}
		seen[id] = true
		if c := &s.candidates[id]; c.logit < 0 {
			c.logit *= penalty
		} else {
			c.logit /= penalty
		}
	}
}

// smallest is a heap with the smallest number first.
type smallest []float64

func (h smallest) Len() int           { return len(h) }
func (h smallest) Less(i, j int) bool { return h[i] < h[j] }
func (h smallest) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *smallest) Push(x any)        { *h = append(*h, x.(float64)) }
func (h *smallest) Pop() any          { panic("not used") }

func (s *Sampler) topK() {
	k := s.opts.TopK
	if k == 0 || k >= len(s.candidates) {
		return
	}
	largest := make(smallest, 0, k)
	for _, c := range s.candidates {
		switch {
		case len(largest) < k:
			heap.Push(&largest, c.logit)
		case c.logit > largest[0]:
			largest[0] = c.logit
			heap.Fix(&largest, 0)
		}
	}
	s.candidates = slices.DeleteFunc(s.candidates, func(c candidate) bool { return c.logit < largest[0] })
}

func (s *Sampler) topP() {
	if s.opts.TopP == 0 || s.opts.TopP == 1 {
		return
	}
	slices.SortStableFunc(s.candidates, func(a, b candidate) int { return cmp.Compare(a.logit, b.logit) })
	total, highest := s.mass()
	drop, sum := 0, 0.0
	for drop < len(s.candidates)-1 {
		if sum += math.Exp(s.candidates[drop].logit-highest) / total; sum > 1-s.opts.TopP {
			break
		}
		drop++
	}
	s.candidates = slices.Delete(s.candidates, 0, drop)
}

func (s *Sampler) minP() {
	if s.opts.MinP == 0 {
		return
	}
	_, highest := s.mass()
	least := highest + math.Log(s.opts.MinP)
	s.candidates = slices.DeleteFunc(s.candidates, func(c candidate) bool { return c.logit < least })
}

// mass returns the highest logit, and the sum of the probabilities as multiples
// of that of its token.
func (s *Sampler) mass() (total, highest float64) {
	highest = math.Inf(-1)
	for _, c := range s.candidates {
		highest = max(highest, c.logit)
	}
	for _, c := range s.candidates {
		total += math.Exp(c.logit - highest)
	}
	return total, highest
}

func (s *Sampler) draw() int32 {
	total, highest := s.mass()
	left := s.rng.Float64() * total
	for _, c := range s.candidates {
		if left -= math.Exp(c.logit - highest); left < 0 {
			return c.id
		}
	}
	return s.candidates[len(s.candidates)-1].id // rounding
}
