package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/chat"
	"github.com/ggufkit/ggufkit/infer/sampling"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

type generateFlags struct {
	prompt, system *string // nil if not given
	chat           bool
	most           int // new tokens
	sampling       sampling.Options
	seed           int
	stops          []string
	ctx            int
	cache          gguf.Type
	compute        infer.Compute
}

func generateCommand() *cli.Command {
	f := generateFlags{cache: gguf.F16}
	return &cli.Command{
		Name:      "generate",
		Usage:     "continue a text, or answer in a conversation",
		ArgsUsage: "MODEL",
		Description: "With --chat the model's chat template is used: for the one message of --prompt, or else for a\n" +
			"conversation that is read from standard input, one message per line. Sampling is that of Hugging\n" +
			"Face's transformers: repetition penalty, temperature, top-k, top-p, min-p, in this order.",
		Flags: []cli.Flag{
			optionalFlag("prompt", "`TEXT` to continue", &f.prompt, "p"),
			&cli.BoolFlag{Name: "chat", Usage: "hold a conversation", Destination: &f.chat},
			optionalFlag("system", "with --chat, what the model is told first, `TEXT`", &f.system),
			&cli.IntFlag{Name: "max-new-tokens", Aliases: []string{"n"}, Value: 256, Usage: "generate at most `N` tokens", Destination: &f.most},
			&cli.Float64Flag{Name: "temp", Value: 0.7, Usage: "temperature, `T`; 0 takes the most likely token", Destination: &f.sampling.Temperature},
			&cli.IntFlag{Name: "top-k", Value: 50, Usage: "draw from the `K` most likely tokens; 0 is all", Destination: &f.sampling.TopK},
			&cli.Float64Flag{Name: "top-p", Value: 0.95, Usage: "draw from the tokens that make up this part `P` of the probability", Destination: &f.sampling.TopP},
			&cli.Float64Flag{Name: "min-p", Usage: "draw from tokens with at least this part `P` of the highest probability", Destination: &f.sampling.MinP},
			&cli.Float64Flag{Name: "repetition-penalty", Value: 1, Usage: "make tokens of the text less likely by a factor `R`", Destination: &f.sampling.RepetitionPenalty},
			seedFlag(&f.seed),
			repeatedFlag("stop", "end before `TEXT` is generated; may be repeated", &f.stops, one(itself)),
			ctxFlag(&f.ctx, 4096, "room for `N` tokens, or as many as the model can take"),
			parsedFlag("cache-type", "F16", "`TYPE` of remembered keys and values: F32, F16 or Q8_0", &f.cache, gguf.ParseType),
			computeFlag(&f.compute),
		},
		Action: action(func(c *call) error { return generate(c, f) }),
	}
}

type generateReport struct {
	PromptTokens          int     `json:"prompt_tokens"`
	NewTokens             int     `json:"new_tokens"`
	Text                  string  `json:"text"`
	Stopped               string  `json:"stopped"` // by what
	PromptTokensPerSecond float64 `json:"prompt_tokens_per_second"`
	TokensPerSecond       float64 `json:"tokens_per_second"`
}

// generator is what one or more answers need.
type generator struct {
	vocab   *tokenizer.Tokenizer
	session *infer.Session
	sampler *sampling.Sampler
	stops   []string
	end     map[int32]bool // tokens that end a text
	most    int            // new tokens
}

func generate(c *call, f generateFlags) error {
	args, err := c.arguments("MODEL")
	if err != nil {
		return err
	}
	if f.prompt == nil && !f.chat {
		return c.usagef("--prompt or --chat is needed")
	}
	if c.json && f.prompt == nil {
		return c.usagef("--json needs --prompt")
	}
	if f.most < 1 {
		return c.usagef("--max-new-tokens is %d", f.most)
	}
	c.seed, f.sampling.Seed = f.seed, uint64(f.seed)
	g := &generator{stops: f.stops, most: f.most}
	if g.sampler, err = sampling.New(f.sampling); err != nil {
		return c.asUsage(err)
	}
	model, err := openModel(c, args[0])
	if err != nil {
		return err
	}
	defer model.Close()
	if g.vocab, err = vocabularyOf(model); err != nil {
		return err
	}
	g.end = map[int32]bool{g.vocab.EOS(): true}
	engine, err := engineOf(model, infer.Options{Threads: c.threads, Compute: f.compute})
	if err != nil {
		return err
	}
	if g.session, err = engine.NewSession(min(f.ctx, infer.ContextLength(model.Metadata())), f.cache); err != nil {
		return about(model, err)
	}
	if !f.chat {
		return about(model, g.respond(c, g.encode(*f.prompt)))
	}
	template, err := chat.New(model.Metadata())
	if err != nil {
		return about(model, err)
	}
	endOfTurn, err := template.EndOfTurn(c.ctx)
	if err != nil {
		return about(model, err)
	}
	end := g.vocab.Encode(endOfTurn, tokenizer.Options{ParseSpecial: true})
	if len(end) > 0 && g.vocab.AppendBytes(nil, end[0]) == nil { // a special token
		g.end[end[0]] = true
	}
	return about(model, g.converse(c, f, template))
}

// encode returns the tokens of a text to continue, in which special tokens may be
// spelled out.
func (g *generator) encode(text string) []int32 {
	return g.vocab.Encode(text, tokenizer.Options{ParseSpecial: true, AddSpecial: !g.vocab.AddsBOS() || !g.beginsWithBOS(text)})
}

// encodeChat returns the tokens of what a template wrote: these and no others,
// but for the BOS token if the model wants one and the template leaves it out.
func (g *generator) encodeChat(text string) []int32 {
	ids := g.vocab.Encode(text, tokenizer.Options{ParseSpecial: true})
	if g.vocab.AddsBOS() && !g.beginsWithBOS(text) {
		ids = append([]int32{g.vocab.BOS()}, ids...)
	}
	return ids
}

// beginsWithBOS reports whether a text spells the BOS token out: a second one
// would spoil the answer.
func (g *generator) beginsWithBOS(text string) bool {
	return strings.HasPrefix(text, g.vocab.Piece(g.vocab.BOS()))
}

// respond continues one text.
func (g *generator) respond(c *call, text []int32) error {
	out := c.stdout
	if c.json {
		out = io.Discard
	}
	report, err := g.run(c.ctx, text, out)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(c, report)
	}
	fmt.Fprintln(out)
	return nil
}

// converse answers the prompt, or every line of standard input.
func (g *generator) converse(c *call, f generateFlags, template *chat.Template) error {
	var messages []chat.Message
	if f.system != nil {
		messages = append(messages, chat.Message{Role: "system", Content: *f.system})
	}
	if f.prompt != nil {
		text, err := template.Render(c.ctx, append(messages, chat.Message{Role: "user", Content: *f.prompt}))
		if err != nil {
			return err
		}
		return g.respond(c, g.encodeChat(text))
	}
	lines := readLines(c.ctx, c.stdin)
	stdin, ok := c.stdin.(*os.File)
	prompted := ok && term.IsTerminal(int(stdin.Fd()))
	for {
		if prompted {
			fmt.Fprint(c.stderr, "> ")
		}
		line, err := lines.next(c.ctx)
		if err != nil && prompted {
			fmt.Fprintln(c.stderr) // what comes next does not stand behind the prompt
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		messages = append(messages, chat.Message{Role: "user", Content: line})
		text, err := template.Render(c.ctx, messages)
		if err != nil {
			return err
		}
		report, err := g.run(c.ctx, g.encodeChat(text), c.stdout)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.stdout)
		messages = append(messages, chat.Message{Role: "assistant", Content: strings.TrimSpace(report.Text)})
	}
}

// lineReader reads lines in the background: to wait for one can be interrupted.
type lineReader struct {
	lines chan string
	err   error // why there are no more, once lines is closed
}

func readLines(ctx context.Context, r io.Reader) *lineReader {
	l := &lineReader{lines: make(chan string), err: io.EOF}
	go func() {
		defer close(l.lines)
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			select {
			case l.lines <- lines.Text():
			case <-ctx.Done():
				return
			}
		}
		if err := lines.Err(); err != nil {
			l.err = fmt.Errorf("standard input: %w", err)
		}
	}()
	return l
}

// next returns io.EOF after the last line.
func (l *lineReader) next(ctx context.Context) (string, error) {
	select {
	case line, ok := <-l.lines:
		if !ok {
			return "", l.err
		}
		return line, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// run generates what follows a text and writes it to out as it comes.
func (g *generator) run(ctx context.Context, text []int32, out io.Writer) (generateReport, error) {
	report := generateReport{PromptTokens: len(text), Stopped: "max-new-tokens"}
	start := time.Now()
	logits, err := g.session.Start(ctx, text)
	if err != nil {
		return report, err
	}
	report.PromptTokensPerSecond = float64(len(text)) / time.Since(start).Seconds()

	start = time.Now()
	writer := &stopWriter{w: out, stops: g.stops}
	for report.NewTokens < g.most {
		token, err := g.sampler.Next(logits, text)
		if err != nil {
			return report, err
		}
		if g.end[token] {
			report.Stopped = "end of text"
			break
		}
		report.NewTokens++
		text = append(text, token)
		if stopped, err := writer.write(g.vocab.AppendBytes(nil, token)); err != nil {
			return report, err
		} else if stopped {
			report.Stopped = "stop"
			break
		}
		if report.NewTokens == g.most {
			break
		}
		if logits, err = g.session.Add(ctx, token); errors.Is(err, infer.ErrContextFull) {
			report.Stopped = "context"
			break
		} else if err != nil {
			return report, err
		}
	}
	report.TokensPerSecond = float64(report.NewTokens) / time.Since(start).Seconds()
	if err := writer.flush(); err != nil {
		return report, err
	}
	report.Text = string(writer.text)
	return report, nil
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
