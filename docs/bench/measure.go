package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// bench is how to measure.
type bench struct {
	ctx                              context.Context
	dir, program, peers, ggml, types string
	runs, threads, layers            int
	shape                            shape
}

// cost is what a command took: seconds, seconds of CPU time, bytes of memory at most.
type cost struct{ wall, cpu, peak float64 }

// seconds prints wall and CPU time, memory prints the peak.
func (c cost) seconds() []string { return []string{format(c.wall) + " s", format(c.cpu) + " s"} }

func (c cost) memory() string { return fmt.Sprintf("%.0f MB", c.peak/1e6) }

// over returns how many times more the other took.
func (c cost) over(other cost) []string {
	return []string{ratio(other.wall, c.wall), ratio(other.cpu, c.cpu), ratio(other.peak, c.peak)}
}

// written are the files that measured commands write, in -dir.
var written = []string{"out.gguf", "theirs.gguf"}

// measure runs commands in turn and returns what each took. None of them replaces a file, the
// room of which would have to be freed.
func (b *bench) measure(commands ...[]string) ([]cost, error) {
	all := make([][]cost, len(commands))
	for range b.runs {
		for i, command := range commands {
			for _, name := range written {
				if err := os.Remove(filepath.Join(b.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return nil, err
				}
			}
			c, _, err := b.run(command...)
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], c)
		}
	}
	costs := make([]cost, len(commands))
	for i, runs := range all {
		costs[i] = cost{
			median(runs, func(c cost) float64 { return c.wall }),
			median(runs, func(c cost) float64 { return c.cpu }),
			median(runs, func(c cost) float64 { return c.peak }),
		}
	}
	return costs, nil
}

// rates runs commands in turn, each of which prints JSON with a speed, and returns these.
func (b *bench) rates(commands ...rate) ([]float64, error) {
	all := make([][]float64, len(commands))
	for range b.runs {
		for i, r := range commands {
			_, out, err := b.run(r.command...)
			if err != nil {
				return nil, err
			}
			speed, err := r.speed(out)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.command, err)
			}
			all[i] = append(all[i], speed)
		}
	}
	speeds := make([]float64, len(commands))
	for i, runs := range all {
		speeds[i] = median(runs, func(v float64) float64 { return v })
	}
	return speeds, nil
}

// rate is a command and where its speed is in what it prints.
type rate struct {
	command []string
	speed   func(out []byte) (float64, error)
}

// run runs a command under GNU time, since what a program starts counts the memory of the program itself.
func (b *bench) run(command ...string) (cost, []byte, error) {
	took := filepath.Join(b.dir, "time")
	cmd := exec.CommandContext(b.ctx, "/usr/bin/time", append([]string{"-o", took, "-f", "%e %U %S %M"}, command...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return cost{}, nil, fmt.Errorf("%s: %w: %s", strings.Join(command, " "), err, stderr.Bytes()[max(0, stderr.Len()-1000):])
	}
	line, err := os.ReadFile(took)
	if err != nil {
		return cost{}, nil, err
	}
	var wall, user, system, kib float64
	if _, err := fmt.Sscan(string(line), &wall, &user, &system, &kib); err != nil {
		return cost{}, nil, fmt.Errorf("%s: %w", took, err)
	}
	return cost{wall, user + system, kib * 1024}, stdout.Bytes(), nil
}

// ours is a command of ggufkit.
func (b *bench) ours(args ...string) []string {
	return append([]string{b.program, "--threads", strconv.Itoa(b.threads), "--quiet", "--force"}, args...)
}

// peer is a tool of llama.cpp, nil if there is none.
func (b *bench) peer(name string, args ...string) []string {
	if b.peers == "" {
		return nil
	}
	path := filepath.Join(b.peers, name)
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	return append([]string{path}, args...)
}

// machine describes it as ggufkit sees it.
func (b *bench) machine() (string, error) {
	_, out, err := b.run(b.ours("version", "--json")...)
	if err != nil {
		return "", err
	}
	var v struct{ Version, CPU, ISA string }
	if err := json.Unmarshal(out, &v); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s (%s), ggufkit %s", cmp.Or(v.CPU, "a CPU without a name"), v.ISA, v.Version), nil
}

// selected returns the types asked for, or else those of a table.
func (b *bench) selected(types ...string) []string {
	if b.types != "" {
		return strings.Split(b.types, ",")
	}
	return types
}

func median[T any](runs []T, value func(T) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = value(r)
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// format has three digits, or one after the point, or all before it.
func format(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 1:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func ratio(a, b float64) string { return strconv.FormatFloat(a/b, 'f', 1, 64) }
