package jinja

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// ErrLimit means that a template wants more time, memory or depth than a
// conversation can need.
var ErrLimit = errors.New("the template needs more than it is given")

// limits are what one rendering may use.
type limits struct {
	steps int // expressions, statements, elements and 64-byte pieces of text looked at
	bytes int // allocated, in all, for texts, lists and dicts
}

// enough is far more than real templates use: a long conversation takes some ten
// thousand steps. To use it up takes about a second.
var enough = limits{steps: 2_000_000, bytes: 64 << 20}

const (
	maxSource = 1 << 20 // bytes of a template
	maxText   = 4 << 20 // bytes of the text that it makes, about a million tokens
	maxDepth  = 1000    // expressions, statements, calls and values inside each other
	maxBits   = 1 << 16 // of an integer
	valueSize = 32      // bytes of an element of a list
	entrySize = 128     // bytes of an entry of a dict
)

// failure carries an error up to Parse or Render.
type failure struct{ error }

// fail ends the rendering.
func fail(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// budget counts what is used.
type budget struct {
	limits              limits
	ctx                 context.Context
	steps, bytes, depth int
}

// step counts n steps.
func (b *budget) step(n int) {
	const often = 1 << 10
	if (b.steps+n)/often != b.steps/often && b.ctx.Err() != nil {
		panic(failure{b.ctx.Err()})
	}
	if b.steps += n; n > b.limits.steps || b.steps > b.limits.steps {
		panic(failure{fmt.Errorf("%w: more than %d steps", ErrLimit, b.limits.steps)})
	}
}

// look counts the steps of looking through n bytes.
func (b *budget) look(n int) { b.step(1 + n/64) }

// alloc counts bytes before they are allocated.
func (b *budget) alloc(n int) {
	if n > b.limits.bytes || b.bytes+n > b.limits.bytes {
		panic(failure{fmt.Errorf("%w: more than %d MiB of memory", ErrLimit, b.limits.bytes>>20)})
	}
	b.bytes += n
	b.look(n)
}

// allocTimes counts n times size bytes; a negative n is 0.
func (b *budget) allocTimes(n, size int) {
	if n <= 0 || size <= 0 {
		return
	}
	if n > math.MaxInt/size {
		n, size = math.MaxInt, 1
	}
	b.alloc(n * size)
}

// enter goes one level deeper. leave comes back.
func (b *budget) enter() {
	if b.depth++; b.depth > maxDepth {
		panic(failure{fmt.Errorf("%w: nested more than %d deep", ErrLimit, maxDepth)})
	}
}

func (b *budget) leave() { b.depth-- }
