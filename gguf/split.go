package gguf

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// SplitOptions says where a model is cut. With neither limit there is one file.
type SplitOptions struct {
	// MaxTensors, if not 0, is how many tensors a file has, but for the last.
	MaxTensors int
	// MaxBytes, if not 0, is how many bytes of tensors, with their padding, a file has at
	// most. A larger tensor gets a file of its own, where llama-gguf-split gives up.
	MaxBytes int64
	// EmptyFirst leaves the metadata alone in the first file.
	EmptyFirst bool
}

// A Splitting is a model as the set of files that llama-gguf-split makes of it.
type Splitting struct {
	src   Source
	opts  SplitOptions
	parts []*part
}

// SplitFile is a file of a Splitting.
type SplitFile struct {
	Path    string
	Tensors int
	Bytes   int64 // of the whole file
	// Oversize says that its one tensor is larger than SplitOptions.MaxBytes.
	Oversize bool
}

// splitPadding is the alignment by which llama-gguf-split counts sizes, whatever that of the
// model is. It also is that of all files but the first, which do not say another.
const splitPadding = 32

// Split returns src as a set of files called prefix-00001-of-0000N.gguf and so on, even if
// that is one file. Nothing is written yet.
func Split(src Source, prefix string, opts SplitOptions) (*Splitting, error) {
	if opts.MaxTensors < 0 || opts.MaxBytes < 0 {
		return nil, errors.New("a limit of a split is negative")
	}
	tensors := src.Tensors()
	s := &Splitting{src: src, opts: opts}
	s.begin(0)
	if opts.EmptyFirst {
		s.begin(0)
	}
	size := int64(0)
	for i, t := range tensors {
		if err := t.Check(); err != nil {
			return nil, err
		}
		bytes := alignTo(t.Bytes(), splitPadding)
		last := s.parts[len(s.parts)-1]
		full := opts.MaxTensors > 0 && i > 0 && i%opts.MaxTensors == 0 || opts.MaxBytes > 0 && size+bytes > opts.MaxBytes
		if full && len(last.tensors) > 0 {
			last, size = s.begin(i), 0
		}
		size += bytes
		last.tensors = append(last.tensors, trimmed(t))
	}
	if len(s.parts) > maxParts {
		return nil, fmt.Errorf("%s: %d files would be needed, at most %d are possible", prefix, len(s.parts), maxParts)
	}
	s.parts[0].meta, s.parts[0].padding = src.Metadata().Clone(), splitPadding
	paths := splitPaths(prefix, len(s.parts))
	for i, p := range s.parts { // in the order in which llama-gguf-split leaves them
		p.path, p.rows = paths[i], make([]int64, len(p.tensors))
		p.meta.Set(keySplitNo, uint16(i))
		p.meta.Set(keySplitTensors, int32(len(tensors)))
		p.meta.Set(keySplitCount, uint16(len(s.parts)))
	}
	return s, nil
}

func (s *Splitting) begin(tensor int) *part {
	p := &part{src: s.src, meta: &Metadata{}, first: tensor}
	s.parts = append(s.parts, p)
	return p
}

// trimmed returns a tensor without dimensions of size 1 at its end, as ggml writes them.
func trimmed(t TensorInfo) TensorInfo {
	t.Shape = t.Shape[:min(t.Dims(), len(t.Shape))]
	return t
}

// Files lists what Write writes.
func (s *Splitting) Files() ([]SplitFile, error) {
	list, err := filesOf(s.parts)
	for i, p := range s.parts[:len(list)] {
		list[i].Oversize = len(p.tensors) == 1 && s.opts.MaxBytes > 0 && p.tensors[0].Bytes() > s.opts.MaxBytes
	}
	return list, err
}

// Write writes the files as the function Write does, with those of its options that are not about
// splitting, and returns their paths.
func (s *Splitting) Write(ctx context.Context, opts WriteOptions) ([]string, error) {
	paths, err := writeParts(ctx, [][]*part{s.parts}, opts)
	if err != nil {
		return nil, err
	}
	return paths[0], nil
}

// ErrNotSplit means that a file is not one of a set of split files.
var ErrNotSplit = errors.New("not one of a set of split files")

// OpenSet opens a set of split files, whichever of them path names.
func OpenSet(path string) (*File, error) {
	folder, name := files.Locate(path)
	return OpenSetIn(folder, name)
}

// OpenSetIn opens a set of split files in a folder, as OpenSet does.
func OpenSetIn(folder files.Folder, name string) (*File, error) {
	f, err := OpenIn(folder, SplitSet(name)[0])
	if err != nil {
		return nil, err
	}
	// What was joined before keeps a count of 0.
	if count, err := f.shards[0].head.meta.Uint(keySplitCount); err != nil || count == 0 {
		return nil, errors.Join(fmt.Errorf("%s: %w", f.shards[0].path, ErrNotSplit), f.Close())
	}
	return f, nil
}

// Join returns the model of a split set as llama-gguf-split --merge writes it: with the
// split.* keys of the first file, but a split.count of 0, so that nobody takes it for one of
// several. The File itself, written, is without them.
func (f *File) Join() Source {
	j := &revised{f, f.shards[0].head.meta.Clone(), slices.Clone(f.tensors)}
	j.meta.Set(keySplitCount, uint16(0))
	for i, t := range j.tensors {
		j.tensors[i] = trimmed(t)
	}
	return j
}

// revised is a file, or a set of files, with other metadata or shapes that are the same.
type revised struct {
	*File
	meta    *Metadata
	tensors []TensorInfo
}

// Metadata implements Source.
func (r *revised) Metadata() *Metadata { return r.meta }

// Tensors implements Source.
func (r *revised) Tensors() []TensorInfo { return r.tensors }
