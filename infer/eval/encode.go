package eval

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/infer/score"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// encoder makes tokens of requests by the rules of a profile.
type encoder struct {
	profile   *Profile
	vocab     *tokenizer.Tokenizer
	bos       bool
	told      *bool // whether there is a BOS token, if that was said
	maxLength int   // tokens of the longest text that the model sees
	maxTokens int   // that are generated
}

// encoded is a request in tokens.
type encoded struct {
	requests     []score.Request // parts of it, whose likelihoods are multiplied
	prompt       []int32         // to continue
	context      int             // tokens, before anything is cut
	continuation int
	fed          int // of what is seen
	lost         int // tokens of the answer, as the profile has it
	most         int // of them
}

// tokens returns those of a text, with a BOS token unless it begins with one.
func (e *encoder) tokens(text string) []int32 {
	ids := e.vocab.Encode(text, tokenizer.Options{ParseSpecial: true})
	if e.bos && !e.vocab.BeginsWithBOS(text) {
		ids = append([]int32{e.vocab.BOS()}, ids...)
	}
	return ids
}

// prefix returns the token that stands for an empty context.
func (e *encoder) prefix() (int32, error) {
	prefix := e.vocab.EOS()
	if !e.profile.old && e.vocab.BOS() >= 0 {
		prefix = e.vocab.BOS()
	}
	if prefix < 0 {
		return 0, errors.New("the vocabulary has no token for the beginning of a text, nor for its end")
	}
	return prefix, nil
}

// document encodes what is asked about a document.
func (e *encoder) document(d *document) ([]*encoded, error) {
	if d.task.encode != nil {
		return d.task.encode(e, d.requests)
	}
	all := make([]*encoded, len(d.requests))
	for i, request := range d.requests {
		var err error
		if all[i], err = e.encode(request, d.example.generate); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (e *encoder) encode(r request, g *generation) (*encoded, error) {
	switch r.kind {
	case pair:
		return e.pair(r)
	case generated:
		return e.generation(r, g)
	default:
		return e.rolling(r)
	}
}

// pair encodes a context and its continuation: together, and then cut where the context alone would end.
func (e *encoder) pair(r request) (*encoded, error) {
	context := strings.TrimRightFunc(r.context, isSpace)
	continuation := r.context[len(context):] + r.continuation
	var all []int32
	n := 1
	if context == "" {
		prefix, err := e.prefix()
		if err != nil {
			return nil, err
		}
		all = append([]int32{prefix}, e.vocab.Encode(continuation, tokenizer.Options{ParseSpecial: true})...)
	} else {
		all = e.tokens(context + continuation)
		n = len(e.tokens(context))
	}
	if n >= len(all) {
		return nil, fmt.Errorf("the continuation %q is no token of its own", r.continuation)
	}
	result := &encoded{context: n, continuation: len(all) - n}
	if over := len(all) - (e.maxLength + 1); over > 0 {
		all, n = all[over:], n-over
	}
	if n < 1 {
		return nil, fmt.Errorf("a continuation of %d tokens does not fit into a context of %d", result.continuation, e.maxLength)
	}
	result.fed = len(all) - 1
	result.requests = []score.Request{{Context: all[:n], Continuation: all[n:]}}
	return result, nil
}

// rolling cuts a text into windows, in which each token is predicted once.
func (e *encoder) rolling(r request) (*encoded, error) {
	prefix, err := e.prefix()
	if err != nil {
		return nil, err
	}
	ids := e.tokens(r.context)
	if len(ids) == 0 {
		return nil, errors.New("the text is empty")
	}
	all := append([]int32{prefix}, ids...)
	result := &encoded{continuation: len(ids)}
	for at := 0; at < len(ids); {
		n := min(e.maxLength, len(ids)-at)
		context := all[max(0, at+n-e.maxLength) : at+1]
		result.requests = append(result.requests, score.Request{Context: context, Continuation: ids[at:][:n]})
		at += n
	}
	return result, nil
}

// mostTokens is how many are generated where nothing says otherwise.
const mostTokens = 256

// generation encodes a prompt to continue.
func (e *encoder) generation(r request, g *generation) (*encoded, error) {
	most := e.maxTokens
	if most == 0 {
		most = mostTokens
	}
	room := e.maxLength - most
	switch {
	case g.most > 0 && (e.profile.old || e.maxTokens > 0):
		most = min(most, g.most)
	case g.most > 0: // what the task says counts
		most, room = g.most, e.maxLength-g.most
	}
	if room < 1 {
		return nil, fmt.Errorf("a context of %d tokens has no room for a prompt and %d more", e.maxLength, e.maxLength-room)
	}
	ids := e.tokens(r.context)
	if len(ids) == 0 {
		return nil, errors.New("the prompt is empty")
	}
	result := &encoded{context: len(ids), most: most}
	if over := len(ids) - room; over > 0 {
		ids = ids[over:]
		if e.profile.cutsAnswers {
			result.lost = over
		}
	}
	result.prompt, result.fed = slices.Clip(ids), len(ids)
	return result, nil
}
