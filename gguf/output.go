package gguf

import (
	"errors"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// output is a file that is being written: under a temporary name or, with
// WriteOptions.Job, under one that a later run finds.
type output struct {
	*files.Output
	journal *journal // nil if the work cannot be resumed
}

// newOutput creates the file of a part.
func newOutput(target files.Target, head []byte, p part, opts WriteOptions) (*output, error) {
	if opts.Job != nil {
		return openPartial(target, head, p, opts)
	}
	file, err := target.Create()
	return &output{Output: file}, err
}

// resumed reports whether there may be something in the file from an earlier run.
func (o *output) resumed() bool { return o.journal != nil && o.journal.done != nil }

// fill puts a chunk in its place in the file, unless an earlier run did. read
// fills data with it.
func (o *output) fill(c chunk, offset int64, data []byte, read func() error) error {
	if o.resumed() {
		if _, err := o.ReadAt(data, offset); err != nil {
			return err
		}
		if o.journal.has(c, data) {
			return nil
		}
	}
	if err := read(); err != nil {
		return err
	}
	if _, err := o.WriteAt(data, offset); err != nil {
		return err
	}
	if o.journal != nil {
		return o.journal.record(c, data)
	}
	return nil
}

// end removes what was not published and the journal. With keep, both stay for a
// later run.
func (o *output) end(keep bool) error {
	if o.journal == nil {
		return o.Discard()
	}
	if keep && !o.Published() {
		return errors.Join(o.Close(), o.journal.file.Close())
	}
	return errors.Join(o.Discard(), o.journal.remove())
}
