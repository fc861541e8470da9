package gguf

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// accept returns the parts whose files are not there as they would be written. WriteOptions.Accept is told of the others.
func accept(ctx context.Context, parts []*part, opts WriteOptions) (missing []*part, err error) {
	for _, p := range parts {
		if _, err := os.Lstat(p.path); err != nil {
			missing = append(missing, p)
			continue
		}
		same, err := p.isThere(ctx, opts.Threads)
		if err != nil {
			return nil, p.failed(err)
		}
		if !same {
			missing = append(missing, p)
			continue
		}
		if err := Tidy(p.path); err != nil {
			return nil, err
		}
		opts.Accept(p.path)
	}
	return missing, nil
}

// errDifferent ends a comparison.
var errDifferent = errors.New("it is another")

// isThere reports whether the file of the part has the bytes that would be written. It makes all of them, up to the first that differ.
func (p *part) isThere(ctx context.Context, n int) (bool, error) {
	head, offsets, err := p.header()
	if err != nil {
		return false, err
	}
	file, err := files.Open(p.path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if file.Size() != offsets[len(p.tensors)] {
		return false, nil
	}
	compare := func(want []byte, offset int64) error {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(io.NewSectionReader(file, offset, int64(len(got))), got); err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return errDifferent
		}
		return nil
	}
	err = compare(head, 0)
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(threads(n))
	for i, t := range p.tensors {
		end := offsets[i] + t.Bytes()
		err = errors.Join(err, compare(make([]byte, offsets[i+1]-end), end))
		step := chunkRows(p.src, p.first+i, t.RowBytes())
		for first := int64(0); err == nil && first < t.Rows() && working.Err() == nil; first += step {
			group.Go(func() error {
				rows := min(step, t.Rows()-first)
				data := make([]byte, rows*t.RowBytes())
				if err := p.src.ReadRows(data, p.first+i, first, rows); err != nil {
					return err
				}
				return compare(data, offsets[i]+first*t.RowBytes())
			})
		}
	}
	err = errors.Join(err, group.Wait(), ctx.Err())
	if errors.Is(err, errDifferent) {
		return false, nil
	}
	return err == nil, err
}
