package gguf

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// WriteOptions says how Write works. The zero value is one file, no
// overwriting, all cores.
type WriteOptions struct {
	// Overwrite allows replacing existing files.
	Overwrite bool
	// Threads is the number of rows' ranges that are read and written at the
	// same time, GOMAXPROCS if 0.
	Threads int
	// MaxBytes, if not 0, splits the output into several files with at most
	// this many bytes of tensor data each (a larger tensor gets a file of its
	// own), named as SplitPath does after the path without ".gguf".
	MaxBytes int64
	// Job, if not nil, describes what is written: what its bytes depend on besides
	// its header. A Write that is killed or whose ctx ends then leaves what it has
	// done beside the output, as OUT.partial and OUT.partial.journal, for a later one
	// to continue.
	Job []Fact
	// Resume continues what an earlier Write of the same Job has left, if there
	// is anything. Every chunk of it is checked against its checksum first.
	Resume bool
	// Restart, if set, is called with the reason when there is nothing that Resume
	// could continue.
	Restart func(reason string)
	// Shards, if not nil, splits the output into files with so many tensors
	// each, whatever their size.
	Shards []int
	// Progress, if set, is called after every written piece with the bytes of
	// tensor data done so far and in all. Calls may be concurrent.
	Progress func(done, total int64)
}

// chunkBytes is how much of a tensor is read and written at a time by each
// thread: at least one row, and about this much if rows are smaller. Memory
// is Threads times this plus what the Source needs for it.
const chunkBytes = 512 << 10

// chunkRows returns how many rows of a tensor are read at a time: a grain, or part of one
// that would take much.
func chunkRows(src Source, tensor int) int64 {
	const most = 16 * chunkBytes
	rowBytes := max(1, src.Tensors()[tensor].RowBytes())
	rows, grain := max(1, chunkBytes/rowBytes), Grain(src, tensor)
	if grain <= rows {
		return rows / grain * grain
	}
	for grain%2 == 0 && grain > rows && grain > most/rowBytes {
		grain /= 2
	}
	return grain
}

// Write writes src as a GGUF version 3 file at path and returns the paths
// written: one, or several where WriteOptions.MaxBytes splits it. Bytes do not
// depend on the number of threads.
//
// The output appears whole or not at all: it is written under temporary names
// in the same directory, synced, and renamed when everything is there. If ctx
// ends or anything fails, nothing is left behind, except for WriteOptions.Job
// when ctx ends. Package files says what may be replaced. The error wraps
// files.ErrInput if a path is one of the files that src reads, and files.ErrChanged
// if one of these was changed meanwhile.
func Write(ctx context.Context, path string, src Source, opts WriteOptions) (paths []string, err error) {
	parts := split(src, opts)
	if len(parts) > math.MaxUint16 {
		return nil, fmt.Errorf("%d files would be needed, at most %d are possible", len(parts), math.MaxUint16)
	}
	progress := progressMeter{report: opts.Progress}
	for _, t := range src.Tensors() {
		if err := t.Check(); err != nil {
			return nil, err
		}
		progress.total += t.Bytes()
	}
	var read []files.Input
	for _, in := range Inputs(src) {
		read = append(read, in.Input())
	}
	var targets []files.Target
	for i := range parts {
		p := path
		if len(parts) > 1 {
			p = SplitPath(strings.TrimSuffix(path, ".gguf"), i, len(parts))
		}
		target, err := files.NewTarget(p, opts.Overwrite, read...)
		if err != nil {
			return nil, err
		}
		paths, targets = append(paths, p), append(targets, target)
	}

	var outputs []*output
	defer func() {
		keep := opts.Job != nil && ctx.Err() != nil
		for _, o := range outputs {
			err = errors.Join(err, o.end(keep))
		}
		if err != nil {
			paths = nil
		}
	}()
	for i, part := range parts {
		head, offsets, err := encodeHeader(part.meta, part.tensors)
		if err != nil {
			return nil, err
		}
		o, err := newOutput(targets[i], head, part, opts)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, o)
		if err := part.write(ctx, o, head, offsets, src, opts.Threads, &progress); err != nil {
			return nil, fmt.Errorf("writing %s: %w", paths[i], err)
		}
		if err := o.Sync(); err != nil { // so that it does not fail when some files have their names
			return nil, fmt.Errorf("writing %s: %w", paths[i], err)
		}
	}
	if err := Unchanged(src); err != nil {
		return nil, err
	}
	for i, o := range outputs {
		if err := o.Publish(); err != nil {
			for j, done := range outputs[:i] {
				if !done.Replaces() {
					err = errors.Join(err, os.Remove(targets[j].Path))
				}
			}
			return nil, fmt.Errorf("writing %s: %w", paths[i], err)
		}
	}
	return paths, nil
}

// part is the share of a source that goes into one file: tensors
// [first, first+len(tensors)).
type part struct {
	src     Source
	meta    *Metadata
	first   int
	tensors []TensorInfo
}

// has reports whether c is one of the chunks that the part is written in.
func (p part) has(c chunk) bool {
	if c.tensor < 0 || c.tensor >= len(p.tensors) {
		return false
	}
	t := p.tensors[c.tensor]
	rows := chunkRows(p.src, p.first+c.tensor)
	return c.first >= 0 && c.first < t.Rows() && c.first%rows == 0 && c.n == min(rows, t.Rows()-c.first)
}

// split cuts the source into parts. The first part has the metadata and all
// have the split.* keys, as llama-gguf-split writes them.
func split(src Source, opts WriteOptions) []part {
	tensors := src.Tensors()
	shards := opts.Shards
	if shards == nil {
		shards = shardsOf(tensors, opts.MaxBytes)
	}
	var parts []part
	first := 0
	for _, n := range shards {
		parts = append(parts, part{src: src, meta: &Metadata{}, first: first, tensors: tensors[first : first+n]})
		first += n
	}
	if first != len(tensors) {
		panic(fmt.Sprintf("gguf: shards %v of %d tensors", shards, len(tensors)))
	}
	parts[0].meta = src.Metadata()
	if len(parts) == 1 {
		return parts
	}
	alignment, custom := src.Metadata().Get(keyAlignment)
	for i := range parts {
		parts[i].meta = parts[i].meta.Clone()
		if custom && i > 0 {
			parts[i].meta.Set(keyAlignment, alignment)
		}
		parts[i].meta.Set(keySplitNo, uint16(i))
		parts[i].meta.Set(keySplitCount, uint16(len(parts)))
		parts[i].meta.Set(keySplitTensors, int32(len(tensors)))
	}
	return parts
}

// shardsOf returns numbers of tensors that take at most maxBytes together, or all
// if that is 0.
func shardsOf(tensors []TensorInfo, maxBytes int64) []int {
	shards := []int{0}
	size := int64(0)
	for _, t := range tensors {
		last := &shards[len(shards)-1]
		if maxBytes > 0 && *last > 0 && size+t.Bytes() > maxBytes {
			shards = append(shards, 0)
			last = &shards[len(shards)-1]
			size = 0
		}
		size += t.Bytes()
		*last++
	}
	return shards
}

// write fills o with the part of src. Every chunk of rows has its place in
// the file, so chunks of many tensors are under way at once.
func (p part) write(ctx context.Context, o *output, head []byte, offsets []int64, src Source, threads int, progress *progressMeter) error {
	// The header comes first, since by it a later run knows the file.
	if _, err := o.WriteAt(head, 0); err != nil {
		return err
	}
	if err := allocate(o.File, offsets[len(p.tensors)]); err != nil {
		return err
	}
	if o.resumed() { // else they are zeros
		for i, t := range p.tensors {
			end := offsets[i] + t.Bytes()
			if _, err := o.WriteAt(make([]byte, offsets[i+1]-end), end); err != nil {
				return err
			}
		}
	}
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	var buffers sync.Pool
	group, working := errgroup.WithContext(ctx)
	group.SetLimit(threads)
	for i, t := range p.tensors {
		rowBytes := t.RowBytes()
		rows := chunkRows(src, p.first+i)
		for first := int64(0); first < t.Rows() && working.Err() == nil; first += rows {
			n := min(rows, t.Rows()-first)
			group.Go(func() error {
				if err := working.Err(); err != nil {
					return err
				}
				buf, _ := buffers.Get().(*[]byte)
				if buf == nil || int64(cap(*buf)) < n*rowBytes {
					b := make([]byte, n*rowBytes)
					buf = &b
				}
				defer buffers.Put(buf)
				data := (*buf)[:n*rowBytes]
				err := o.fill(chunk{i, first, n}, offsets[i]+first*rowBytes, data, func() error {
					return src.ReadRows(data, p.first+i, first, n)
				})
				if err == nil {
					progress.add(int64(len(data)))
				}
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// progressMeter counts bytes from many goroutines.
type progressMeter struct {
	done   atomic.Int64
	total  int64
	report func(done, total int64)
}

func (p *progressMeter) add(n int64) {
	done := p.done.Add(n)
	if p.report != nil {
		p.report(done, p.total)
	}
}
