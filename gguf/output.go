package gguf

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// output is a file that is written under another name until it is whole.
type output struct {
	file    *os.File // nil when it has its name
	journal *journal // nil if the work cannot be resumed
}

// newOutput creates the file that becomes path. With WriteOptions.Job it has a
// name that a later run finds; the header is part of what tells whether that run
// does the same work.
func newOutput(path string, head []byte, opts WriteOptions) (*output, error) {
	if opts.Job == "" {
		// Not os.CreateTemp, whose files only their owner may read.
		name := fmt.Sprintf(".%s.tmp-%08x", filepath.Base(path), rand.Uint32())
		f, err := os.OpenFile(filepath.Join(filepath.Dir(path), name), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		return &output{file: f}, err
	}
	title := fmt.Sprintf("ggufkit journal 1: header %x, job %q", sha256.Sum256(head), opts.Job)
	partial := path + ".partial"
	j, err := openJournal(partial+".journal", title, opts.Resume)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(partial, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, errors.Join(err, j.file.Close())
	}
	return &output{f, j}, nil
}

// fill puts a chunk in its place in the file, unless an earlier run did. read
// fills data with it.
func (o *output) fill(c chunk, offset int64, data []byte, read func() error) error {
	if o.journal != nil && len(o.journal.done) > 0 {
		if _, err := o.file.ReadAt(data, offset); err != nil {
			return err
		}
		if o.journal.has(c, data) {
			return nil
		}
	}
	if err := read(); err != nil {
		return err
	}
	if _, err := o.file.WriteAt(data, offset); err != nil {
		return err
	}
	if o.journal != nil {
		return o.journal.record(c, data)
	}
	return nil
}

// publish closes the file and gives it its name.
func (o *output) publish(path string) error {
	if err := o.file.Close(); err != nil {
		return err
	}
	if err := os.Rename(o.file.Name(), path); err != nil {
		return err
	}
	o.file = nil
	return nil
}

// discard removes what publish has not named, or keeps it for a later run, and
// the journal of what it has.
func (o *output) discard(keep bool) error {
	var errs []error
	unnamed := o.file != nil
	if unnamed {
		// publish may have closed it already.
		if err := o.file.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
		if !keep {
			errs = append(errs, os.Remove(o.file.Name()))
		}
	}
	if o.journal != nil {
		errs = append(errs, o.journal.file.Close())
		if !keep || !unnamed {
			errs = append(errs, os.Remove(o.journal.file.Name()))
		}
	}
	return errors.Join(errs...)
}
