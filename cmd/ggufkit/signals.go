package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// ending is a signal that ends the work in order. As an error it says so: Ctrl-C
// is "interrupted".
type ending struct{ os.Signal }

func (e ending) Error() string {
	if e.Signal == os.Interrupt {
		return "interrupted"
	}
	return "ended by a signal: " + e.String()
}

// number is what the system calls the signal.
func (e ending) number() int {
	n, _ := e.Signal.(syscall.Signal)
	return int(n)
}

// withSignals returns a context that the first signal to end ends, with an ending
// as the cause. The second one kills the process at once. What the process was
// told to ignore when it started, it goes on to ignore: with nohup it outlives its
// terminal.
func withSignals(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	stop = func() {
		signal.Stop(signals)
		cancel(nil)
	}
	go func() {
		select {
		case s := <-signals:
			signal.Stop(signals)
			cancel(ending{s})
		case <-ctx.Done():
		}
	}()
	return ctx, stop
}
