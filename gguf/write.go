package gguf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
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
	// Replace, if not nil, is a file that may be replaced although it is read. It is closed
	// before that.
	Replace *File
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
	// Share, if it is one of several, writes only some of the files.
	Share Share
	// Accept, if set, is called for each file that is there already and is what would be written, which is compared; it is left as it
	// is, whether it may be overwritten or not.
	Accept func(path string)
	// Seal, if set, is called with the SHA-256 of every file, in hexadecimal, when all are whole and on the
	// disk, before any has its name. Its error is that of Write.
	Seal func(path, sha256 string) error
	// Progress, if set, is called after every written piece with the bytes of
	// tensor data done so far and in all. Calls may be concurrent.
	Progress func(done, total int64)
}

// Destination is a place for a Source. Overwrite allows replacing files that are there, as
// WriteOptions.Overwrite does for all.
type Destination struct {
	Path      string
	Source    Source
	Overwrite bool
}

// chunkBytes is how much of a tensor is read and written at a time by each
// thread: at least one row, and about this much if rows are smaller. Memory
// is Threads times this plus what the Source needs for it.
const chunkBytes = 512 << 10

// batchChunks is how many times that is read and written at a time of several Sources together.
const batchChunks = 16

// chunkRows returns how many rows of a tensor are read at a time, if one takes so many bytes
// in what is written: a grain, or part of one that would take much.
func chunkRows(src Source, tensor int, rowBytes int64) int64 {
	const most = 16 * chunkBytes
	rowBytes = max(1, rowBytes)
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
	all, err := WriteAll(ctx, []Destination{{Path: path, Source: src}}, opts)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// WriteAll writes several Sources side by side, as Write does each, and returns the paths
// written for each. What tensors of Combiners have in common is read once for all of them.
// Each thread has two chunks of about 8 MiB under way, and as much may wait to be hashed. Where the system can, chunks of several Sources
// are written past its cache, for which they would be too many.
//
// The files get their names when all are whole. If one cannot get its name, the
// others do nevertheless.
func WriteAll(ctx context.Context, destinations []Destination, opts WriteOptions) ([][]string, error) {
	var all [][]*part // of each destination
	for _, d := range destinations {
		parts, err := split(d, opts)
		if err != nil {
			return nil, err
		}
		all = append(all, parts)
	}
	return writeParts(ctx, all, opts)
}

// writeParts writes the parts of several Sources as WriteAll does.
func writeParts(ctx context.Context, all [][]*part, opts WriteOptions) (paths [][]string, err error) {
	progress := progressMeter{report: opts.Progress}
	var parts []*part
	for i, own := range all {
		var names []string
		for _, p := range own {
			names = append(names, p.path)
		}
		paths = append(paths, names)
		if opts.Accept != nil {
			if own, err = accept(ctx, own, opts); err != nil {
				return nil, err
			}
			all[i] = own
		}
		if err := aim(own, opts); err != nil {
			return nil, err
		}
		parts = append(parts, own...)
		for _, p := range own {
			p.direct = len(all) > 1 // more than anybody reads again soon
			for _, t := range p.tensors {
				if err := t.Check(); err != nil {
					return nil, err
				}
				progress.total += t.Bytes()
			}
		}
	}
	batches := batchesOf(parts)
	defer func() {
		keep := opts.Job != nil && ctx.Err() != nil
		for _, p := range parts {
			if p.out != nil {
				err = errors.Join(err, p.out.end(keep))
			}
		}
		if err != nil {
			paths = nil
		}
	}()
	for _, p := range parts {
		if err := p.begin(opts); err != nil {
			return nil, err
		}
	}
	if err := writeBatches(ctx, batches, opts.Threads, &progress); err != nil {
		return nil, err
	}
	for _, p := range parts { // so that it does not fail when some files have their names
		if err := p.out.Sync(); err != nil {
			return nil, p.failed(err)
		}
	}
	if err := seal(ctx, parts, opts); err != nil {
		return nil, err
	}
	for _, own := range all {
		if len(own) == 0 {
			continue
		}
		if err := Unchanged(own[0].src); err != nil {
			return nil, err
		}
	}
	if opts.Replace != nil {
		if err := opts.Replace.Close(); err != nil {
			return nil, err
		}
	}
	for _, own := range all {
		err = errors.Join(err, publish(own))
	}
	return paths, err
}

// threads returns how many are meant by WriteOptions.Threads.
func threads(n int) int {
	if n <= 0 {
		return runtime.GOMAXPROCS(0)
	}
	return n
}

// seal calls WriteOptions.Seal for all parts.
func seal(ctx context.Context, parts []*part, opts WriteOptions) error {
	for _, p := range parts {
		if p.sum == nil {
			continue
		}
		sum, err := p.sum.of(ctx, p.out, p.offsets[len(p.tensors)])
		if err == nil {
			err = opts.Seal(p.path, sum)
		}
		if err != nil {
			return p.failed(err)
		}
	}
	return nil
}

// publish gives the parts of a Source their names, all of them or none.
func publish(parts []*part) error {
	for i, p := range parts {
		err := p.out.Publish()
		if err == nil {
			continue
		}
		for _, done := range parts[:i] {
			if !done.out.Replaces() {
				err = errors.Join(err, os.Remove(done.target.Path))
			}
		}
		return p.failed(err)
	}
	return nil
}

// part is the share of a source that goes into one file: tensors
// [first, first+len(tensors)).
type part struct {
	src  Source
	path string
	// overwrite is that of the Destination.
	overwrite bool
	target    files.Target
	meta      *Metadata
	first     int
	tensors   []TensorInfo
	padding   int64   // if not 0, the alignment of the end of a header without tensors
	rows      []int64 // of a chunk of each tensor
	offsets   []int64 // of each tensor, and where the file ends
	direct    bool    // whether its bytes go past the cache of the system
	out       *output
	sum       *sum // nil if nobody asks for it
}

// failed says that writing the part failed.
func (p *part) failed(err error) error { return fmt.Errorf("writing %s: %w", p.path, err) }

// has reports whether c is one of the chunks that the part is written in.
func (p *part) has(c chunk) bool {
	if c.tensor < 0 || c.tensor >= len(p.tensors) {
		return false
	}
	t, rows := p.tensors[c.tensor], p.rows[c.tensor]
	return c.first >= 0 && c.first < t.Rows() && c.first%rows == 0 && c.n == min(rows, t.Rows()-c.first)
}

// header returns the header of the part's file, padded, and what encodeHeader says of offsets.
func (p *part) header() (head []byte, offsets []int64, err error) {
	head, offsets, err = encodeHeader(p.meta, p.tensors)
	if err != nil {
		return nil, nil, err
	}
	if p.padding > 0 && len(p.tensors) == 0 {
		offsets[0] = alignTo(int64(len(head)), p.padding)
	}
	return padTo(head, offsets[0]), offsets, nil
}

// aim finds the places of the parts of a Source.
func aim(parts []*part, opts WriteOptions) (err error) {
	if len(parts) == 0 {
		return nil
	}
	var read []files.Input
	for _, in := range Inputs(parts[0].src) {
		if opts.Replace == nil || !slices.Contains(opts.Replace.Inputs(), in) {
			read = append(read, in.Input()...)
		}
	}
	for _, p := range parts {
		if p.target, err = files.NewTarget(p.path, opts.Overwrite || p.overwrite, read...); err != nil {
			return err
		}
	}
	return nil
}

// begin creates the file of a part, with its header and room for the rest.
func (p *part) begin(opts WriteOptions) error {
	head, offsets, err := p.header()
	if err != nil {
		return err
	}
	p.offsets = offsets
	if p.out, err = newOutput(head, p, opts); err != nil {
		return err
	}
	// The header comes first, since by it a later run knows the file.
	if _, err := p.out.WriteAt(head, 0); err != nil {
		return p.failed(err)
	}
	if err := allocate(p.out.File, offsets[len(p.tensors)]); err != nil {
		return p.failed(err)
	}
	if opts.Seal != nil {
		p.sum = newSum(int64(ahead*threads(opts.Threads)) * batchChunks * chunkBytes)
		p.sum.add(head, 0)
		for i, t := range p.tensors {
			end := offsets[i] + t.Bytes()
			p.sum.add(make([]byte, offsets[i+1]-end), end)
		}
	}
	if p.out.resumed() { // else they are zeros
		for i, t := range p.tensors {
			end := offsets[i] + t.Bytes()
			if _, err := p.out.WriteAt(make([]byte, offsets[i+1]-end), end); err != nil {
				return p.failed(err)
			}
		}
	}
	return nil
}

// hash takes down what was written.
func (p *part) hash(data []byte, offset int64) {
	if p.sum != nil {
		p.sum.add(data, offset)
	}
}

// batch is a tensor of one part, or several that are made of the same rows and are written
// together.
type batch struct {
	of   []place
	rows int64 // of a chunk
}

// place is where a tensor is written.
type place struct {
	part   *part
	tensor int // of the part
}

func (p place) info() TensorInfo { return p.part.tensors[p.tensor] }

// batchesOf returns all tensors of the parts, in their order, those of Combiners with the others
// that are made of the same. It sets the rows of chunks, which are the same in a batch.
func batchesOf(parts []*part) []*batch {
	var batches []*batch
	together := make(map[madeOf]*batch)
	for _, p := range parts {
		for i := range p.tensors {
			b := &batch{}
			if of, ok := combines(p.src, p.first+i); !ok {
				batches = append(batches, b)
			} else if together[of] != nil {
				b = together[of]
			} else {
				batches, together[of] = append(batches, b), b
			}
			b.of = append(b.of, place{p, i})
		}
	}
	for _, b := range batches {
		rowBytes := int64(0)
		for _, at := range b.of {
			rowBytes += at.info().RowBytes()
		}
		if len(b.of) > 1 { // small pieces of many files cost the system more than large ones
			rowBytes = max(1, rowBytes/batchChunks)
		}
		b.rows = chunkRows(b.of[0].part.src, b.of[0].part.first+b.of[0].tensor, rowBytes)
		for _, at := range b.of {
			at.part.rows[at.tensor] = b.rows
		}
	}
	return batches
}

// writer is what chunks have in common.
type writer struct {
	buffers  sync.Pool
	compute  chan struct{} // has room for as many chunks as are made at once, while others wait for the disk
	progress *progressMeter
}

// ahead is how many chunks are under way for each thread: one is made, another written.
const ahead = 2

// writeBatches fills all files. Every chunk of rows has its place in its file, so chunks of many
// tensors are under way at once. None begins before all but the last few are done, so that whoever hashes them need not keep many.
func writeBatches(ctx context.Context, batches []*batch, n int, progress *progressMeter) error {
	n = threads(n)
	w := &writer{compute: make(chan struct{}, n), progress: progress}
	group, working := errgroup.WithContext(ctx)
	underWay := make(chan chan struct{}, ahead*n-1) // closed when done, in their order
	for _, b := range batches {
		rows := b.of[0].info().Rows()
		for first := int64(0); first < rows && working.Err() == nil; first += b.rows {
			done := make(chan struct{})
			group.Go(func() error {
				defer close(done)
				return w.write(working, b, first, min(b.rows, rows-first))
			})
			for len(underWay) == cap(underWay) {
				<-<-underWay
			}
			underWay <- done
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// write puts rows [first, first+n) of a batch in their places in the files, but for those that an earlier run
// has put there.
func (w *writer) write(ctx context.Context, b *batch, first, n int64) error {
	size := int64(0)
	for _, at := range b.of {
		size += n*at.info().RowBytes() + int64(os.Getpagesize())
	}
	buf, _ := w.buffers.Get().(*[]byte)
	if buf == nil || int64(cap(*buf)) < size {
		b := make([]byte, size)
		buf = &b
	}
	defer w.buffers.Put(buf)
	missing, reads, err := w.make(ctx, b, first, n, (*buf)[:size])
	if err != nil {
		return err
	}
	for i, at := range missing {
		if err := at.part.out.put(chunk{at.tensor, first, n}, at.offset(first), reads[i].Dst); err != nil {
			return at.part.failed(err)
		}
		w.progress.add(int64(len(reads[i].Dst)))
	}
	return nil
}

// make makes rows [first, first+n) of a batch in a buffer, and returns those that have to be written.
func (w *writer) make(ctx context.Context, b *batch, first, n int64, buf []byte) (missing []place, reads []Read, err error) {
	w.compute <- struct{}{}
	defer func() { <-w.compute }()
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	for _, at := range b.of {
		bytes := n * at.info().RowBytes()
		buf = files.Aligned(buf, at.offset(first))
		data := buf[:bytes:bytes]
		buf = buf[bytes:]
		done, err := at.part.out.has(chunk{at.tensor, first, n}, at.offset(first), data)
		if err != nil {
			return nil, nil, at.part.failed(err)
		}
		if done {
			at.part.hash(data, at.offset(first))
			w.progress.add(bytes)
			continue
		}
		missing, reads = append(missing, at), append(reads, Read{at.part.src, at.part.first + at.tensor, data})
	}
	if err := readTogether(reads, first, n); err != nil {
		return nil, nil, missing[0].part.failed(err)
	}
	for i, at := range missing {
		at.part.hash(reads[i].Dst, at.offset(first))
	}
	return missing, reads, nil
}

// offset returns where in the file a row is.
func (p place) offset(row int64) int64 { return p.part.offsets[p.tensor] + row*p.info().RowBytes() }

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
