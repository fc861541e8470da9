package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// Each shell asks "ggufkit __complete WORD..." what the last word can become, and
// offers files if there is no answer.
var completionScripts = map[string]string{
	"bash": `_ggufkit() {
	local IFS=$'\n'
	COMPREPLY=($("${COMP_WORDS[0]}" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o bashdefault -o default -F _ggufkit ggufkit
`,
	"zsh": `#compdef ggufkit
_ggufkit() {
	local -a found
	found=(${(f)"$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)"})
	if (( $#found )); then
		compadd -a found
	else
		_files
	fi
}
compdef _ggufkit ggufkit
`,
	"fish": `complete -c ggufkit -a '(ggufkit __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
}

func completionCommand() *cli.Command {
	command := &cli.Command{
		Name:  "completion",
		Usage: "a script that completes commands, flags and types in a shell",
		Description: "bash: source <(ggufkit completion bash), also in ~/.bashrc\n" +
			"zsh:  source <(ggufkit completion zsh), in ~/.zshrc after compinit\n" +
			"fish: ggufkit completion fish | source, also in ~/.config/fish/config.fish",
	}
	for _, shell := range slices.Sorted(maps.Keys(completionScripts)) {
		command.Subcommands = append(command.Subcommands, &cli.Command{
			Name:  shell,
			Usage: "the script for " + shell,
			Action: action(func(c *call) error {
				if _, err := c.arguments(); err != nil {
					return err
				}
				_, err := fmt.Fprint(c.stdout, completionScripts[shell])
				return err
			}),
		})
	}
	return command
}

// completeCommand answers the scripts.
func completeCommand() *cli.Command {
	return &cli.Command{
		Name:            "__complete",
		Hidden:          true,
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			for _, word := range complete(c.App, c.Args().Slice()) {
				fmt.Fprintln(c.App.Writer, word)
			}
			return nil
		},
	}
}

// complete returns what the last of some words after the name of the program can
// become; nothing stands for the name of a file.
func complete(app *cli.App, words []string) []string {
	words = slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "=" }) // a word of its own to bash
	if len(words) == 0 {
		return nil
	}
	command := &cli.Command{Subcommands: app.Commands, Flags: commonFlags()}
	flag, given := "", 0 // whose value comes next, and how many arguments there are
	for _, word := range words[:len(words)-1] {
		name := flagName(word)
		below := command.Command(word)
		switch {
		case flag != "":
			flag = ""
		case takesValue(command.Flags)[name] && !strings.Contains(word, "="):
			flag = name
		case name != "":
		case below != nil:
			command = below
		default:
			given++
		}
	}
	var possible []string
	last := words[len(words)-1]
	switch {
	case flag != "":
		possible = flagValues(flag)
	case strings.HasPrefix(last, "-"):
		for name := range takesValue(command.Flags) {
			if len(name) > 1 {
				possible = append(possible, dashed(name))
			}
		}
	case len(command.Subcommands) > 0 && given == 0:
		for _, c := range command.Subcommands {
			if !c.Hidden {
				possible = append(possible, c.Name)
			}
		}
	case command.Name == "types", command.Name == "quantize" && given > 0:
		possible = typeNames(recipe.FileTypes())
	}
	slices.Sort(possible)
	return slices.DeleteFunc(possible, func(s string) bool {
		return len(s) < len(last) || !strings.EqualFold(s[:len(last)], last)
	})
}

// flagValues returns what can follow a flag, nothing if that is a file or a number.
func flagValues(flag string) []string {
	switch flag {
	case "type", "types":
		return typeNames(recipe.FileTypes())
	case "compute":
		return []string{infer.Exact.String(), infer.Int8.String()}
	}
	return nil
}
