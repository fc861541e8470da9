package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/chat"
	"github.com/ggufkit/ggufkit/infer/generate"
	"github.com/ggufkit/ggufkit/infer/sampling"
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
			"Face's transformers: repetition penalty, temperature, top-k, top-p, min-p, in this order.\n\n" +
			"With int8 compute a new token is multiplied with the blocks of the weights as they are stored, where the\n" +
			"CPU can, else in float32; a prompt is computed as perplexity does.",
		Flags: []cli.Flag{
			optionalFlag("prompt", "`TEXT` to continue", &f.prompt, "p"),
			&cli.BoolFlag{Name: "chat", Usage: "hold a conversation", Destination: &f.chat},
			optionalFlag("system", "with --chat, what the model is told first, `TEXT`", &f.system),
			&cli.IntFlag{Name: "max-new-tokens", Aliases: []string{"n"}, Value: 256, Usage: "generate at most `N` tokens", Destination: &f.most},
			&cli.Float64Flag{Name: "temp", Value: 0.7, Usage: "temperature, `T`; 0 takes the most likely token", Destination: &f.sampling.Temperature},
			&cli.IntFlag{Name: "top-k", Value: 50, Usage: "draw from the `K` most likely tokens; 0 is all", Destination: &f.sampling.TopK},
			&cli.Float64Flag{Name: "top-p", Value: 0.95, Usage: "draw from the tokens that make up this part `P` of the probability",
				Destination: &f.sampling.TopP},
			&cli.Float64Flag{Name: "min-p", Usage: "draw from tokens with at least this part `P` of the highest probability", Destination: &f.sampling.MinP},
			&cli.Float64Flag{Name: "repetition-penalty", Value: 1, Usage: "make tokens of the text less likely by a factor `R`",
				Destination: &f.sampling.RepetitionPenalty},
			seedFlag(&f.seed),
			repeatedFlag("stop", "end before `TEXT` is generated; may be repeated", &f.stops, one(itself)),
			ctxFlag(&f.ctx, 4096, "room for `N` tokens, or as many as the model can take"),
			parsedFlag("cache-type", "F16", "`TYPE` of remembered keys and values: F32, F16 or Q8_0", &f.cache, gguf.ParseType),
			computeFlag(&f.compute),
		},
		Action: action(func(c *call) error { return generateText(c, f) }),
	}
}

func generateText(c *call, f generateFlags) error {
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
	sampler, err := sampling.New(f.sampling)
	if err != nil {
		return c.asUsage(err)
	}
	model, err := openModel(c, args[0])
	if err != nil {
		return err
	}
	defer model.Close()
	noteElsewhere(c, model)
	if err := notePacked(c, model); err != nil {
		return err
	}
	vocab, err := vocabularyOf(model)
	if err != nil {
		return err
	}
	engine, err := engineOf(model, infer.Options{Threads: c.threads, Compute: f.compute})
	if err != nil {
		return err
	}
	session, err := engine.NewSession(min(f.ctx, infer.ContextLength(model.Metadata())), f.cache)
	if err != nil {
		return about(model, err)
	}
	g := generate.New(vocab, session, sampler, generate.Options{Most: f.most, Stops: f.stops})
	if !f.chat {
		return about(model, respond(c, g, g.Text(*f.prompt)))
	}
	template, err := chat.New(model.Metadata())
	if err != nil {
		return about(model, err)
	}
	endOfTurn, err := template.EndOfTurn(c.ctx)
	if err != nil {
		return about(model, err)
	}
	g.EndWith(endOfTurn)
	return about(model, converse(c, f, g, template))
}

// noteElsewhere says why a model that lies elsewhere is slow.
func noteElsewhere(c *call, model *model) {
	if slices.ContainsFunc(gguf.Inputs(model), func(f *files.File) bool { return !f.IsLocal() }) {
		printNotes(c, []string{model.path + ": weights are fetched again for each token; a file that is here, or in the hub's cache, is faster"})
	}
}

// notePacked says why a packed checkpoint is slow: a file has its rows in memory, as they are multiplied.
func notePacked(c *call, model *model) error {
	stored, err := gguf.StorageOf(model)
	if _, checkpoint := model.Model.(*hf.Checkpoint); err == nil && checkpoint && len(stored.Packings) > 0 {
		printNotes(c, []string{fmt.Sprintf("%s: weights in %s are unpacked again for each token; a file that convert makes of it, with --type AUTO for "+
			"example, is faster", model.path, stored.Packed())})
	}
	return err
}

// respond continues one text.
func respond(c *call, g *generate.Generator, text []int32) error {
	out := c.stdout
	if c.json {
		out = io.Discard
	}
	result, err := g.Run(c.ctx, text, out)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(c, result)
	}
	fmt.Fprintln(out)
	return nil
}

// converse answers the prompt, or every line of standard input.
func converse(c *call, f generateFlags, g *generate.Generator, template *chat.Template) error {
	var messages []chat.Message
	if f.system != nil {
		messages = append(messages, chat.Message{Role: "system", Content: *f.system})
	}
	if f.prompt != nil {
		text, err := template.Render(c.ctx, append(messages, chat.Message{Role: "user", Content: *f.prompt}))
		if err != nil {
			return err
		}
		return respond(c, g, g.Chat(text))
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
		result, err := g.Run(c.ctx, g.Chat(text), c.stdout)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.stdout)
		messages = append(messages, chat.Message{Role: "assistant", Content: strings.TrimSpace(result.Text)})
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
