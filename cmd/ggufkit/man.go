package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func manCommand() *cli.Command {
	return &cli.Command{
		Name:        "man",
		Usage:       "the manual page of all commands, for man",
		Description: "To read it: ggufkit man | man -l -\nTo install it: ggufkit man > /usr/local/share/man/man1/ggufkit.1",
		Action: action(func(c *call) error {
			if _, err := c.arguments(); err != nil {
				return err
			}
			return writeMan(c.stdout, manual(newApp(io.Discard, io.Discard)))
		}),
	}
}

// A manualPage is what there is to say about a command.
type manualPage struct {
	name        string // with "ggufkit" and the command above it
	synopsis    string
	usage       string
	description []string // lines
	flags       []manualFlags
}

// manualFlags are flags that belong together.
type manualFlags struct {
	title string // "" for those of one command
	flags []manualFlag
}

// A manualFlag is a flag as it is written, and what the help says of it.
type manualFlag struct{ written, usage string }

// manual returns the pages of the commands that do something, in the order in which
// they are listed. What every command has is on the first page, that of the program.
func manual(app *cli.App) []manualPage {
	common := commonFlags()
	mirrorEnvironment(common)
	first := manualPage{
		name:        app.Name,
		synopsis:    app.UsageText,
		usage:       app.Usage,
		description: strings.Split(app.Description, "\n"),
		flags:       flagsOf((&cli.Command{Flags: common}).VisibleFlagCategories()),
	}
	return append([]manualPage{first}, manualOf(app.Name, app.Commands)...)
}

func manualOf(above string, commands []*cli.Command) []manualPage {
	var pages []manualPage
	for _, command := range commands {
		if command.Hidden {
			continue
		}
		page := manualPage{
			name:     above + " " + command.Name,
			synopsis: strings.TrimSpace(above + " " + command.Name + " [flags] " + command.ArgsUsage),
			usage:    command.Usage,
		}
		if command.Description != "" {
			page.description = strings.Split(command.Description, "\n")
		}
		if len(command.Subcommands) > 0 {
			page.synopsis = page.name + " COMMAND"
			pages = append(append(pages, page), manualOf(page.name, command.Subcommands)...)
			continue
		}
		page.flags = slices.DeleteFunc(flagsOf(command.VisibleFlagCategories()), func(f manualFlags) bool { return f.title == commonCategory })
		pages = append(pages, page)
	}
	return pages
}

func flagsOf(categories []cli.VisibleFlagCategory) []manualFlags {
	var all []manualFlags
	for _, category := range categories {
		group := manualFlags{title: category.Name()}
		for _, flag := range category.Flags() {
			written, usage, _ := strings.Cut(flag.String(), "\t")
			group.flags = append(group.flags, manualFlag{written, usage})
		}
		all = append(all, group)
	}
	return all
}

// writeMan writes pages as one for man(1), section 1, by the macros of man(7).
func writeMan(w io.Writer, pages []manualPage) error {
	var b strings.Builder
	program := pages[0]
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"%s %s\" \"User Commands\"\n", strings.ToUpper(program.name), program.name, version)
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", program.name, roff(program.usage))
	for i, page := range pages {
		if i == 0 {
			fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.SH DESCRIPTION\n", roff(page.synopsis))
		} else {
			if i == 1 {
				b.WriteString(".SH COMMANDS\n")
			}
			fmt.Fprintf(&b, ".SS %s\n%s\n.PP\n.B %s\n", roff(page.name), roff(page.usage), roff(page.synopsis))
		}
		if len(page.description) > 0 {
			b.WriteString(".PP\n.nf\n")
			for _, line := range page.description {
				b.WriteString(roff(line) + "\n")
			}
			b.WriteString(".fi\n")
		}
		for _, group := range page.flags {
			if group.title != "" {
				fmt.Fprintf(&b, ".PP\n%s\n", roff(group.title))
			}
			for _, flag := range group.flags {
				fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(flag.written), roff(flag.usage))
			}
		}
	}
	b.WriteString(".SH EXIT STATUS\n0 done, 1 failed, 2 used wrongly, 3 checked and found different, 130 interrupted.\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// roff returns a line of text for roff, which gives backslashes, hyphens, and dots and
// quotes at the beginning of a line meanings of their own.
func roff(line string) string {
	line = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		line = `\&` + line
	}
	return line
}
