// Command bench measures what docs/benchmarks.md has in tables. It prints them, or puts them there:
//
//	go run ./docs/bench                                    all tables
//	go run ./docs/bench -update quantize reading           two of them, in docs/benchmarks.md
//	go run ./docs/bench -peers /usr/bin -threads 2 score   with llama.cpp's tools beside ours
//	go run ./docs/bench -short                             a small model once: does it work?
//
// Models are made of random weights, in -dir, where they stay. Commands that are compared take turns, and figures are
// medians of -runs. What is measured runs on -threads cores; taskset -c 1 keeps the one at its place. With -peers,
// llama-quantize, llama-perplexity, llama-bench and convert_hf_to_gguf.py are looked for in a directory, and a table has
// the columns of those that are there. GNU time has to be in /usr/bin.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// tables are what can be measured, in the order of the page.
var tables = []struct {
	name    string
	measure func(*bench) (table, error)
}{
	{"convert", convert}, {"recipe", recipe}, {"transcode", transcode}, {"unpacking", unpacking}, {"quantize", quantize}, {"model", quantizeModel}, {"reading", reading},
	{"score", score}, {"families", scoreFamilies}, {"memory", memory}, {"drift", drift}, {"generate", generate},
}

func run(ctx context.Context) (err error) {
	b := bench{ctx: ctx, shape: mixtral}
	flag.StringVar(&b.dir, "dir", "", "where models are made and stay; default: a temporary directory")
	flag.StringVar(&b.program, "ggufkit", "", "the program to measure; default: that of this source")
	flag.StringVar(&b.peers, "peers", "", "directory with llama.cpp's tools")
	flag.StringVar(&b.ggml, "ggml", "", "path of libggml-base.so, for the table quantize")
	flag.StringVar(&b.types, "types", "", "only these types, separated by commas")
	flag.IntVar(&b.runs, "runs", 3, "how often each command runs")
	flag.IntVar(&b.threads, "threads", 1, "threads of each command")
	flag.IntVar(&b.layers, "layers", 8, "layers of the models of the tables transcode and unpacking, which have 32 in full")
	short := flag.Bool("short", false, "a small model, once")
	update := flag.Bool("update", false, "put the tables into docs/benchmarks.md")
	flag.Parse()
	if *short {
		b.shape, b.runs = small, 1
	}
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "bench-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		b.dir = dir
	}
	if b.program == "" {
		b.program = filepath.Join(b.dir, "ggufkit")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", b.program, "./cmd/ggufkit").CombinedOutput(); err != nil {
			return fmt.Errorf("building ggufkit: %w: %s", err, out)
		}
	}
	wanted := flag.Args()
	if len(wanted) == 0 {
		for _, t := range tables {
			wanted = append(wanted, t.name)
		}
	}
	for _, name := range wanted {
		if err := b.table(name, *update); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// table measures one and prints it or puts it into the page.
func (b *bench) table(name string, update bool) error {
	for _, t := range tables {
		if t.name != name {
			continue
		}
		measured, err := t.measure(b)
		if err != nil {
			return err
		}
		machine, err := b.machine()
		if err != nil {
			return err
		}
		options := fmt.Sprintf("-threads %d", b.threads)
		if name == "transcode" || name == "unpacking" {
			options += fmt.Sprintf(", -layers %d", b.layers)
		}
		text := fmt.Sprintf("%s, %s, %s, medians of %d.\n\n%s", time.Now().Format("2 January 2006"), machine, options, b.runs, measured)
		if !update {
			fmt.Printf("%s\n\n%s\n", name, text)
			return nil
		}
		const page = "docs/benchmarks.md"
		old, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		updated, err := replace(string(old), name, text)
		if err != nil {
			return fmt.Errorf("%s: %w", page, err)
		}
		return os.WriteFile(page, []byte(updated), 0o666)
	}
	return errors.New("no such table")
}

// replace puts text between the marks of a table.
func replace(page, name, text string) (string, error) {
	before, rest, ok := strings.Cut(page, mark(name))
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return "", fmt.Errorf("there is no place between %s and %s", mark(name), endMark)
	}
	return before + mark(name) + "\n" + text + endMark + after, nil
}

const endMark = "<!-- end -->"

func mark(name string) string { return "<!-- go run ./docs/bench " + name + " -->" }

// table is a table of Markdown: the first row has the names of the columns.
type table [][]string

func (t *table) add(cells ...string) { *t = append(*t, cells) }

func (t table) String() string {
	var b strings.Builder
	for i, row := range t {
		line := "|"
		for _, cell := range row {
			line += " " + cell + " |"
		}
		b.WriteString(strings.ReplaceAll(line, "|  |", "| |") + "\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}
