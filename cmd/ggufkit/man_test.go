package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const commandPages = "../../docs/commands"

// TestCommandPages compares docs/commands, a page per command, with the help. With
// -update it writes them.
func TestCommandPages(t *testing.T) {
	want := make(map[string]string)
	pages := manual(newApp(io.Discard, io.Discard))
	for _, page := range pages[1:] {
		want[pageFile(page)] = commandPage(page)
	}
	want["README.md"] = commandIndex(pages)
	if *update {
		require.NoError(t, os.RemoveAll(commandPages))
		require.NoError(t, os.Mkdir(commandPages, 0o777))
		for name, content := range want {
			require.NoError(t, os.WriteFile(filepath.Join(commandPages, name), []byte(content), 0o666))
		}
	}
	files, err := os.ReadDir(commandPages)
	require.NoError(t, err)
	require.Len(t, files, len(want), "go test ./cmd/ggufkit -run TestCommandPages -update writes them again")
	for name, content := range want {
		got, err := os.ReadFile(filepath.Join(commandPages, name))
		require.NoError(t, err)
		require.Equal(t, content, strings.ReplaceAll(string(got), "\r\n", "\n"), "%s: go test ./cmd/ggufkit -run TestCommandPages -update writes it again", name)
	}
}

// pageFile is the file of a command's page: "moe-doctor.md".
func pageFile(page manualPage) string {
	return strings.Join(strings.Fields(page.name)[1:], "-") + ".md"
}

// commandPage is the page of a command in Markdown.
func commandPage(page manualPage) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n```\n%s\n```\n", page.name, inMarkdown(page.usage), page.synopsis)
	if len(page.description) > 0 {
		fmt.Fprintf(&b, "\n```text\n%s\n```\n", strings.Join(page.description, "\n"))
	}
	flagTables(&b, page)
	fmt.Fprintf(&b, "\n[All commands](README.md), and the flags that every command has.\n")
	return b.String()
}

// commandIndex lists the commands, and the flags that all have.
func commandIndex(pages []manualPage) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Commands\n\n```\n%s\n```\n\n```text\n%s\n```\n\n| command | |\n|---|---|\n",
		pages[0].synopsis, strings.Join(pages[0].description, "\n"))
	for _, page := range pages[1:] {
		fmt.Fprintf(&b, "| [%s](%s) | %s |\n", page.name, pageFile(page), inMarkdown(page.usage))
	}
	flagTables(&b, pages[0])
	return b.String()
}

func flagTables(b *strings.Builder, page manualPage) {
	for _, group := range page.flags {
		if group.title != "" {
			fmt.Fprintf(b, "\n%s\n", group.title)
		}
		b.WriteString("\n| flag | |\n|---|---|\n")
		for _, flag := range group.flags {
			fmt.Fprintf(b, "| `%s` | %s |\n", strings.TrimSpace(strings.ReplaceAll(flag.written, "|", `\|`)), inMarkdown(flag.usage))
		}
	}
}

// inMarkdown returns a text for a cell of a table or a paragraph.
func inMarkdown(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", "&lt;", "_", `\_`).Replace(text)
}

// TestManualPage looks for what man needs, and that no line of a text is a request.
func TestManualPage(t *testing.T) {
	var out strings.Builder
	require.Equal(t, exitDone, run([]string{"ggufkit", "man"}, &out, &out))
	page := out.String()
	require.True(t, strings.HasPrefix(page, ".TH GGUFKIT 1 "))
	for _, page := range manual(newApp(io.Discard, io.Discard))[1:] {
		require.Contains(t, out.String(), "\n.SS "+roff(page.name)+"\n")
	}
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, ".") {
			require.Regexp(t, `^\.(TH|SH|SS|PP|TP|B|nf|fi)\b`, line)
		}
	}
	require.Equal(t, `\&.gguf and \-\-type \e`, roff(`.gguf and --type \`))
}
