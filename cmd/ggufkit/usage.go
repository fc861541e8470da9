package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// usageError is a command line that cannot be carried out as written.
type usageError struct {
	command string // as it is called, with "ggufkit"
	error
}

func (e usageError) Unwrap() error { return e.error }

// hint says where to read on.
func (e usageError) hint() string {
	if e.command == "" {
		e.command = "ggufkit"
	}
	return fmt.Sprintf("See '%s --help'.", e.command)
}

// asUsage makes an error of something that the user wrote a usage error.
func asUsage(c *cli.Context, err error) error {
	if err == nil {
		return nil
	}
	return usageError{c.Command.HelpName, err}
}

func usagef(c *cli.Context, format string, args ...any) error {
	return asUsage(c, fmt.Errorf(format, args...))
}

// onUsageError words what urfave/cli found wrong with the flags.
func onUsageError(c *cli.Context, err error, _ bool) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return asUsage(c, err)
	}
	if _, common := takesValue(commonFlags())[name]; common {
		return usagef(c, "a command is needed, before or after %s", dashed(name))
	}
	var names []string
	for _, flag := range c.Command.Flags {
		names = append(names, flag.Names()...)
	}
	message := "there is no flag " + dashed(name)
	if hint := peerHint(name, c.Command); hint != "" {
		message += ": " + hint
	} else if similar := nearest(name, names); similar != "" {
		message += ". Did you mean " + dashed(similar) + "?"
	}
	return usagef(c, "%s", message)
}

// dashed returns the name of a flag as it is written.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// peerFlags are flags of llama.cpp's tools and of convert_hf_to_gguf.py that are
// called otherwise here. The first that applies to a command is its hint: one that
// has the flag or the argument.
var peerFlags = []struct {
	names    []string
	flag     string // what it is called here
	argument string // what it is here
	hint     string // what else there is to say
}{
	{names: []string{"outtype"}, flag: "type"},
	{names: []string{"model-name"}, flag: "name"},
	{names: []string{"temperature"}, flag: "temp"},
	{names: []string{"n-predict", "predict"}, flag: "max-new-tokens"},
	{names: []string{"ctx-size"}, flag: "ctx"},
	{names: []string{"repeat-penalty"}, flag: "repetition-penalty"},
	{names: []string{"reverse-prompt", "r"}, flag: "stop"},
	{names: []string{"system-prompt", "sys"}, flag: "system"},
	{names: []string{"conversation", "cnv", "interactive", "i"}, flag: "chat"},
	{names: []string{"cache-type-k", "cache-type-v", "ctk", "ctv"}, flag: "cache-type"},
	{names: []string{"nthreads", "threads-batch", "tb"}, flag: "threads"},
	{names: []string{"split-max-tensors"}, flag: "split-max-size"},
	{names: []string{"outfile", "output-file", "o"}, flag: "output"},
	{names: []string{"outfile", "output-file", "output", "o"}, argument: "OUT"},
	{names: []string{"m", "model"}, argument: "MODEL"},
	{names: []string{"ngl", "gpu-layers", "n-gpu-layers", "dev", "device"}, hint: "everything is computed on the CPU"},
	{names: []string{"hf", "hfr", "hf-repo", "mu", "model-url", "remote"}, hint: "the name of a model on the hub, hf://OWNER/NAME, or an address is a MODEL"},
	{names: []string{"kl-divergence", "kl-divergence-base"}, hint: "'ggufkit drift' compares models with the original"},
	{names: []string{"b", "batch-size", "ub", "ubatch-size", "mlock", "no-mmap", "fa", "flash-attn"}, hint: "nothing like it is needed here"},
}

// peerHint says what a flag of another tool is for a command, if it is known.
func peerHint(name string, command *cli.Command) string {
	ours := takesValue(command.Flags)
	for _, peer := range peerFlags {
		_, has := ours[peer.flag]
		switch {
		case !slices.Contains(peer.names, name):
		case has:
			return "it is " + dashed(peer.flag) + " here"
		case peer.argument != "" && strings.Contains(command.ArgsUsage, peer.argument):
			return fmt.Sprintf("it is an argument here: %s %s", command.HelpName, command.ArgsUsage)
		case peer.hint != "":
			return peer.hint
		}
	}
	return ""
}

// unknownCommand is the error for a command that does not exist.
func unknownCommand(c *cli.Context) error {
	commands, where := c.App.Commands, ""
	if c.Command.Name != c.App.Name {
		commands, where = c.Command.Subcommands, " of "+c.Command.Name
	}
	var names []string
	for _, command := range commands {
		names = append(names, command.Names()...)
	}
	name := c.Args().First()
	message := fmt.Sprintf("%q is not a command%s", name, where)
	if similar := nearest(name, names); similar != "" {
		message += fmt.Sprintf(". Did you mean %q?", similar)
	}
	return usagef(c, "%s", message)
}

// nearest returns the name that a misspelled one is most like, "" if it is like
// none.
func nearest(name string, names []string) string {
	const like = 0.8
	best, similarity := "", like
	for _, n := range names {
		if s := smetrics.JaroWinkler(strings.ToLower(name), strings.ToLower(n), 0.7, 4); s > similarity {
			best, similarity = n, s
		}
	}
	return best
}
