package safetensors

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/convert/weights"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// WriteOptions says how Write works.
type WriteOptions struct {
	// ShardBytes is the most bytes of tensors in a file, unless one tensor has
	// more.
	ShardBytes int64
	// Starts are tensors that begin a file, whether the one before is full or not.
	Starts []string
	// Threads is how many threads read tensors; 0 means all CPUs.
	Threads int
	// Metadata goes into the index besides total_size.
	Metadata map[string]string
	// Progress, if set, is called after every piece with the bytes done so far and
	// in all.
	Progress func(done, total int64)
}

// writeChunk is how many bytes are copied at a time, in whole rows.
const writeChunk = 4 << 20

// Write writes tensors into an existing directory, in the order of their names in the set: as
// model.safetensors if they fit into one file, or else as
// model-00001-of-00003.safetensors and so on with an index. It returns the names
// of the files. What it has written when it fails, it leaves.
func Write(ctx context.Context, dir string, set weights.Set, opts WriteOptions) ([]string, error) {
	var shards []*weights.List
	var total, size int64
	for _, name := range set.Names() {
		t := set.Get(name)
		n := weights.Bytes(t)
		if len(shards) == 0 || size > 0 && (size+n > opts.ShardBytes || slices.Contains(opts.Starts, name)) {
			shards = append(shards, new(weights.List))
			size = 0
		}
		if err := shards[len(shards)-1].Add(name, t); err != nil {
			return nil, err
		}
		size += n
		total += n
	}
	var names []string
	weightMap := make(map[string]string, len(set.Names()))
	done := int64(0)
	for i, shard := range shards {
		name := "model.safetensors"
		if len(shards) > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		}
		names = append(names, name)
		for _, tensor := range shard.Names() {
			weightMap[tensor] = name
		}
		err := writeFile(ctx, filepath.Join(dir, name), shard, opts.Threads, func(n int64) {
			if done += n; opts.Progress != nil {
				opts.Progress(done, total)
			}
		})
		if err != nil {
			return names, err
		}
	}
	if len(shards) < 2 {
		return names, nil
	}
	metadata := map[string]any{"total_size": total}
	for key, value := range opts.Metadata {
		metadata[key] = value
	}
	index, err := json.MarshalIndent(map[string]any{"metadata": metadata, "weight_map": weightMap}, "", "  ")
	if err != nil {
		return names, err
	}
	return append(names, IndexName), files.Write(filepath.Join(dir, IndexName), append(index, '\n'), false)
}

// WriteFile writes tensors as a new file, and calls written after every piece with
// its bytes.
func WriteFile(ctx context.Context, path string, set weights.Set, written func(n int64)) error {
	return writeFile(ctx, path, set, 0, written)
}

func writeFile(ctx context.Context, path string, set weights.Set, threads int, written func(n int64)) (err error) {
	type entry struct {
		Dtype   weights.Dtype `json:"dtype"`
		Shape   []int64       `json:"shape"`
		Offsets [2]int64      `json:"data_offsets"`
	}
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	offset := int64(0)
	for _, name := range set.Names() {
		t := set.Get(name)
		shape := t.Shape()
		if shape == nil {
			shape = []int64{}
		}
		header[name] = entry{t.Dtype(), shape, [2]int64{offset, offset + weights.Bytes(t)}}
		offset += weights.Bytes(t)
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	text = append(text, strings.Repeat(" ", (8-len(text)%8)%8)...) // so that the data is aligned

	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriter(f)
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text)))); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	var buf []byte
	for _, name := range set.Names() {
		t := set.Get(name)
		rows, length := weights.Count(t.Shape())
		size := length * int64(t.Dtype().Size())
		for first := int64(0); first < rows; {
			n := min(wholeGrains(t, writeChunk/max(1, size)), rows-first)
			if err := ctx.Err(); err != nil {
				return err
			}
			buf = slices.Grow(buf[:0], int(n*size))[:n*size]
			if err := readRaw(t, buf, first, n, threads); err != nil {
				return err
			}
			if _, err := w.Write(buf); err != nil {
				return err
			}
			written(n * size)
			first += n
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// wholeGrains returns the least number of rows, from n on, that are best read together.
func wholeGrains(t weights.Rows, n int64) int64 {
	grain := t.Grain()
	return max(1, (n+grain-1)/grain) * grain
}

// readRaw reads rows with several threads.
func readRaw(t weights.Rows, dst []byte, first, n int64, threads int) error {
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	each := wholeGrains(t, (n+int64(threads)-1)/int64(threads))
	size := int64(len(dst)) / max(1, n)
	var group errgroup.Group
	for at := int64(0); at < n; at += each {
		some := min(each, n-at)
		group.Go(func() error { return t.ReadRaw(dst[at*size:][:some*size], first+at, some) })
	}
	return group.Wait()
}
