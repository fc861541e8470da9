// Package chat writes conversations the way a model was trained to read them,
// with the Jinja template that its metadata carries.
//
//	t, err := chat.New(model.Metadata())
//	if err != nil {
//		return err
//	}
//	text, err := t.Render(ctx, []chat.Message{{Role: "user", Content: "Hello!"}})
//
// The text has the special tokens spelled out, the first often among them: encode
// it with ParseSpecial, and without AddSpecial if it begins with them. It is the
// text of transformers' apply_chat_template without documents. A [Conversation] of a data set may have tools and thinking.
// Templates are programs that came with the model: package jinja gives them a
// budget.
package chat

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/chat/jinja"
)

// ErrNoTemplate means that the model does not say how it is talked to.
var ErrNoTemplate = errors.New("the model has no chat template")

// Message is one turn of a conversation.
type Message struct {
	Role    string // system, user or assistant
	Content string
}

// Template is the chat template of a model. It is safe for concurrent use.
type Template struct {
	template *jinja.Template
	tokens   map[string]string // bos_token and so on
}

// New reads tokenizer.chat_template. The error wraps ErrNoTemplate if there is
// none.
func New(meta *gguf.Metadata) (*Template, error) {
	const key = "tokenizer.chat_template"
	source, err := gguf.Value[string](meta, key)
	if errors.Is(err, gguf.ErrNoKey) {
		return nil, fmt.Errorf("%w (%w)", ErrNoTemplate, err)
	}
	if err != nil {
		return nil, err
	}
	t := &Template{tokens: make(map[string]string)}
	if t.template, err = jinja.Parse(source); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", gguf.ErrCorrupt, key, err)
	}
	pieces, err := gguf.Value[[]string](meta, "tokenizer.ggml.tokens")
	if err != nil {
		return nil, err
	}
	for name, key := range map[string]string{
		"bos_token": "tokenizer.ggml.bos_token_id", "eos_token": "tokenizer.ggml.eos_token_id",
		"unk_token": "tokenizer.ggml.unknown_token_id", "pad_token": "tokenizer.ggml.padding_token_id",
		"sep_token": "tokenizer.ggml.seperator_token_id", "cls_token": "tokenizer.ggml.cls_token_id",
		"mask_token": "tokenizer.ggml.mask_token_id",
	} {
		id, err := meta.Uint(key)
		switch {
		case errors.Is(err, gguf.ErrNoKey):
		case err != nil:
			return nil, err
		case id >= uint64(len(pieces)):
			return nil, fmt.Errorf("%w: %s is %d, there are %d tokens", gguf.ErrCorrupt, key, id, len(pieces))
		default:
			t.tokens[name] = pieces[id]
		}
	}
	return t, nil
}

// Render returns the conversation up to where the model's answer begins. The
// error is the one that the template raises, wraps [jinja.ErrLimit] if it takes
// too much, or is the context's.
func (t *Template) Render(ctx context.Context, messages []Message) (string, error) {
	return t.render(ctx, messages, true)
}

// EndOfTurn returns what follows a complete answer of the model, empty if the
// template does not tell. Models say with its first token that they are done.
// The error is the context's.
func (t *Template) EndOfTurn(ctx context.Context) (string, error) {
	const answer = "an answer that no template has"
	text, err := t.render(ctx, []Message{{"user", "a question"}, {"assistant", answer}}, false)
	if err != nil {
		return "", ctx.Err()
	}
	_, end, _ := strings.Cut(text, answer)
	return strings.TrimLeft(end, " \n"), nil
}

func (t *Template) render(ctx context.Context, messages []Message, prompt bool) (string, error) {
	list := make([]jinja.Dict, len(messages))
	for i, m := range messages {
		list[i] = message(m.Role, m.Content)
	}
	return t.write(ctx, list, nil, prompt)
}

func (t *Template) write(ctx context.Context, messages []jinja.Dict, tools []any, prompt bool) (string, error) {
	variables := map[string]any{"messages": messages, "tools": nil, "documents": nil, "add_generation_prompt": prompt}
	if tools != nil {
		variables["tools"] = tools
	}
	for name, token := range t.tokens {
		variables[name] = token
	}
	text, err := t.template.Render(ctx, variables)
	if err != nil {
		return "", fmt.Errorf("chat template: %w", err)
	}
	return text, nil
}
