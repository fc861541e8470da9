package gguf

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// Fault is something that is wrong with how a file is laid out.
type Fault struct {
	Path   string
	Tensor string // "" if it is about none
	Offset int64  // in the file, -1 if it is about no place
	What   string
}

// Examine opens a file, or all of a split set, however broken: it returns all that is wrong with where things
// are, and what can be read all the same, nil if nothing can. Of a set any file may be named. Unlike Open, it also
// finds padding that is not zero and bytes that belong to nothing. The error is that of opening the file, nothing else.
func Examine(path string) (*File, []Fault, error) {
	x := &examination{}
	paths := SplitSet(path)
	f := &File{meta: &Metadata{}}
	missing := 0
	for i, p := range paths {
		err := x.shard(f, p, i)
		if err == nil {
			continue
		}
		if p == path {
			return nil, nil, errors.Join(err, f.Close())
		}
		const listed = 10
		if missing++; missing <= listed {
			x.fault(p, "", -1, "it is one of the set, but cannot be opened: %v", err)
		}
		if i == len(paths)-1 && missing > listed {
			x.fault(path, "", -1, "%d files of the set cannot be opened", missing)
		}
	}
	if len(f.shards) == 0 {
		return nil, x.faults, nil
	}
	x.set(f, path, len(paths))
	x.tensors(f)
	return f, x.faults, nil
}

type examination struct {
	faults []Fault
	count  int // of tensors in all headers
}

func (x *examination) fault(path, tensor string, offset int64, format string, args ...any) {
	x.faults = append(x.faults, Fault{path, tensor, offset, fmt.Sprintf(format, args...)})
}

// shard adds a file to the set, if its header can be read.
func (x *examination) shard(f *File, path string, number int) error {
	file, err := files.Open(path)
	if err != nil {
		return err
	}
	if interrupted(file) {
		x.fault(path, "", -1, "%v: 'ggufkit edit' of it brings it to its end", ErrInterrupted)
	}
	head, err := decodeFields(file, file.Size())
	if err != nil {
		x.fault(path, "", -1, "%v", err)
		return file.Close()
	}
	sh := shard{path: path, r: file, head: head, size: file.Size(), file: file}
	x.place(&sh)
	if number == 0 {
		f.meta = head.meta
	}
	f.shards = append(f.shards, sh)
	f.size += sh.size
	return nil
}

// span is a part of a file that holds something.
type span struct {
	tensor     string
	start, end int64
}

// place checks where the tensors of a file are, and drops those that are not there.
func (x *examination) place(sh *shard) {
	h := sh.head
	alignment := h.alignment
	var tensors []TensorInfo
	var offsets []int64
	spans := []span{{"", 0, h.end}}
	const far = 1 << 60 // beyond any file
	expected := int64(0)
	x.count += len(h.tensors)
	for i, t := range h.tensors {
		stored := h.offsets[i]
		if stored != expected && expected < far {
			x.fault(sh.path, t.Name, -1, "its data offset is %d, and %d by the sizes of the tensors before it", stored, expected)
		}
		if stored%alignment != 0 {
			x.fault(sh.path, t.Name, -1, "its data offset %d is no multiple of the alignment %d", stored, alignment)
		}
		// What follows is held against where this one is.
		expected = alignTo(min(stored, far)+min(t.Bytes(), far), alignment)
		if stored > sh.size-h.data || t.Bytes() > sh.size-h.data-stored {
			x.fault(sh.path, t.Name, h.data+min(stored, far), "its %d bytes are not there: the file ends at %d", t.Bytes(), sh.size)
			if stored < sh.size-h.data { // what is left of it is no padding
				spans = append(spans, span{t.Name, h.data + stored, sh.size})
			}
			continue
		}
		start := h.data + stored
		tensors, offsets = append(tensors, t), append(offsets, start)
		spans = append(spans, span{t.Name, start, start + t.Bytes()})
	}
	h.tensors, h.offsets = tensors, offsets
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	last := spans[0]
	for _, s := range spans[1:] {
		switch {
		case s.start < last.end && last.tensor == "":
			x.fault(sh.path, s.tensor, s.start, "it overlaps the header, which ends at %d", last.end)
		case s.start < last.end:
			x.fault(sh.path, s.tensor, s.start, "it overlaps tensor %q, which ends at %d", last.tensor, last.end)
		default:
			x.zeros(sh, last, s.start)
		}
		if s.end > last.end {
			last = s
		}
	}
	if len(spans) == 1 {
		return // without tensors nobody looks at what follows
	}
	end := alignTo(last.end, alignment)
	x.zeros(sh, last, min(end, sh.size))
	if sh.size > end {
		x.fault(sh.path, "", end, "%d bytes after the last tensor belong to nothing", sh.size-end)
	}
}

// zeros checks the padding from the end of something on.
func (x *examination) zeros(sh *shard, after span, to int64) {
	buf := make([]byte, 64<<10)
	for at := after.end; at < to; {
		n := min(int64(len(buf)), to-at)
		if _, err := sh.r.ReadAt(buf[:n], at); err != nil && !errors.Is(err, io.EOF) {
			x.fault(sh.path, after.tensor, at, "the padding cannot be read: %v", err)
			return
		}
		if i := bytes.IndexFunc(buf[:n], func(r rune) bool { return r != 0 }); i >= 0 {
			x.fault(sh.path, after.tensor, at+int64(i), "the padding after it is not zero")
			return
		}
		at += n
	}
}

// set checks that the files belong together, and leaves their split.* keys out.
func (x *examination) set(f *File, path string, named int) {
	first := f.shards[0].head.meta
	count, err := first.Uint(keySplitCount)
	if errors.Is(err, ErrNoKey) {
		if named > 1 {
			x.fault(f.shards[0].path, "", -1, "it does not say that it is one of %d split files, as its name does", named)
		}
		return
	}
	if err != nil {
		x.fault(f.shards[0].path, "", -1, "%v", err)
	}
	prefix := strings.TrimSuffix(SplitSet(path)[0], splitSuffix(0, named))
	for _, sh := range f.shards {
		if n, err := sh.head.meta.Uint(keySplitCount); count > 0 && (err != nil || n != uint64(named)) {
			x.fault(sh.path, "", -1, "%s is %s, and its name says %d", keySplitCount, uintText(n, err), named)
		}
		if n, err := sh.head.meta.Uint(keySplitNo); count > 0 && named > 1 && (err != nil || n > maxParts || SplitPath(prefix, int(n), named) != sh.path) {
			x.fault(sh.path, "", -1, "%s is %s, which is not what its name says", keySplitNo, uintText(n, err))
		}
	}
	if want, err := first.Uint(keySplitTensors); err == nil && want != uint64(x.count) && len(f.shards) == named {
		x.fault(f.shards[0].path, "", -1, "there are %d tensors, and %d are announced", x.count, want)
	}
	f.meta = f.meta.Clone()
	f.meta.DeleteSplit()
}

func uintText(n uint64, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(n)
}

// tensors lists those of all files, each name once.
func (x *examination) tensors(f *File) {
	in := make(map[string]string)
	for s, sh := range f.shards {
		for i, t := range sh.head.tensors {
			if other, dup := in[t.Name]; dup {
				x.fault(sh.path, t.Name, sh.head.offsets[i], "it is in %s, too", other)
				continue
			}
			in[t.Name] = sh.path
			f.tensors = append(f.tensors, t)
			f.where = append(f.where, location{s, sh.head.offsets[i]})
		}
	}
}
