package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// flagsOnce returns arguments that arrange has arranged with every flag under its
// first name, so that -f A --file B are two values of one flag. A flag that has one
// value and is given two is an error: the first would be dropped without a word.
func flagsOnce(app *cli.App, args []string) ([]string, error) {
	var command *cli.Command
	at := 1
	for commands := app.Commands; at < len(args); at++ {
		i := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(args[at]) })
		if i < 0 {
			break
		}
		command, commands = commands[i], commands[i].Subcommands
	}
	if command == nil {
		return args, nil
	}
	known := make(map[string]cli.Flag)
	for _, flag := range command.Flags {
		for _, name := range flag.Names() {
			known[name] = flag
		}
	}
	args = slices.Clone(args)
	given := make(map[string]bool)
	for i := at; i < len(args) && args[i] != "--"; i++ {
		name := flagName(args[i])
		flag := known[name]
		if flag == nil {
			continue
		}
		first := flag.Names()[0]
		_, value, inPlace := strings.Cut(args[i], "=")
		args[i] = "--" + first
		if inPlace {
			args[i] += "=" + value
		}
		if !hasValue(flag) {
			continue
		}
		if _, repeatable := flag.(*cli.GenericFlag); !repeatable {
			if given[first] {
				return nil, usageError{"ggufkit " + strings.Join(args[1:at], " "), fmt.Errorf("--%s is given twice, but has one value", first)}
			}
			given[first] = true
		}
		if !inPlace {
			i++
		}
	}
	return args, nil
}
