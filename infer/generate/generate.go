// Package generate continues texts, token by token: what a session of a model predicts, drawn by a sampler,
// written as it comes, up to the end of the text or to a stop text.
//
//	g := generate.New(vocab, session, sampler, generate.Options{Most: 256})
//	result, err := g.Run(ctx, g.Text("Once upon a time"), os.Stdout)
//	if err != nil {
//		return err
//	}
//	fmt.Println(result.Stopped)
//
// A Generator may run several texts, one after the other: each replaces that of the session.
package generate

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/sampling"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// Options say where a text ends, but for the tokens that end one.
type Options struct {
	Most  int      // new tokens
	Stops []string // end before one of these is generated
}

// Generator continues texts.
type Generator struct {
	vocab   *tokenizer.Tokenizer
	session *infer.Session
	sampler *sampling.Sampler
	options Options
	end     map[int32]bool // tokens that end a text
}

// Result is what was generated, and how fast.
type Result struct {
	PromptTokens int    `json:"prompt_tokens"`
	NewTokens    int    `json:"new_tokens"`
	Text         string `json:"text"`
	// Stopped says by what: "end of text", "stop", "max-new-tokens" or "context", which is full.
	Stopped string `json:"stopped"`
	// NewTokenCompute is what infer.Session.Compute says: with int8 compute, not as the prompt is computed.
	NewTokenCompute       string  `json:"new_token_compute"`
	PromptTokensPerSecond float64 `json:"prompt_tokens_per_second"`
	TokensPerSecond       float64 `json:"tokens_per_second"`
}

// New returns a Generator for a session of a model with this vocabulary.
func New(vocab *tokenizer.Tokenizer, session *infer.Session, sampler *sampling.Sampler, options Options) *Generator {
	return &Generator{vocab: vocab, session: session, sampler: sampler, options: options, end: map[int32]bool{vocab.EOS(): true}}
}

// EndWith has texts end with what ends a turn, too, if it begins with a special token: see
// chat.Template.EndOfTurn.
func (g *Generator) EndWith(endOfTurn string) {
	end := g.vocab.Encode(endOfTurn, tokenizer.Options{ParseSpecial: true})
	if len(end) > 0 && g.vocab.AppendBytes(nil, end[0]) == nil { // a special token
		g.end[end[0]] = true
	}
}

// Text returns the tokens of a text to continue, in which special tokens may be
// spelled out.
func (g *Generator) Text(text string) []int32 {
	return g.vocab.Encode(text, tokenizer.Options{ParseSpecial: true, AddSpecial: !g.vocab.AddsBOS() || !g.vocab.BeginsWithBOS(text)})
}

// Chat returns the tokens of what a template wrote: these and no others,
// but for the BOS token if the model wants one and the template leaves it out.
func (g *Generator) Chat(text string) []int32 {
	ids := g.vocab.Encode(text, tokenizer.Options{ParseSpecial: true})
	if g.vocab.AddsBOS() && !g.vocab.BeginsWithBOS(text) {
		ids = append([]int32{g.vocab.BOS()}, ids...)
	}
	return ids
}

// Run generates what follows a text and writes it to out as it comes.
func (g *Generator) Run(ctx context.Context, text []int32, out io.Writer) (Result, error) {
	result := Result{PromptTokens: len(text), Stopped: "max-new-tokens", NewTokenCompute: g.session.Compute()}
	start := time.Now()
	logits, err := g.session.Start(ctx, text)
	if err != nil {
		return result, err
	}
	result.PromptTokensPerSecond = float64(len(text)) / time.Since(start).Seconds()

	start = time.Now()
	writer := &stopWriter{w: out, stops: g.options.Stops}
	for result.NewTokens < g.options.Most {
		token, err := g.sampler.Next(logits, text)
		if err != nil {
			return result, err
		}
		if g.end[token] {
			result.Stopped = "end of text"
			break
		}
		result.NewTokens++
		text = append(text, token)
		if stopped, err := writer.write(g.vocab.AppendBytes(nil, token)); err != nil {
			return result, err
		} else if stopped {
			result.Stopped = "stop"
			break
		}
		if result.NewTokens == g.options.Most {
			break
		}
		if logits, err = g.session.Add(ctx, token); errors.Is(err, infer.ErrContextFull) {
			result.Stopped = "context"
			break
		} else if err != nil {
			return result, err
		}
	}
	result.TokensPerSecond = float64(result.NewTokens) / time.Since(start).Seconds()
	if err := writer.flush(); err != nil {
		return result, err
	}
	result.Text = string(writer.text)
	return result, nil
}

// stopWriter passes text on as it comes, up to the stop text that comes first. It
// holds back what may become one, and characters that are not whole.
type stopWriter struct {
	w       io.Writer
	stops   []string
	text    []byte
	written int
}

func (s *stopWriter) write(piece []byte) (stopped bool, err error) {
	s.text = append(s.text, piece...)
	pending := string(s.text[s.written:])
	first := -1
	for _, stop := range s.stops {
		if at := strings.Index(pending, stop); at >= 0 && (first < 0 || at < first) {
			first = at
		}
	}
	if first >= 0 {
		s.text = s.text[:s.written+first]
		return true, nil
	}
	ready := len(pending)
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(pending)); n > 0; n-- {
			if strings.HasSuffix(pending, stop[:n]) {
				ready = min(ready, len(pending)-n)
				break
			}
		}
	}
	for back := 1; back < utf8.UTFMax && back <= ready; back++ {
		if rest := pending[ready-back : ready]; utf8.RuneStart(rest[0]) {
			if !utf8.FullRuneInString(rest) {
				ready -= back
			}
			break
		}
	}
	_, err = io.WriteString(s.w, pending[:ready])
	s.written += ready
	return false, err
}

// flush writes what was held back.
func (s *stopWriter) flush() error {
	_, err := s.w.Write(s.text[s.written:])
	s.written = len(s.text)
	return err
}
