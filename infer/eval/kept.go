package eval

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ggufkit/ggufkit/gguf"
)

// Kept are the answers of a run, in a file that grows with each document: first a line that says of which run, then one of
// each document. A line that was not written to its end is as if it were not there.
type Kept struct {
	// File is open for reading and writing. It is the caller's to lock and to close.
	File *os.File
	// Models tells the models, and how they compute, from all others.
	Models string
	// Restart forgets the answers of another run; without it they are an error.
	Restart bool

	documents map[key][][]Answer
}

// ErrOtherRun means that a file has the answers of another run.
var ErrOtherRun = errors.New("the answers are of a run with another model, other data or other flags")

// key names a document of a run.
type key struct {
	Task string `json:"task"`
	Doc  int    `json:"doc"`
}

// keptHeader is the first line.
type keptHeader struct {
	Format int    `json:"ggufkit_eval_answers"`
	Models string `json:"models"`
	Asked  string `json:"asked"` // SHA-256 of all that is asked
}

const keptFormat = 1

type keptLine struct {
	key
	Answers [][]Answer `json:"answers"`
}

// open reads what there is of a run that asks something, and makes ready to add to it.
func (k *Kept) open(asked string) error {
	k.documents = make(map[key][][]Answer)
	header := keptHeader{keptFormat, k.Models, asked}
	end, err := k.read(header)
	if errors.Is(err, ErrOtherRun) && k.Restart {
		end, err = 0, nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", k.File.Name(), err)
	}
	if err := k.File.Truncate(end); err != nil {
		return err
	}
	if _, err := k.File.Seek(end, io.SeekStart); err != nil {
		return err
	}
	if end == 0 {
		return k.write(header)
	}
	return nil
}

// read reads all whole lines, and returns where the last ends.
func (k *Kept) read(want keptHeader) (end int64, err error) {
	if _, err := k.File.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	r := bufio.NewReader(k.File)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if n == 1 && len(line) > 0 && line[0] != '{' {
				return 0, fmt.Errorf("%w: it has no answers, but something else", gguf.ErrUnsupported)
			}
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		if n == 1 {
			var header keptHeader
			if json.Unmarshal(line, &header) != nil || header.Format == 0 {
				return 0, fmt.Errorf("%w: it has no answers, but something else", gguf.ErrUnsupported)
			}
			if header != want {
				return 0, ErrOtherRun
			}
		} else {
			var l keptLine
			if err := json.Unmarshal(line, &l); err != nil {
				return 0, fmt.Errorf("%w: line %d: %w", gguf.ErrCorrupt, n, err)
			}
			k.documents[l.key] = l.Answers
		}
		end += int64(len(line))
	}
}

func (k *Kept) add(of key, answers [][]Answer) error { return k.write(keptLine{of, answers}) }

// write appends a line, in one piece.
func (k *Kept) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = k.File.Write(append(line, '\n'))
	return err
}
