package main

import (
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// A helpFlag is --help. The library has one for all apps, and writes to it whenever
// it reads a command line: not to a copy, as this does.
type helpFlag struct{ *cli.BoolFlag }

func (f helpFlag) Apply(set *flag.FlagSet) error {
	own := *f.BoolFlag
	return own.Apply(set)
}

func init() { cli.HelpFlag = helpFlag{cli.HelpFlag.(*cli.BoolFlag)} }

// newApp returns the command line, writing results to stdout and everything
// else to stderr.
func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:      "ggufkit",
		Usage:     "convert checkpoints to GGUF, quantize them, and measure the difference",
		UsageText: "ggufkit COMMAND [flags] ARGUMENTS",
		Description: "A MODEL is a .gguf file, the first file of a split set, a Hugging Face directory, or a merge recipe\n" +
			"(.yaml) of a mixture of experts; or one of these elsewhere: org/name or hf://org/name[@revision][/file] on\n" +
			"the Hugging Face Hub, https://host/file.gguf, s3://bucket/key.\n" +
			"Flags may stand before or after the arguments, those that every command has before the command, too;\n" +
			"GGUFKIT_THREADS and so on set them as well. 'ggufkit help COMMAND' lists the flags of a command.",
		Writer:          stdout,
		ErrWriter:       &console{Writer: stderr},
		HideHelpCommand: true,
		HideVersion:     true,
		ExitErrHandler:  func(*cli.Context, error) {}, // main decides
		OnUsageError:    onUsageError,
		Action:          showCommands,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version"},
			cli.HelpFlag,
		},
		Commands: []*cli.Command{
			demoCommand(),
			convertCommand(),
			quantizeCommand(),
			generateCommand(),
			imatrixCommand(),
			exportCommand(),
			mergeCommand(),
			moeCommand(),
			perplexityCommand(),
			driftCommand(),
			chooseCommand(),
			tokenizeCommand(),
			logitsCommand(),
			evalCommand(),
			cardCommand(),
			publishCommand(),
			inspectCommand(),
			hashCommand(),
			verifyCommand(),
			diffCommand(),
			editCommand(),
			splitCommand(),
			joinCommand(),
			typesCommand(),
			modelsCommand(),
			benchCommand(),
			versionCommand(),
			completionCommand(),
			manCommand(),
			completeCommand(),
			helpCommand(),
		},
	}
	setUp(app.Commands)
	return app
}

// setUp gives commands what all have in common. Those with others below them only
// show them.
func setUp(commands []*cli.Command) {
	for _, command := range commands {
		command.OnUsageError = onUsageError
		command.HideHelpCommand = true // a model may be called "help"
		if len(command.Subcommands) > 0 {
			command.Action = showCommands
			setUp(command.Subcommands)
			continue
		}
		command.Flags = append(command.Flags, commonFlags()...)
		mirrorEnvironment(command.Flags)
	}
}

// showCommands is what the program does without a command, and a command that has
// others below it.
func showCommands(c *cli.Context) error {
	switch {
	case c.Args().Present():
		return unknownCommand(c)
	case c.Bool("version"):
		return action(showVersion)(c)
	case c.Command.Name == c.App.Name:
		return cli.ShowAppHelp(c)
	}
	return cli.ShowSubcommandHelp(c)
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

// commonCategory is what the flags of commonFlags are listed under.
const commonCategory = "Every command has these:"

// commonFlags are flags that every command has. They may stand before it, too.
func commonFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Category: commonCategory, Usage: "threads to use, `N`; 0 is all cores", Action: checkThreads},
		&cli.BoolFlag{Name: "force", Category: commonCategory, Usage: "overwrite an existing output"},
		&cli.BoolFlag{Name: "cache", Category: commonCategory, Usage: "keep what is read from the Hugging Face Hub in its cache"},
		&cli.BoolFlag{Name: "json", Category: commonCategory, Usage: "print one JSON document"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Category: commonCategory, Usage: "print nothing but results and errors"},
		&cli.BoolFlag{Name: "no-progress", Category: commonCategory, Usage: "do not show progress"},
	}
}

// checkThreads refuses numbers of threads that would take all memory for nothing.
func checkThreads(c *cli.Context, n int) error {
	const most = 1024
	if n > most {
		return usagef(c, "--threads is %d, the most is %d", n, most)
	}
	return atLeast("threads", 0)(c, n)
}

// helpCommand is there to be listed: arrange makes "COMMAND --help" of it.
func helpCommand() *cli.Command {
	return &cli.Command{Name: "help", Usage: "how a command is used", ArgsUsage: "[COMMAND]"}
}
