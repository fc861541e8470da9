package score

import (
	"context"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/sampling"
)

// Prompt is a text to continue with its likeliest tokens.
type Prompt struct {
	Tokens []int32
	Most   int                       // new tokens
	Ended  func(tokens []int32) bool // whether these are enough, the last of them among them
}

// Continuations calls done with the new tokens of each prompt, one after the other.
func Continuations(ctx context.Context, model *infer.Model, prompts []Prompt, done func(prompt int, tokens []int32) error) error {
	room := 0
	for _, p := range prompts {
		room = max(room, len(p.Tokens)+p.Most)
	}
	if room == 0 {
		return nil
	}
	session, err := model.NewSession(room, gguf.F32)
	if err != nil {
		return err
	}
	greedy, err := sampling.New(sampling.Options{})
	if err != nil {
		return err
	}
	for i, p := range prompts {
		logits, err := session.Start(ctx, p.Tokens)
		if err != nil {
			return err
		}
		var tokens []int32
		for len(tokens) < p.Most {
			token, err := greedy.Next(logits, nil)
			if err != nil {
				return err
			}
			tokens = append(tokens, token)
			if p.Ended(tokens) || len(tokens) == p.Most {
				break
			}
			if logits, err = session.Add(ctx, token); err != nil {
				return err
			}
		}
		if err := done(i, tokens); err != nil {
			return err
		}
	}
	return nil
}
