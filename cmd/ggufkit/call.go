package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert/remote"
)

// A call is a command that is run: what it is given, where it reads and writes, and the flags that
// every command has. Those of a command are a struct of its own, which urfave/cli fills in.
type call struct {
	ctx            context.Context
	command        string   // with those above it, and "ggufkit"
	args           []string // but for flags
	line           []string // the whole command line
	stdin          io.Reader
	stdout, stderr io.Writer

	threads            int
	force, json, quiet bool
	progress           bool // is shown

	seed int // of recipes that have gates drawn at random

	remote func() *remote.Client  // reads models that lie elsewhere
	build  func() (string, error) // is buildVersion, which may take a while, once
}

// action makes an action of what a command does.
func action(do func(*call) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		line, _ := c.App.Metadata[commandKey].([]string)
		call := &call{
			ctx: c.Context, command: c.Command.HelpName, args: c.Args().Slice(), line: line,
			stdin: c.App.Reader, stdout: c.App.Writer, stderr: c.App.ErrWriter,
			threads: c.Int("threads"), force: c.Bool("force"), json: c.Bool("json"), quiet: c.Bool("quiet"),
			progress: !c.Bool("quiet") && !c.Bool("no-progress"),
		}
		call.remote = sync.OnceValue(func() *remote.Client {
			return remote.New(call.ctx, remote.Options{Keep: c.Bool("cache"), Note: func(note string) { printNotes(call, []string{note}) }})
		})
		call.build = sync.OnceValues(func() (string, error) { return buildVersion(call.ctx) })
		return do(call)
	}
}

// asUsage makes an error of something that the user wrote a usage error.
func (c *call) asUsage(err error) error {
	if err == nil {
		return nil
	}
	return usageError{c.command, err}
}

func (c *call) usagef(format string, args ...any) error {
	return c.asUsage(fmt.Errorf(format, args...))
}

// arguments returns the positional arguments, of which there must be one for each name.
func (c *call) arguments(names ...string) ([]string, error) {
	if len(c.args) != len(names) {
		return nil, c.wrongCount(len(names), names...)
	}
	return c.args, nil
}

// wrongCount is the error for too few or too many arguments.
func (c *call) wrongCount(needed int, names ...string) error {
	given := "none"
	if n := len(c.args); n > 0 {
		given = fmt.Sprint(n)
	}
	switch needed {
	case 0:
		return c.usagef("no arguments are needed, %s given", given)
	case 1:
		return c.usagef("1 argument is needed (%s), %s given", names[0], given)
	}
	return c.usagef("%d arguments are needed (%s), %s given", needed, strings.Join(names, " "), given)
}
