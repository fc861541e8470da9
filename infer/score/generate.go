package score

import (
	"context"
	"slices"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/sampling"
)

// Prompt is a text to continue.
type Prompt struct {
	Tokens   []int32
	Most     int                       // new tokens
	Ended    func(tokens []int32) bool // whether these new ones are enough, the last of them among them
	Sampling sampling.Options          // the zero value takes the likeliest tokens
}

const (
	// sideBySide is how many texts grow together at most. With more, a step of one is hardly cheaper: what they share, reading and
	// unpacking weights, is little by then beside what each needs.
	sideBySide = 32
	// waves is how often at least places must have become free until prompts take them together, which costs less than one
	// after the other.
	waves = 4
)

// Continuations calls done with the new tokens of each prompt, as soon as it is continued, for one at a time. They grow side by side,
// as many as fit into the model's memory, and what comes of one does not depend on the others; what prompts that begin together have in
// common is computed once. An error of done ends it.
func Continuations(ctx context.Context, model *infer.Model, prompts []Prompt, done func(prompt int, tokens []int32) error) error {
	length := func(i int) int { return len(prompts[i].Tokens) + prompts[i].Most }
	return byLength(model, len(prompts), length, func(of []int) error {
		g := generator{prompts: prompts, done: done, waiting: of}
		room := 0
		for _, i := range of {
			room = max(room, length(i))
		}
		return g.run(ctx, model, room)
	})
}

// generator continues prompts.
type generator struct {
	prompts []Prompt
	done    func(prompt int, tokens []int32) error
	waiting []int // numbers of prompts
	free    infer.Sessions
	growing []*continuation
}

// continuation is a text that grows.
type continuation struct {
	prompt  int
	session *infer.Session
	sampler *sampling.Sampler
	text    []int32
}

// run continues all, in contexts of so many tokens.
func (g *generator) run(ctx context.Context, model *infer.Model, room int) (err error) {
	slices.SortStableFunc(g.waiting, func(a, b int) int { return slices.Compare(g.prompts[a].Tokens, g.prompts[b].Tokens) })
	places := min(sideBySide, len(g.waiting), model.SessionsThatFit(room, gguf.F32))
	if g.free, err = model.NewSessions(places, room, gguf.F32); err != nil {
		return err
	}
	for len(g.waiting)+len(g.growing) > 0 {
		if len(g.growing) == 0 || len(g.free)*waves >= places {
			if err := g.begin(ctx); err != nil {
				return err
			}
		}
		if err := g.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// begin starts as many of the prompts that wait as there is room for.
func (g *generator) begin(ctx context.Context) error {
	n := min(len(g.free), len(g.waiting))
	if n == 0 {
		return nil
	}
	var texts [][]int32
	for i, prompt := range g.waiting[:n] {
		p := g.prompts[prompt]
		sampler, err := sampling.New(p.Sampling)
		if err != nil {
			return err
		}
		texts = append(texts, p.Tokens)
		g.growing = append(g.growing, &continuation{prompt, g.free[i], sampler, slices.Clone(p.Tokens)})
	}
	err := g.free[:n].Start(ctx, texts)
	g.free, g.waiting = g.free[n:], g.waiting[n:]
	return err
}

// step adds a token to each text.
func (g *generator) step(ctx context.Context) error {
	var sessions infer.Sessions
	var tokens []int32
	left := g.growing[:0]
	for _, c := range g.growing {
		token, ended, err := g.next(c)
		if err != nil {
			return err
		}
		if ended {
			g.free = append(g.free, c.session)
			continue
		}
		left, sessions, tokens = append(left, c), append(sessions, c.session), append(tokens, token)
	}
	if g.growing = left; len(left) == 0 {
		return nil
	}
	return sessions.Add(ctx, tokens)
}

// next draws a token, unless there are enough.
func (g *generator) next(c *continuation) (token int32, ended bool, err error) {
	p := g.prompts[c.prompt]
	if p.Most > 0 {
		if token, err = c.sampler.Next(c.session.Logits(), c.text); err != nil {
			return 0, false, err
		}
		c.text = append(c.text, token)
	}
	fresh := c.text[len(p.Tokens):]
	if len(fresh) < p.Most && !p.Ended(fresh) {
		return token, false, nil
	}
	return 0, true, g.done(c.prompt, fresh)
}
