package main

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/ggufkit/ggufkit/infer/display"
)

// progress reports how far long work is, with its rate and the time left: as
// a line that is redrawn on a terminal, as a log line now and then elsewhere.
type progress struct {
	mu   sync.Mutex
	w    io.Writer // nil reports nothing
	what string
	rate func(perSecond float64) string // nil: it is not known of what how much is done
	// at says where the work is, or more about it, if it is not nil.
	at      func(done int64) string
	console *console // nil elsewhere than on a terminal
	start   time.Time
	last    time.Time
}

// console is standard error. What is written to it replaces the line that progress
// has drawn, and its control characters are escaped.
type console struct {
	io.Writer
	mu    sync.Mutex
	drawn bool
}

// eraseLine is what terminals take for going back to the start of the line and
// erasing it.
const eraseLine = "\r\x1b[K"

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.eraseLocked()
	if _, err := c.Writer.Write(display.Visible(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// draw shows a line, cut to the width of the terminal, in place of that before.
func (c *console) draw(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if width := lineWidth(c.Writer); width > 0 {
		line = text.Trim(line, width-1) // some wrap after the last column
	}
	fmt.Fprint(c.Writer, eraseLine, line)
	c.drawn = true
}

// erase removes the line that was drawn.
func (c *console) erase() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.eraseLocked()
}

func (c *console) eraseLocked() {
	if c.drawn {
		fmt.Fprint(c.Writer, eraseLine)
		c.drawn = false
	}
}

const (
	redrawEvery = 100 * time.Millisecond
	logEvery    = 10 * time.Second
)

// newProgress starts reporting what is being done. rate formats the speed in
// the units that update is called with; it may be nil.
func newProgress(c *call, what string, rate func(perSecond float64) string) *progress {
	p := &progress{what: what, rate: rate, start: time.Now(), last: time.Now()}
	if !c.progress {
		return p
	}
	p.w = c.stderr
	if console, ok := p.w.(*console); ok && terminalOf(console) != nil {
		p.console = console
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
	if p.console != nil {
		every = redrawEvery
	}
	if now.Sub(p.last) < every {
		return
	}
	p.last = now
	seconds := now.Sub(p.start).Seconds()
	left := time.Duration(seconds * float64(total-done) / float64(max(1, done)) * float64(time.Second))
	line := fmt.Sprintf("%s: %3d %%", p.what, 100*done/max(1, total))
	if p.rate != nil {
		line += ", " + p.rate(float64(done)/seconds)
	}
	line += fmt.Sprintf(", %s left", left.Round(time.Second))
	if p.at != nil {
		line += ", " + p.at(done)
	}
	if p.console != nil {
		p.console.draw(line)
	} else {
		fmt.Fprintln(p.w, line)
	}
}

// stop removes the line from a terminal.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.console != nil {
		p.console.erase()
	}
	p.w = nil
}

// reading returns a counter for infer.Options.Read, and has progress say what was read of weights, and how fast.
func (p *progress) reading() *atomic.Int64 {
	read := new(atomic.Int64)
	p.at = func(int64) string {
		bytes := read.Load()
		return fmt.Sprintf("%s of weights read, %s", display.Bytes(bytes), display.ByteRate(float64(bytes)/time.Since(p.start).Seconds()))
	}
	return read
}

// tokenProgress returns what reports the steps of a model on its way through so
// many tokens, as if all of them moved on evenly.
func tokenProgress(p *progress, tokens int) func(done, total int) {
	return func(done, total int) {
		p.update(int64(done)*int64(tokens)/int64(total), int64(tokens))
	}
}
