package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// File is an open GGUF file, or a set of split files seen as one. It is a
// Source.
type File struct {
	shards  []shard
	meta    *Metadata
	tensors []TensorInfo
	where   []location
	size    int64
	// mappings are the shards, from the first on, that Map has mapped.
	mappings []*files.Mapping
}

// shard is one file of the set.
type shard struct {
	path string
	r    io.ReaderAt
	head *header
	size int64
	// file is r; nil if r is the caller's.
	file *files.File
}

// location is where a tensor's data is.
type location struct {
	shard  int
	offset int64
}

// Open opens the GGUF file at path. If it is the first of a set of split
// files, the others are opened from the same directory and the set is
// presented as one file, without its split.* keys.
//
// Errors wrap ErrNotGGUF, ErrCorrupt or ErrUnsupported, or come from the
// operating system. Nothing of the tensor data is read.
func Open(path string) (*File, error) {
	folder, name := files.Locate(path)
	return OpenIn(folder, name)
}

// OpenIn opens a GGUF file in a folder, as Open does.
func OpenIn(folder files.Folder, name string) (*File, error) {
	first, err := openShard(folder, name)
	if err != nil {
		return nil, err
	}
	f := &File{shards: []shard{first}, meta: first.head.meta}
	if err = f.openRest(folder, name); err == nil {
		err = f.collect()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// OpenAlone opens the GGUF file at path as it is: of a set of split files that one
// only, with its split.* keys, whether the others are there or not.
func OpenAlone(path string) (*File, error) {
	folder, name := files.Locate(path)
	return OpenAloneIn(folder, name)
}

// OpenAloneIn opens a GGUF file in a folder, as OpenAlone does.
func OpenAloneIn(folder files.Folder, name string) (*File, error) {
	sh, err := openShard(folder, name)
	if err != nil {
		return nil, err
	}
	f := &File{shards: []shard{sh}, meta: sh.head.meta}
	if err := f.collect(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// New reads a single GGUF file of size bytes from r, as Open does from a path.
// The name stands for the file in errors. Close does not close r.
func New(r io.ReaderAt, size int64, name string) (*File, error) {
	sh, err := newShard(r, size, name)
	if err != nil {
		return nil, err
	}
	if count, err := sh.head.meta.Uint(keySplitCount); err == nil && count > 1 {
		return nil, fmt.Errorf("%w: %s is one of %d split files, which must be opened by path", ErrUnsupported, name, count)
	}
	f := &File{shards: []shard{sh}, meta: sh.head.meta}
	return f, f.collect()
}

func newShard(r io.ReaderAt, size int64, path string) (shard, error) {
	head, err := decodeHeader(r, size)
	if err != nil {
		return shard{}, fmt.Errorf("%s: %w", path, err)
	}
	return shard{path: path, r: r, head: head, size: size}, nil
}

func openShard(folder files.Folder, name string) (shard, error) {
	file, err := folder.Open(name)
	if err != nil {
		return shard{}, err
	}
	if interrupted(file) {
		return shard{}, errors.Join(fmt.Errorf("%s: %w: 'ggufkit edit' of it brings it to its end", folder.Path(name), ErrInterrupted), file.Close())
	}
	sh, err := newShard(file, file.Size(), folder.Path(name))
	if err != nil {
		return shard{}, errors.Join(err, file.Close())
	}
	sh.file = file
	file.Sections(slices.Compact(slices.Sorted(slices.Values(sh.head.offsets))))
	return sh, nil
}

// collect lists the tensors of all shards.
func (f *File) collect() error {
	in := make(map[string]string)
	for s, sh := range f.shards {
		f.size += sh.size
		for i, t := range sh.head.tensors {
			if other, dup := in[t.Name]; dup {
				return fmt.Errorf("%w: tensor %q is in %s and in %s", ErrCorrupt, t.Name, other, sh.path)
			}
			in[t.Name] = sh.path
			f.tensors = append(f.tensors, t)
			f.where = append(f.where, location{s, sh.head.offsets[i]})
		}
	}
	return nil
}

// openRest opens the files that follow the first one of a split set and checks
// that they belong together.
func (f *File) openRest(folder files.Folder, name string) error {
	path := folder.Path(name)
	count, err := f.meta.Uint(keySplitCount)
	if errors.Is(err, ErrNoKey) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	no, err := f.meta.Uint(keySplitNo)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if count > 1 {
		prefix, ok := strings.CutSuffix(name, splitSuffix(int(no), int(count)))
		if !ok {
			return fmt.Errorf("%w: %s is number %d of %d split files but is not named *%s", ErrCorrupt, path, no+1, count, splitSuffix(int(no), int(count)))
		}
		if no != 0 {
			return fmt.Errorf("%w: %s is one of a set of split files, open the first one: %s", ErrUnsupported, path, folder.Path(SplitPath(prefix, 0, int(count))))
		}
		for i := 1; i < int(count); i++ {
			sh, err := openShard(folder, SplitPath(prefix, i, int(count)))
			if err != nil {
				return err
			}
			f.shards = append(f.shards, sh)
			if n, err := sh.head.meta.Uint(keySplitNo); err != nil || n != uint64(i) {
				return fmt.Errorf("%w: %s does not say that it is number %d of the split files", ErrCorrupt, sh.path, i+1)
			}
			if n, err := sh.head.meta.Uint(keySplitCount); err != nil || n != count {
				return fmt.Errorf("%w: %s does not say that it is one of %d split files", ErrCorrupt, sh.path, count)
			}
		}
	}
	tensors := 0
	for _, sh := range f.shards {
		tensors += len(sh.head.tensors)
	}
	if want, err := f.meta.Uint(keySplitTensors); err == nil && want != uint64(tensors) {
		return fmt.Errorf("%w: the split files of %s have %d tensors, %d are announced", ErrCorrupt, path, tensors, want)
	}
	f.meta = f.meta.Clone()
	f.meta.DeleteSplit()
	return nil
}

// Close closes the file or files.
func (f *File) Close() error {
	var errs []error
	for _, m := range f.mappings {
		errs = append(errs, m.Close())
	}
	f.mappings = nil
	for i := range f.shards {
		sh := &f.shards[i]
		if sh.file != nil {
			errs = append(errs, sh.file.Close())
		}
	}
	return errors.Join(errs...)
}

// Metadata implements Source.
func (f *File) Metadata() *Metadata { return f.meta }

// Tensors implements Source.
func (f *File) Tensors() []TensorInfo { return f.tensors }

// ReadRows implements Source.
func (f *File) ReadRows(dst []byte, tensor int, first, n int64) error {
	t := f.tensors[tensor]
	if err := t.CheckRows(dst, first, n); err != nil {
		return err
	}
	at := f.where[tensor]
	sh := f.shards[at.shard]
	offset := at.offset + first*t.RowBytes()
	if _, err := sh.r.ReadAt(dst, offset); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: the file was cut short after it was opened", ErrCorrupt)
		}
		return fmt.Errorf("%s: tensor %q at offset %d: %w", sh.path, t.Name, offset, err)
	}
	if sh.head.order == binary.BigEndian {
		t.Type.swapBytes(dst, t.RowBytes())
	}
	return nil
}

// Prefetch implements Prefetcher.
func (f *File) Prefetch(tensor int, first, n int64) {
	at := f.where[tensor]
	if file := f.shards[at.shard].file; file != nil {
		rowBytes := f.tensors[tensor].RowBytes()
		file.Prefetch(at.offset+first*rowBytes, n*rowBytes)
	}
}

// Version returns the GGUF version of the (first) file, 2 or 3.
func (f *File) Version() int { return int(f.shards[0].head.version) }

// ByteOrder returns the byte order of the (first) file.
func (f *File) ByteOrder() binary.ByteOrder { return f.shards[0].head.order }

// Paths returns the path of the file, or of all files of a split set.
func (f *File) Paths() []string {
	var paths []string
	for _, sh := range f.shards {
		paths = append(paths, sh.path)
	}
	return paths
}

// Inputs implements FileSource.
func (f *File) Inputs() []*files.File {
	var inputs []*files.File
	for _, sh := range f.shards {
		if sh.file != nil {
			inputs = append(inputs, sh.file)
		}
	}
	return inputs
}

// Pin implements Pinned.
func (f *File) Pin() string { return files.Pin(f.Inputs()) }

// Size returns the size of the file or of all files of the set in bytes.
func (f *File) Size() int64 { return f.size }

// Trailing returns how many bytes are in the (last) file after its tensors and their padding.
func (f *File) Trailing() int64 {
	sh := f.shards[len(f.shards)-1]
	h := sh.head
	end := h.data
	if n := len(h.tensors); n > 0 {
		end = h.offsets[n-1] + h.tensors[n-1].Bytes()
	}
	return max(0, sh.size-alignTo(end, h.alignment))
}

// Shard returns which of the files of a split set, counted from 0, has a tensor.
func (f *File) Shard(tensor int) int { return f.where[tensor].shard }

// Offset returns where the data of a tensor starts, in bytes from the start of
// the file that holds it.
func (f *File) Offset(tensor int) int64 { return f.where[tensor].offset }

// Metadata keys of split files, as llama-gguf-split writes them.
const (
	keySplitNo      = "split.no"
	keySplitCount   = "split.count"
	keySplitTensors = "split.tensors.count"
)

func splitSuffix(no, count int) string { return fmt.Sprintf("-%05d-of-%05d.gguf", no+1, count) }

// SplitPath returns the name of file no (counted from 0) of count split files:
// prefix-00001-of-00003.gguf and so on.
func SplitPath(prefix string, no, count int) string {
	return prefix + splitSuffix(no, count)
}

var splitName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// SplitSet returns the paths of all files of a split set, judging by the name of one of
// them; of another path it returns that.
func SplitSet(path string) []string {
	m := splitName.FindStringSubmatch(path)
	if m == nil {
		return []string{path}
	}
	count, _ := strconv.Atoi(m[3]) // five digits
	return splitPaths(m[1], count)
}

func splitPaths(prefix string, count int) []string {
	paths := make([]string, count)
	for i := range paths {
		paths[i] = SplitPath(prefix, i, count)
	}
	return paths
}

// DeleteSplit removes the keys that say which file of a split set this is.
func (m *Metadata) DeleteSplit() {
	for _, key := range []string{keySplitNo, keySplitCount, keySplitTensors} {
		m.Delete(key)
	}
}
