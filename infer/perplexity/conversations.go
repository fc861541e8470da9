package perplexity

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/chat"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// DefaultConversation is how many tokens of a conversation are run if nothing else is said.
const DefaultConversation = 4096

// Conversations makes windows of conversations, one of each, as a model was trained to read them.
type Conversations struct {
	Template *chat.Template
	Vocab    *tokenizer.Tokenizer
	// All scores all tokens but the first; else those of the assistant, with what ends its turns.
	All  bool
	Most int // tokens of a window, DefaultConversation if 0
	// Cut counts the conversations that had more tokens, Unscored those of which none is left to score.
	Cut, Unscored int
}

// Window returns the window of a conversation. It has none to score in Scored if there are none: then it is counted, and to be left out. The error
// wraps chat.ErrHidden if the template does not show what is the assistant's.
func (c *Conversations) Window(ctx context.Context, conversation chat.Conversation) (Window, error) {
	text, err := c.Template.Conversation(ctx, conversation)
	if err != nil {
		return Window{}, err
	}
	var w Window
	begins := c.Vocab.AddsBOS() && !c.Vocab.BeginsWithBOS(text)
	if begins {
		w.Tokens = append(w.Tokens, c.Vocab.BOS())
	}
	w.Tokens = append(w.Tokens, c.Vocab.Encode(text, tokenizer.Options{ParseSpecial: true})...)
	most := c.Most
	if most == 0 {
		most = DefaultConversation
	}
	scored := func(int) bool { return true }
	if !c.All {
		spans, err := c.Template.Assistant(ctx, conversation, text)
		if err != nil {
			return Window{}, err
		}
		if scored, err = c.within(spans, text, w.Tokens, begins); err != nil {
			return Window{}, err
		}
	}
	if len(w.Tokens) > most {
		w.Tokens = w.Tokens[:most]
		c.Cut++
	}
	for pos := range len(w.Tokens) - 1 {
		if scored(pos + 1) {
			w.Scored = append(w.Scored, pos)
		}
	}
	if len(w.Scored) == 0 {
		c.Unscored++
	}
	return w, nil
}

var errOtherText = errors.New("the tokens are not those of the text, so that the assistant's cannot be told")

// within returns a function that tells whether a token has something of one of the spans of a text. The first token may not be of the text.
func (c *Conversations) within(spans []chat.Span, text string, tokens []int32, begins bool) (func(token int) bool, error) {
	of := make([]bool, len(tokens))
	at, next := 0, 0
	for i, id := range tokens {
		if i == 0 && begins {
			continue
		}
		piece := string(c.Vocab.AppendBytes(nil, id))
		if piece == "" {
			piece = c.Vocab.Piece(id) // a special token
		}
		if !strings.HasPrefix(text[at:], piece) {
			piece = strings.TrimPrefix(piece, " ") // which the vocabulary puts in front
		}
		if !strings.HasPrefix(text[at:], piece) {
			return nil, fmt.Errorf("%w: %w: token %d, %q, stands for %.20q", gguf.ErrUnsupported, errOtherText, i, piece, text[at:])
		}
		end := at + len(piece)
		for next < len(spans) && spans[next].End <= at {
			next++
		}
		of[i] = next < len(spans) && at < spans[next].End && spans[next].Start < end
		at = end
	}
	return func(token int) bool { return of[token] }, nil
}
