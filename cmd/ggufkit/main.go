// Command ggufkit converts checkpoints to GGUF, quantizes them as
// llama-quantize does, and measures what quantizing cost.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/ggufkit/ggufkit/quant/isa"
)

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }

// Exit codes, part of the command-line contract.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// run runs the command line and returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	defer stop()
	results := &resultWriter{Writer: stdout}
	app := newApp(results, stderr)
	err := isa.Err()
	if err != nil {
		err = usageError{error: err}
	} else {
		err = app.RunContext(ctx, flagsFirst(app, args))
	}
	if err == nil && results.err != nil {
		err = fmt.Errorf("writing the results: %w", results.err)
	}
	if err == nil {
		return exitDone
	}
	fmt.Fprintln(stderr, "ggufkit:", err)
	if usage := (usageError{}); errors.As(err, &usage) {
		if usage.command != "" {
			fmt.Fprintf(stderr, "See 'ggufkit %s --help'.\n", usage.command)
		}
		return exitUsage
	}
	return exitFailed
}

// endings returns the signals that end the work in order. A program that nohup
// started goes on when its terminal is gone.
func endings() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}
