package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/display"
)

// screen returns what a terminal shows of what was written to it: lines, of which
// the last one may have been drawn again and again.
func screen(written string) []string {
	lines := strings.Split(written, "\n")
	for i, line := range lines {
		parts := strings.Split(line, eraseLine)
		lines[i] = parts[len(parts)-1]
	}
	return lines
}

func TestProgressLeavesNothing(t *testing.T) {
	t.Setenv("COLUMNS", "20")
	var b strings.Builder
	c := &console{Writer: &b}
	c.draw("writing: 10 %, 1 GB/s, 10 s left, blk.0.ffn_up.weight")
	require.Equal(t, []string{"writing: 10 %, 1 GB"}, screen(b.String())) // a column stays free
	fmt.Fprintln(c, "note: something")
	c.draw("writing: 20 %")
	c.draw("writing")
	require.Equal(t, []string{"note: something", "writing"}, screen(b.String()))
	c.erase()
	fmt.Fprintln(c, "done")
	require.Equal(t, []string{"note: something", "done", ""}, screen(b.String()))
}

func TestConsoleEscapesControls(t *testing.T) {
	var b strings.Builder
	fmt.Fprint(&console{Writer: &b}, "wrote a\x1b[2Jb\r\tc é\u009b \n")
	require.Equal(t, `wrote a\x1b[2Jb\r`+"\tc é"+`\u009b`+" \n", b.String())
	b.Reset()
	results := &resultWriter{Writer: &b, terminal: true}
	fmt.Fprint(results, "\x1b]0;x\x07")
	results.terminal = false
	fmt.Fprint(results, "\x1b")
	require.Equal(t, `\x1b]0;x\a`+"\x1b", b.String())
}

// Where weights are read again and again, the line says how much and how fast.
func TestProgressOfReading(t *testing.T) {
	var b strings.Builder
	p := newProgress(&call{stderr: &b, progress: true}, "scoring", display.TokenRate)
	p.start = time.Now().Add(-10 * time.Second)
	p.last = p.start
	p.reading().Add(5e9)
	p.update(50, 100)
	require.Regexp(t, `^scoring: +50 %, 5(\.\d+)? tokens/s, 10s left, 4\.66 GiB of weights read, 0\.50 GB/s\n$`, b.String())
}

func TestRates(t *testing.T) {
	for rate, want := range map[float64]string{45_000: "45 KB/s", 3.4e6: "3.4 MB/s", 2.5e8: "0.25 GB/s", 3e9: "3.00 GB/s"} {
		require.Equal(t, want, display.ByteRate(rate))
	}
	require.Equal(t, "0.25 tokens/s", display.TokenRate(0.25))
	require.Equal(t, "1234 tokens/s", display.TokenRate(1234))
}
