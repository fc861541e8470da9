package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange brings the arguments of the program into the order that urfave/cli
// needs: command, flags, "--", positional arguments. Flags may stand anywhere
// among the arguments of their command, common flags before the command, too.
// Everything after "--" stays a positional argument. "help COMMAND" becomes
// "COMMAND --help".
func arrange(app *cli.App, args []string) []string {
	path, rest := args[:1:1], args[1:]
	var early []string
	var command *cli.Command
	common := takesValue(commonFlags())
	for commands := app.Commands; len(rest) > 0 && len(commands) > 0; {
		if value, known := common[flagName(rest[0])]; known {
			n := 1
			if value && !strings.Contains(rest[0], "=") {
				n = min(2, len(rest))
			}
			early, rest = append(early, rest[:n]...), rest[n:]
			continue
		}
		if rest[0] == "help" && command == nil {
			rest = append(slices.Clone(rest[1:]), "--help")
			continue
		}
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(rest[0]) })
		if i < 0 {
			break
		}
		command = commands[i]
		path, rest = append(path, rest[0]), rest[1:]
		commands = command.Subcommands
	}
	if command == nil || len(command.Subcommands) > 0 || command.SkipFlagParsing {
		if len(rest) == 0 {
			rest = early
		}
		return append(path, rest...)
	}
	flags := append(slices.Clip(path), early...)
	known := takesValue(command.Flags)
	var positional []string
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		switch {
		case arg == "--":
			positional = append(positional, rest...)
			rest = nil
		case flagName(arg) == "":
			positional = append(positional, arg)
		case flagName(arg) == "help", flagName(arg) == "h":
			return append(path, "--help") // urfave/cli takes an argument for a topic
		default:
			flags = append(flags, arg)
			if known[flagName(arg)] && !strings.Contains(arg, "=") && len(rest) > 0 {
				flags, rest = append(flags, rest[0]), rest[1:]
			}
		}
	}
	return append(append(flags, "--"), positional...)
}

// flagName returns the name of the flag that an argument is, without dashes and
// value, or "" if it is none.
func flagName(arg string) string {
	name, _, _ := strings.Cut(arg, "=")
	if !strings.HasPrefix(name, "-") {
		return ""
	}
	return strings.TrimPrefix(strings.TrimPrefix(name, "-"), "-")
}

// takesValue says for the names of flags whether a value follows them.
func takesValue(flags []cli.Flag) map[string]bool {
	values := make(map[string]bool)
	for _, flag := range flags {
		for _, name := range flag.Names() {
			values[name] = hasValue(flag)
		}
	}
	return values
}

func hasValue(flag cli.Flag) bool { return flag.(cli.DocGenerationFlag).TakesValue() }
