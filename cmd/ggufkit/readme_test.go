package main

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/testdata"
)

var update = flag.Bool("update", false, "write what the program prints into the documentation")

// TestTour pastes the commands of README's tour, and compares what they print with
// what it shows. With -update it writes that.
func TestTour(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long where races are looked for")
	}
	readme, err := filepath.Abs("../../README.md")
	require.NoError(t, err)
	content, err := os.ReadFile(readme)
	require.NoError(t, err)
	page := string(content)
	t.Setenv("COLUMNS", "")
	t.Setenv("GGUFKIT_NO_PROGRESS", "1")
	t.Chdir(t.TempDir())
	require.NoError(t, testdata.WriteBeyonder("testdata/beyonder-mini"))
	require.NoError(t, testdata.WriteTexts("testdata/texts"))

	from := strings.Index(page, "\n## Five minutes\n")
	to := strings.Index(page, "\n## With your model\n")
	require.True(t, 0 < from && from < to)
	tour := page[from:to]
	blocks := regexp.MustCompile("(?s)\n```(sh)?\n(.*?)```\n").FindAllStringSubmatchIndex(tour, -1)
	require.NotEmpty(t, blocks)
	var printed strings.Builder
	updated, end := "", 0
	for _, at := range blocks {
		block := tour[at[4]:at[5]]
		if isShell := at[2] >= 0; isShell {
			printed.Reset()
			for line := range strings.Lines(block) {
				words := shellWords(strings.TrimSpace(line))
				if words[0] == "go" {
					require.Equal(t, "go build ./cmd/ggufkit", strings.Join(words, " "))
					continue // this is it
				}
				require.Equal(t, "./ggufkit", words[0])
				words[0] = "ggufkit"
				require.Equal(t, exitDone, run(words, &printed, &printed), "%s%s", line, printed.String())
			}
			continue
		}
		if *update {
			updated += tour[end:at[4]] + refresh(t, block, printed.String())
			end = at[5]
		} else if shown, got := stable(block), stable(printed.String()); !matches(shown, got) {
			t.Errorf("README shows\n%s\nand this was printed:\n%s", block, printed.String())
		}
	}
	if *update {
		require.NoError(t, os.WriteFile(readme, []byte(page[:from]+updated+tour[end:]+page[to:]), 0o666))
	}
}

// shellWords splits a line at blanks that are not between single quotes.
func shellWords(line string) []string {
	var words []string
	for _, w := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line, -1) {
		words = append(words, strings.Trim(w, "'"))
	}
	return words
}

const anything = "..." // stands for any lines

var speed = regexp.MustCompile(`\d+ tokens/s|in \d+\.\d+ s`)

// stable returns the lines of an output without what differs from run to run.
func stable(output string) []string {
	lines := strings.Split(strings.TrimSpace(speed.ReplaceAllString(output, "fast")), "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(strings.TrimRight(line, "─")), " ")
	}
	return lines
}

// matches reports whether lines are those shown.
func matches(shown, lines []string) bool {
	switch {
	case len(shown) == 0:
		return len(lines) == 0
	case shown[0] == anything:
		return matches(shown[1:], lines) || len(lines) > 0 && matches(shown, lines[1:])
	}
	return len(lines) > 0 && sameLine(shown[0], lines[0]) && matches(shown[1:], lines[1:])
}

var number = regexp.MustCompile(`\d+(\.\d+)?`)

// sameLine reports whether lines are the same, figures but for what instruction sets
// round differently: two in the last digit, or a hundredth.
func sameLine(a, b string) bool {
	if number.ReplaceAllString(a, "0") != number.ReplaceAllString(b, "0") {
		return false
	}
	others := number.FindAllString(b, -1)
	for i, s := range number.FindAllString(a, -1) {
		x, errX := strconv.ParseFloat(s, 64)
		y, errY := strconv.ParseFloat(others[i], 64)
		_, decimals, _ := strings.Cut(s, ".")
		if errX != nil || errY != nil || math.Abs(x-y) > max(2*math.Pow10(-len(decimals)), 0.01*x) {
			return false
		}
	}
	return true
}

// refresh returns a block with the figures of an output. What the block leaves out
// stays left out: after it, the output goes on with the line that is most like the
// next one of the block.
func refresh(t *testing.T, block, output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if block == "" {
		return strings.Join(lines, "\n") + "\n"
	}
	words := func(line string) string { return number.ReplaceAllString(line, "0") }
	var out []string
	skipped := false
	for shown := range strings.Lines(block) {
		shown = strings.TrimRight(shown, "\n")
		if shown == anything {
			out, skipped = append(out, anything), true
			continue
		}
		if skipped {
			at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(words(l), words(shown)[:min(8, len(words(shown)))]) })
			require.GreaterOrEqual(t, at, 0, "%q is not in the output any more", shown)
			lines, skipped = lines[at:], false
		}
		require.NotEmpty(t, lines)
		line := lines[0]
		if speed.ReplaceAllString(shown, "") == speed.ReplaceAllString(line, "") {
			line = shown
		}
		out, lines = append(out, line), lines[1:]
	}
	if !skipped {
		out = append(out, lines...)
	}
	return strings.Join(out, "\n") + "\n"
}
