package eval

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ggufkit/ggufkit/gguf"
)

// Lines are the answers of a run in one file that people can read: first a line that says of which run, then one of
// each document as soon as it is answered. A line that was not written to its end is as if it were not there.
type Lines struct {
	// File is open for reading and writing. It is the caller's to lock and to close.
	File *os.File
	// Facts are what the answers depend on, beside what is asked.
	Facts []gguf.Fact
	// Restart forgets the answers of another run; without it they are an error.
	Restart bool

	documents map[lineKey]json.RawMessage
}

// ErrOtherRun means that a file has the answers of another run.
var ErrOtherRun = errors.New("the answers are of a run with another model, other data or other flags")

// lineKey names a document of a run.
type lineKey struct {
	Task string `json:"task"`
	Doc  int    `json:"doc"`
}

// linesHeader is the first line.
type linesHeader struct {
	Format int    `json:"ggufkit_eval_answers"`
	Run    string `json:"run"` // SHA-256 of all that the answers depend on
}

const linesFormat = 2

type line struct {
	lineKey
	Answers json.RawMessage `json:"answers"` // as keptAnswer, of each model
}

func (a *asked) lineKey() lineKey { return lineKey{a.task.Name, a.number} }

// recall takes over the answers that are there.
func (l *Lines) recall(r *run) error {
	if err := l.open(append(l.Facts, r.facts()...)); err != nil {
		return fmt.Errorf("%s: %w", l.File.Name(), err)
	}
	for _, a := range r.docs {
		known, ok := l.documents[a.lineKey()]
		if !ok {
			continue
		}
		if err := a.read(known); err != nil {
			return fmt.Errorf("%s: %w: %s, document %d: %w", l.File.Name(), gguf.ErrCorrupt, a.task.Name, a.number, err)
		}
		a.left = 0
		r.done++
	}
	return nil
}

// open reads what there is of a run, and makes ready to add to it.
func (l *Lines) open(facts []gguf.Fact) error {
	text, err := json.Marshal(facts)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	header := linesHeader{linesFormat, hex.EncodeToString(sum[:])}
	l.documents = make(map[lineKey]json.RawMessage)
	end, err := l.read(header)
	if errors.Is(err, ErrOtherRun) && l.Restart {
		end, err = 0, nil
	}
	if err != nil {
		return err
	}
	if err := l.File.Truncate(end); err != nil {
		return err
	}
	if _, err := l.File.Seek(end, io.SeekStart); err != nil {
		return err
	}
	if end == 0 {
		return l.write(header)
	}
	return nil
}

// read reads all whole lines, and returns where the last ends.
func (l *Lines) read(want linesHeader) (end int64, err error) {
	if _, err := l.File.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	r := bufio.NewReader(l.File)
	for n := 1; ; n++ {
		text, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if n == 1 && len(text) > 0 && text[0] != '{' {
				return 0, fmt.Errorf("%w: it has no answers, but something else", gguf.ErrUnsupported)
			}
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		if n == 1 {
			var header linesHeader
			if json.Unmarshal(text, &header) != nil || header.Format == 0 {
				return 0, fmt.Errorf("%w: it has no answers, but something else", gguf.ErrUnsupported)
			}
			if header != want {
				return 0, ErrOtherRun
			}
		} else {
			var of line
			if err := json.Unmarshal(text, &of); err != nil {
				return 0, fmt.Errorf("%w: line %d: %w", gguf.ErrCorrupt, n, err)
			}
			l.documents[of.lineKey] = of.Answers
		}
		end += int64(len(text))
	}
}

// keep adds the answers of a document.
func (l *Lines) keep(a *asked) error {
	answers, err := a.kept()
	if err != nil {
		return err
	}
	return l.write(line{a.lineKey(), answers})
}

// write appends a line, in one piece.
func (l *Lines) write(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = l.File.Write(append(text, '\n'))
	return err
}
