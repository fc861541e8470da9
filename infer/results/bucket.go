package results

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// bucket keeps results in a store that speaks S3's language, where nothing can be added to what is there: a file is its
// segments, each of which is an object. See the package.
type bucket struct {
	*remote.Bucket

	mu    sync.Mutex
	files map[string][]segment // of which a file is made, in order; as of the last List, and what was appended since
}

// segment is an object with bytes [from, to) of a file.
type segment struct{ from, to int64 }

func (s segment) of(name string) string { return fmt.Sprintf("%s.%d-%d", name, s.from, s.to) }

// parseSegment reads the name of an object. It is none of ours if ok is false.
func parseSegment(object string) (name string, s segment, ok bool) {
	i := strings.LastIndexByte(object, '.')
	if i < 0 {
		return "", s, false
	}
	n, err := fmt.Sscanf(object[i+1:], "%d-%d", &s.from, &s.to)
	name = object[:i]
	return name, s, err == nil && n == 2 && s.from >= 0 && s.from < s.to && s.of(name) == object
}

// with returns the segments of a file and one more, without those of which all bytes are in others.
func with(segments []segment, s segment) []segment {
	all := append(slices.Clone(segments), s)
	slices.SortFunc(all, func(a, b segment) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	end := int64(0)
	return slices.DeleteFunc(all, func(s segment) bool {
		covered := s.to <= end
		end = max(end, s.to)
		return covered
	})
}

// List implements files.Folder. It asks the store, and nothing that is appended meanwhile is forgotten.
func (b *bucket) List(below string) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	objects, err := b.Bucket.List(below)
	if err != nil {
		return nil, err
	}
	b.files = make(map[string][]segment)
	var names []string
	for _, object := range objects {
		name, s, ok := parseSegment(object)
		if !ok {
			continue
		}
		if b.files[name] == nil {
			names = append(names, name)
		}
		b.files[name] = with(b.files[name], s)
	}
	slices.Sort(names)
	return names, nil
}

func (b *bucket) segments(name string) []segment {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.files[name]
}

// Open implements files.Folder: the file is what was known of it when it was listed.
func (b *bucket) Open(name string) (*files.File, error) {
	segments := b.segments(name)
	if len(segments) == 0 {
		return nil, &fs.PathError{Op: "open", Path: b.Path(name), Err: fs.ErrNotExist}
	}
	return files.NewFile(b.Path(name), &joined{b, name, segments[len(segments)-1].to}), nil
}

// joined is a file of segments. It implements files.Object.
type joined struct {
	of   *bucket
	name string
	size int64
}

func (j *joined) Size() int64           { return j.size }
func (j *joined) Version() string       { return fmt.Sprintf("%d bytes", j.size) }
func (j *joined) Unchanged() error      { return nil }
func (j *joined) Close() error          { return nil }
func (j *joined) Prefetch(int64, int64) {}

// ReadAt implements io.ReaderAt. What no segment has is read as zeros, which are of no record.
func (j *joined) ReadAt(p []byte, off int64) (n int, err error) {
	if off >= j.size {
		return 0, io.EOF
	}
	if int64(len(p)) > j.size-off {
		p, err = p[:j.size-off], io.EOF
	}
	clear(p)
	for listed := false; n < len(p); {
		at := off + int64(n)
		segments := j.of.segments(j.name)
		i, _ := slices.BinarySearchFunc(segments, at, func(s segment, at int64) int { return cmp.Compare(s.to, at+1) })
		if i == len(segments) {
			break
		}
		s := segments[i]
		if s.from > at {
			n += int(min(s.from-at, int64(len(p)-n)))
			continue
		}
		most := int(min(s.to-at, int64(len(p)-n)))
		switch errSegment := j.read(p[n:n+most], s, at-s.from); {
		case errors.Is(errSegment, fs.ErrNotExist) && !listed: // whoever writes the file has merged it
			if _, err := j.of.List("."); err != nil {
				return n, err
			}
			listed = true
			continue
		case errSegment != nil && !errors.Is(errSegment, fs.ErrNotExist):
			return n, errSegment
		}
		n += most
	}
	return len(p), err
}

// read reads bytes of a segment, as many as it has.
func (j *joined) read(p []byte, s segment, off int64) error {
	f, err := j.of.Bucket.Open(s.of(j.name))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.ReadAt(p, off); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Create implements Storage.
func (b *bucket) Create(name string) (Log, error) {
	if len(b.segments(name)) > 0 {
		return nil, &fs.PathError{Op: "create", Path: b.Path(name), Err: fs.ErrExist}
	}
	return &segmentLog{of: b, name: name}, nil
}

// After so many segments, or so many bytes in them, they are merged to one.
const (
	mergedSegments = 64
	mergedBytes    = 8 << 20
)

// segmentLog writes a file of segments.
type segmentLog struct {
	of     *bucket
	name   string
	end    int64
	recent []segment // which are not merged yet
	data   []byte    // of these
}

// Append implements Log: what is added becomes an object.
func (l *segmentLog) Append(data []byte) error {
	s := segment{l.end, l.end + int64(len(data))}
	if err := l.put(s, data); err != nil {
		return err
	}
	l.end = s.to
	if len(data) >= mergedBytes { // it is large enough as it is
		l.merge() // those before it
		return nil
	}
	l.recent, l.data = append(l.recent, s), append(l.data, data...)
	if len(l.recent) == mergedSegments || len(l.data) >= mergedBytes {
		l.merge()
	}
	return nil
}

func (l *segmentLog) put(s segment, data []byte) error {
	if err := l.of.Put(s.of(l.name), data); err != nil {
		return err
	}
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if l.of.files == nil {
		l.of.files = make(map[string][]segment)
	}
	l.of.files[l.name] = with(l.of.files[l.name], s)
	return nil
}

// merge makes one segment of the recent ones. It may fail, and what it replaces may stay: then there are more objects than needed, and
// nothing is lost.
func (l *segmentLog) merge() {
	if len(l.recent) > 1 {
		if l.put(segment{l.recent[0].from, l.recent[len(l.recent)-1].to}, l.data) == nil {
			for _, s := range l.recent {
				_ = l.of.Remove(s.of(l.name))
			}
		}
	}
	l.recent, l.data = nil, l.data[:0]
}

// Close implements io.Closer.
func (l *segmentLog) Close() error {
	l.merge()
	return nil
}
