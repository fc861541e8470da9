package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/chat"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

func finite(f float64) *float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return &f
}

const (
	keyTokens   = "tokenizer.ggml.tokens"
	keyTemplate = "tokenizer.chat_template"
)

// probe is what a vocabulary must give back: words, signs, numbers, several scripts, and what is rare.
const probe = "The quick brown fox, 3.14159 and 42 — naïve café; 东京 привет 🙂\n\tif (x >= 0) { return y[1]; }  two  spaces"

// vocabulary checks what tokens there are, and that a text comes back from them.
func (r *Report) vocabulary(file *gguf.File) {
	meta, path := file.Metadata(), file.Paths()[0]
	if _, ok := meta.Get(keyTokens); !ok {
		r.note("there is no vocabulary")
		return
	}
	r.Checked = append(r.Checked, Tokenizer)
	wrong := func(format string, args ...any) { r.find(Tokenizer, path, "", -1, format, args...) }
	tokens, err := gguf.Value[[]string](meta, keyTokens)
	if err != nil {
		wrong("%v", err)
		return
	}
	ids := make(map[string]int, len(tokens))
	twice, first := 0, ""
	for id, token := range tokens {
		if other, ok := ids[token]; ok {
			if twice++; twice == 1 {
				first = fmt.Sprintf("tokens %d and %d both are %q", other, id, token)
			}
			continue
		}
		ids[token] = id
	}
	if twice > 0 {
		wrong("%d tokens are there more than once: %s", twice, first)
	}
	r.lists(meta, len(tokens), wrong)
	for _, kv := range meta.All() {
		if !strings.HasPrefix(kv.Key, "tokenizer.ggml.") || !strings.HasSuffix(kv.Key, "_token_id") {
			continue
		}
		if id, err := meta.Uint(kv.Key); err != nil {
			wrong("%v", err)
		} else if id >= uint64(len(tokens)) {
			wrong("%s is %d, and there are %d tokens", kv.Key, id, len(tokens))
		}
	}
	r.merges(meta, ids, wrong)
	for i, t := range file.Tensors() {
		if (t.Name == "token_embd.weight" || t.Name == "output.weight") && t.Rows() != int64(len(tokens)) {
			r.find(Tokenizer, pathOf(file, i), t.Name, file.Offset(i), "it has %d rows, and there are %d tokens", t.Rows(), len(tokens))
		}
	}
	r.roundTrip(meta, wrong)
}

// lists checks those that go with the tokens.
func (r *Report) lists(meta *gguf.Metadata, tokens int, wrong func(string, ...any)) {
	const keyScores, keyTypes = "tokenizer.ggml.scores", "tokenizer.ggml.token_type"
	scores, err := gguf.Value[[]float32](meta, keyScores)
	switch {
	case errors.Is(err, gguf.ErrNoKey):
	case err != nil:
		wrong("%v", err)
	case len(scores) != tokens:
		wrong("%s has %d elements for %d tokens", keyScores, len(scores), tokens)
	}
	if i := slices.IndexFunc(scores, func(s float32) bool { return math.IsNaN(float64(s)) || math.IsInf(float64(s), 1) }); i >= 0 {
		wrong("the score of token %d is %v", i, scores[i])
	}
	types, err := gguf.Value[[]int32](meta, keyTypes)
	switch {
	case errors.Is(err, gguf.ErrNoKey):
	case err != nil:
		wrong("%v", err)
	case len(types) != tokens:
		wrong("%s has %d elements for %d tokens", keyTypes, len(types), tokens)
	}
	if i := slices.IndexFunc(types, func(t int32) bool { return t < int32(gguf.TokenNormal) || t > int32(gguf.TokenByte) }); i >= 0 {
		wrong("token %d is of type %d, which there is not", i, types[i])
	}
}

// merges checks that each is of two tokens and makes one.
func (r *Report) merges(meta *gguf.Metadata, ids map[string]int, wrong func(string, ...any)) {
	const key = "tokenizer.ggml.merges"
	merges, err := gguf.Value[[]string](meta, key)
	if err != nil {
		if !errors.Is(err, gguf.ErrNoKey) {
			wrong("%v", err)
		}
		return
	}
	bad, first := 0, ""
	for i, merge := range merges {
		if !isMerge(merge, ids) {
			if bad++; bad == 1 {
				first = fmt.Sprintf("number %d, %q", i, merge)
			}
		}
	}
	if bad > 0 {
		wrong("%d of %d merges are not of two tokens that make one: %s", bad, len(merges), first)
	}
}

// isMerge reports whether a merge, which is two tokens with a space between, is one. Tokens may have spaces.
func isMerge(merge string, ids map[string]int) bool {
	for at := 1; at < len(merge)-1; at++ {
		if merge[at] != ' ' {
			continue
		}
		left, right := merge[:at], merge[at+1:]
		_, a := ids[left]
		_, b := ids[right]
		_, both := ids[left+right]
		if a && b && both {
			return true
		}
	}
	return false
}

// roundTrip makes tokens of a text and a text of them.
func (r *Report) roundTrip(meta *gguf.Metadata, wrong func(string, ...any)) {
	vocab, err := tokenizer.New(meta)
	switch {
	case errors.Is(err, gguf.ErrUnsupported):
		r.note("texts are not tried: %v", err)
		return
	case err != nil:
		wrong("%v", err)
		return
	}
	unknown, err := meta.Uint("tokenizer.ggml.unknown_token_id")
	if err != nil {
		unknown = math.MaxUint32 // none
	}
	through := func(text string) string {
		tokens := vocab.Encode(text, tokenizer.Options{})
		return vocab.Decode(slices.DeleteFunc(tokens, func(id int32) bool { return uint64(id) == unknown }))
	}
	text := through(probe)
	switch model, _ := gguf.Value[string](meta, "tokenizer.ggml.model"); model {
	case "gpt2", "llama":
		if text != probe {
			wrong("a text comes back from its tokens as another: %q became %q", probe, text)
		}
	default: // they lack letters and change others, but not again, and spaces
		letters := func(s string) string { return strings.Join(strings.Fields(s), "") }
		if again := through(text); letters(again) != letters(text) {
			wrong("a text that came back from tokens comes back as another: %q became %q", text, again)
		}
	}
}

// template renders a conversation by each chat template.
func (r *Report) template(ctx context.Context, file *gguf.File) error {
	meta := file.Metadata()
	if _, ok := meta.Get(keyTemplate); !ok {
		r.note("there is no chat template")
		return nil
	}
	r.Checked = append(r.Checked, Template)
	for _, kv := range meta.All() {
		if kv.Key != keyTemplate && !strings.HasPrefix(kv.Key, keyTemplate+".") {
			continue
		}
		one := meta.Clone()
		one.Set(keyTemplate, kv.Value)
		if err := render(ctx, one); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			r.find(Template, file.Paths()[0], "", -1, "%s: %v", kv.Key, err)
		}
	}
	return nil
}

// render returns the error of a template, nil if it takes one of some conversations: not all take a system prompt, and
// some want one.
func render(ctx context.Context, meta *gguf.Metadata) error {
	t, err := chat.New(meta)
	if err != nil {
		return err
	}
	question := chat.Message{Role: "user", Content: "Why is the sky blue?"}
	_, err = t.Render(ctx, []chat.Message{question})
	if err != nil && ctx.Err() == nil {
		if _, with := t.Render(ctx, []chat.Message{{Role: "system", Content: "You are helpful."}, question}); with == nil {
			return nil
		}
	}
	return err
}
