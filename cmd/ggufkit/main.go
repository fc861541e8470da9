// Command ggufkit converts checkpoints to GGUF, quantizes them as
// llama-quantize does, and measures what quantizing cost.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant/isa"
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// Exit codes, part of the command-line contract. A signal that ends the work adds
// its number to exitSignal: 130 is Ctrl-C.
const (
	exitDone      = 0
	exitFailed    = 1
	exitUsage     = 2
	exitDifferent = 3
	exitSignal    = 128
)

// errDifferent is what a command ends with that has looked, said what it found, and found it not to be
// as it was to be.
var errDifferent = errors.New("different")

// run runs the command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := withSignals(context.Background())
	defer stop()
	results := &resultWriter{Writer: stdout, terminal: terminalOf(stdout) != nil}
	app := newApp(results, stderr)
	app.Metadata = map[string]any{commandKey: args}
	err := isa.Err()
	if err != nil {
		err = usageError{error: err}
	} else if args, err = flagsOnce(app, arrange(app, args)); err == nil {
		err = ended(ctx, func() error { return app.RunContext(ctx, args) })
	}
	if err == nil && results.err != nil {
		err = fmt.Errorf("writing the results: %w", results.err)
	}
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errDifferent):
		return exitDifferent
	}
	var cause ending
	signaled := errors.As(context.Cause(ctx), &cause)
	if signaled && errors.Is(err, context.Canceled) {
		err = cause
	}
	fmt.Fprintln(app.ErrWriter, "ggufkit:", display.Message(err.Error()))
	if usage := (usageError{}); errors.As(err, &usage) {
		fmt.Fprintln(app.ErrWriter, usage.hint())
		return exitUsage
	}
	if signaled {
		return exitSignal + cause.number()
	}
	return exitFailed
}

// ended runs work until it has ended. After a signal it waits for that only a
// moment: what reads from a pipe that nobody writes to cannot be cancelled. Files
// that are being written then stay under their temporary names, as after a kill.
func ended(ctx context.Context, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		return context.Cause(ctx)
	}
}

// patience is how long work may take to end after a signal.
const patience = 1500 * time.Millisecond
