package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// progress reports how far long work is, with its rate and the time left: as
// a line that is redrawn on a terminal, as a log line now and then elsewhere.
type progress struct {
	mu       sync.Mutex
	w        io.Writer // nil reports nothing
	what     string
	rate     func(perSecond float64) string
	terminal bool
	start    time.Time
	last     time.Time
	drawn    bool
}

const (
	redrawEvery = 100 * time.Millisecond
	logEvery    = 10 * time.Second
)

// newProgress starts reporting what is being done. rate formats the speed in
// the units that update is called with.
func newProgress(c *cli.Context, what string, rate func(perSecond float64) string) *progress {
	p := &progress{what: what, rate: rate, start: time.Now(), last: time.Now()}
	if c.Bool("quiet") || c.Bool("no-progress") {
		return p
	}
	p.w = c.App.ErrWriter
	if f, ok := p.w.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	return p
}

// update says that done of total units are done. It may be called by many
// goroutines.
func (p *progress) update(done, total int64) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	every := logEvery
	if p.terminal {
		every = redrawEvery
	}
	if now.Sub(p.last) < every {
		return
	}
	p.last = now
	seconds := now.Sub(p.start).Seconds()
	left := time.Duration(seconds * float64(total-done) / float64(max(1, done)) * float64(time.Second))
	line := fmt.Sprintf("%s: %3d %%, %s, %s left", p.what, 100*done/max(1, total), p.rate(float64(done)/seconds), left.Round(time.Second))
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		p.drawn = true
	} else {
		fmt.Fprintln(p.w, line)
	}
}

// stop removes the line from a terminal.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.w = nil
}

// byteRate formats bytes per second.
func byteRate(perSecond float64) string { return fmt.Sprintf("%.2f GB/s", perSecond/1e9) }

// tokenRate formats tokens per second.
func tokenRate(perSecond float64) string { return fmt.Sprintf("%.0f tokens/s", perSecond) }

// tokenProgress returns what reports the steps of a model on its way through so
// many tokens, as if all of them moved on evenly.
func tokenProgress(p *progress, tokens int) func(done, total int) {
	return func(done, total int) {
		p.update(int64(done)*int64(tokens)/int64(total), int64(tokens))
	}
}
