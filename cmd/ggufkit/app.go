package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/urfave/cli/v2"
)

// newApp returns the command line, writing results to stdout and everything
// else to stderr.
func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:      "ggufkit",
		Usage:     "convert checkpoints to GGUF, quantize them, and measure the difference",
		UsageText: "ggufkit COMMAND [flags] ARGUMENTS",
		Description: "A MODEL is a .gguf file, the first file of a split set, a Hugging Face directory, or a .yaml recipe\n" +
			"of a mixture.\n" +
			"Flags may stand before or after the arguments; GGUFKIT_THREADS and so on set them too.",
		Writer:          stdout,
		ErrWriter:       stderr,
		HideHelpCommand: true,
		HideVersion:     true,
		Suggest:         true,
		ExitErrHandler:  func(*cli.Context, error) {}, // main decides
		OnUsageError:    onUsageError,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return unknownCommand(c)
			}
			return cli.ShowAppHelp(c)
		},
		Commands: []*cli.Command{
			demoCommand(),
			convertCommand(),
			quantizeCommand(),
			generateCommand(),
			imatrixCommand(),
			mergeCommand(),
			moeCommand(),
			perplexityCommand(),
			driftCommand(),
			chooseCommand(),
			tokenizeCommand(),
			inspectCommand(),
			hashCommand(),
			benchCommand(),
			versionCommand(),
		},
	}
	for _, command := range app.Commands {
		for _, command := range append(command.Subcommands, command) {
			command.OnUsageError = onUsageError
			mirrorEnvironment(command.Flags)
		}
	}
	return app
}

// usageError is a command line that cannot be carried out as written.
type usageError struct {
	command string
	error
}

func (e usageError) Unwrap() error { return e.error }

func usagef(c *cli.Context, format string, args ...any) error {
	return usageError{c.Command.Name, fmt.Errorf(format, args...)}
}

func onUsageError(c *cli.Context, err error, _ bool) error {
	return usageError{c.Command.Name, err}
}

func unknownCommand(c *cli.Context) error {
	name := c.Args().First()
	message := fmt.Sprintf("%q is not a command", name)
	if similar := cli.SuggestCommand(c.App.Commands, name); similar != "" {
		message += ". " + similar
	}
	return usageError{error: errors.New(message)}
}

// arguments returns the positional arguments, of which there must be one for
// each name.
func arguments(c *cli.Context, names ...string) ([]string, error) {
	if c.NArg() != len(names) {
		return nil, usagef(c, "%d arguments are needed (%s), %d given", len(names), strings.Join(names, " "), c.NArg())
	}
	return c.Args().Slice(), nil
}

// flagsFirst moves flags that stand after positional arguments before them,
// since urfave/cli stops looking for flags at the first argument that is none.
// Everything after "--" stays an argument.
func flagsFirst(app *cli.App, args []string) []string {
	at := slices.IndexFunc(args[1:], func(a string) bool { return app.Command(a) != nil })
	if at < 0 {
		return args
	}
	at += 2 // the first argument of the command
	command := app.Command(args[at-1])
	if at < len(args) && len(command.Subcommands) > 0 {
		i := slices.IndexFunc(command.Subcommands, func(s *cli.Command) bool { return s.HasName(args[at]) })
		if i < 0 {
			return args
		}
		command = command.Subcommands[i]
		at++
	}
	takesValue := make(map[string]bool)
	for _, flag := range command.Flags {
		_, boolean := flag.(*cli.BoolFlag)
		for _, name := range flag.Names() {
			takesValue[name] = !boolean
		}
	}
	var flags, rest []string
	for i := at; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			rest = append(rest, args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			rest = append(rest, arg)
			continue
		}
		flags = append(flags, arg)
		if takesValue[strings.TrimLeft(arg, "-")] && i+1 < len(args) {
			i++
			flags = append(flags, args[i])
		}
	}
	out := append(slices.Clone(args[:at]), flags...)
	return append(append(out, "--"), rest...)
}

// mirrorEnvironment lets GGUFKIT_MAX_SIZE set the flag --max-size, and so on.
func mirrorEnvironment(flags []cli.Flag) {
	for _, flag := range flags {
		env := []string{"GGUFKIT_" + strings.ToUpper(strings.ReplaceAll(flag.Names()[0], "-", "_"))}
		switch f := flag.(type) {
		case *cli.BoolFlag:
			f.EnvVars = env
		case *cli.IntFlag:
			f.EnvVars = env
		case *cli.Float64Flag:
			f.EnvVars = env
		case *cli.StringFlag:
			f.EnvVars = env
		case *cli.GenericFlag:
			f.EnvVars = env
		default:
			panic(fmt.Sprintf("flag %s is of type %T", flag.Names()[0], flag))
		}
	}
}

// Flags that many commands share.

func threadsFlag() cli.Flag {
	return &cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Usage: "threads to use, `N`; 0 is all cores"}
}

func memoryFlag() cli.Flag {
	return &cli.StringFlag{Name: "memory", Usage: "use at most `SIZE` of memory, such as 4G; default: 1 GiB"}
}

// size returns the bytes that a flag asks for, 0 if it is not given.
func size(c *cli.Context, flag string) (int64, error) {
	s := c.String(flag)
	if s == "" {
		return 0, nil
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return 0, usagef(c, "--%s is %q, not a size such as 4G", flag, s)
	}
	return int64(n), nil
}

func forceFlag() cli.Flag {
	return &cli.BoolFlag{Name: "force", Usage: "overwrite an existing output"}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print one JSON document"}
}

func progressFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print nothing but results and errors"},
		&cli.BoolFlag{Name: "no-progress", Usage: "do not show progress"},
	}
}

func dryRunFlag() cli.Flag {
	return &cli.BoolFlag{Name: "dry-run", Usage: "print what would be written and write nothing"}
}
