package gguf

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Share is one of several shares of a set of files, which several processes may write, each its own: a run of files that follow
// one another, so that the largest share is as small as can be. All of them have to be given the same Source and
// the same options; then the set is the same as if one Write had made it. Where there are fewer files
// than shares, the last shares are empty. The zero Share is no share: all files.
type Share struct {
	Number int // 1 to Of
	Of     int
}

// isAll reports whether there is nothing beside the share.
func (s Share) isAll() bool { return s.Of <= 1 }

// of returns the share of a list whose elements take so many bytes: from the first to before the last.
func (s Share) of(sizes []int64) (first, last int) {
	if s.isAll() {
		return 0, len(sizes)
	}
	for i, n := range divide(sizes, s.Of) {
		if i == s.Number-1 {
			return first, first + n
		}
		first += n
	}
	return len(sizes), len(sizes)
}

// maxParts is how many files of a set there can be, since they are counted in 16 bits.
const maxParts = math.MaxUint16

// Paths returns where Write puts a Source: path, or the names of split files, those of all shares.
func (o WriteOptions) Paths(path string, src Source) []string {
	_, paths := o.split(path, src)
	return paths
}

// Files lists what Write writes of a Source.
func (o WriteOptions) Files(path string, src Source) ([]SplitFile, error) {
	parts, err := split(Destination{Path: path, Source: src}, o)
	if err != nil {
		return nil, err
	}
	return filesOf(parts)
}

// filesOf lists the files of parts.
func filesOf(parts []*part) ([]SplitFile, error) {
	var list []SplitFile
	for _, p := range parts {
		_, offsets, err := p.header()
		if err != nil {
			return nil, err
		}
		list = append(list, SplitFile{Path: p.path, Tensors: len(p.tensors), Bytes: offsets[len(p.tensors)]})
	}
	return list, nil
}

// split returns how many tensors there are in each file of the set, and the names of the files.
func (o WriteOptions) split(path string, src Source) (shards []int, paths []string) {
	switch sizes := tensorBytes(src.Tensors()); {
	case o.Shards != nil:
		shards = o.Shards
	case o.MaxBytes == 0 && !o.Share.isAll():
		shards = divide(sizes, o.Share.Of)
	default:
		shards = cut(sizes, o.MaxBytes, 1)
	}
	if len(shards) == 1 {
		return shards, []string{path}
	}
	return shards, splitPaths(strings.TrimSuffix(path, ".gguf"), len(shards))
}

// split cuts a source into parts, and returns those of the share. The first part of all has the metadata and all
// have the split.* keys, as llama-quantize writes them.
func split(d Destination, opts WriteOptions) ([]*part, error) {
	if s := opts.Share; !s.isAll() && (s.Number < 1 || s.Number > s.Of) {
		return nil, fmt.Errorf("%s: there is no share %d of %d", d.Path, s.Number, s.Of)
	}
	src, tensors := d.Source, d.Source.Tensors()
	shards, paths := opts.split(d.Path, src)
	if len(shards) > maxParts {
		return nil, fmt.Errorf("%s: %d files would be needed, at most %d are possible", d.Path, len(shards), maxParts)
	}
	var parts []*part
	first := 0
	for i, n := range shards {
		parts = append(parts, &part{
			src: src, path: paths[i], overwrite: d.Overwrite, meta: &Metadata{}, first: first, tensors: tensors[first : first+n], rows: make([]int64, n),
		})
		first += n
	}
	if first != len(tensors) {
		panic(fmt.Sprintf("gguf: shards %v of %d tensors", shards, len(tensors)))
	}
	parts[0].meta = src.Metadata()
	if len(parts) > 1 {
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
	}
	from, to := opts.Share.of(shardBytes(tensors, shards))
	return parts[from:to], nil
}

// tensorBytes returns what each tensor takes.
func tensorBytes(tensors []TensorInfo) []int64 {
	sizes := make([]int64, len(tensors))
	for i, t := range tensors {
		sizes[i] = t.Bytes()
	}
	return sizes
}

// shardBytes returns what the tensors of each file take.
func shardBytes(tensors []TensorInfo, shards []int) []int64 {
	sizes := make([]int64, len(shards))
	for i, n := range shards {
		for _, size := range tensorBytes(tensors[:n]) {
			sizes[i] += size
		}
		tensors = tensors[n:]
	}
	return sizes
}

// cut cuts a list whose elements take so many bytes into groups that take at most limit, or into one if that is 0, and returns how
// many elements each has. A larger element is a group of its own. If there are enough elements, there are at least so many groups.
func cut(sizes []int64, limit int64, least int) []int {
	groups := []int{0}
	size := int64(0)
	for i, n := range sizes {
		last := &groups[len(groups)-1]
		full := limit > 0 && size+n > limit || len(sizes)-i <= least-len(groups)
		if *last > 0 && full {
			groups = append(groups, 0)
			last = &groups[len(groups)-1]
			size = 0
		}
		size += n
		*last++
	}
	return groups
}

// divide cuts such a list into n groups, the largest of which takes as little as can be; into fewer if there are fewer elements.
func divide(sizes []int64, n int) []int {
	low, high := int64(1), int64(1)
	if len(sizes) > 0 {
		low = max(low, slices.Max(sizes))
	}
	for _, size := range sizes {
		high += size
	}
	for low < high {
		middle := low + (high-low)/2
		if len(cut(sizes, middle, 1)) <= n {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return cut(sizes, low, n)
}
