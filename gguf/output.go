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
	direct  bool     // whether chunks go past the cache of the system
}

// newOutput creates the file of a part.
func newOutput(head []byte, p *part, opts WriteOptions) (*output, error) {
	if opts.Job != nil {
		return openPartial(head, p, opts)
	}
	file, err := p.target.Create()
	if err != nil {
		return nil, err
	}
	return &output{Output: file, direct: p.direct}, nil
}

// resumed reports whether there may be something in the file from an earlier run.
func (o *output) resumed() bool { return o.journal != nil && o.journal.done != nil }

// has reports whether an earlier run put a chunk in its place in the file, and uses data to look.
func (o *output) has(c chunk, offset int64, data []byte) (bool, error) {
	if !o.resumed() {
		return false, nil
	}
	if _, err := o.ReadAt(data, offset); err != nil {
		return false, err
	}
	return o.journal.has(c, data), nil
}

// put puts a chunk in its place in the file.
func (o *output) put(c chunk, offset int64, data []byte) error {
	if err := o.write(data, offset); err != nil {
		return err
	}
	if o.journal != nil {
		return o.journal.record(c, data)
	}
	return nil
}

func (o *output) write(data []byte, offset int64) error {
	if o.direct {
		return o.WriteDirect(data, offset)
	}
	_, err := o.WriteAt(data, offset)
	return err
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
