package isatest

import (
	"os"
	"runtime"
	"strings"

	"github.com/stretchr/testify/require"
)

// HasKernel returns what docs/running.md, at path, says in a column of its table of
// kernels: whether there are any for a type on this processor's architecture.
func HasKernel(t require.TestingT, path string, column int) func(typ string) bool {
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	_, table, found := strings.Cut(string(page), "<!-- kernels -->")
	require.True(t, found, path)
	table, _, _ = strings.Cut(table, "<!-- end -->")
	has := map[string]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) <= column {
			continue
		}
		for typ := range strings.SplitSeq(cells[0], ",") {
			has[strings.TrimSpace(typ)] = strings.Contains(cells[column], runtime.GOARCH)
		}
	}
	return func(typ string) bool { return has[typ] }
}
