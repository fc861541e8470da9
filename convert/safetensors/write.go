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
	"strings"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// WriteOptions says how Write works.
type WriteOptions struct {
	// ShardBytes is the most bytes of tensors in a file, unless one tensor has
	// more.
	ShardBytes int64
	// Metadata goes into the index besides total_size.
	Metadata map[string]string
	// Progress, if set, is called after every piece with the bytes done so far and
	// in all.
	Progress func(done, total int64)
}

// writeChunk is how many bytes are copied at a time.
const writeChunk = 4 << 20

// Write writes tensors into an existing directory, in their order: as
// model.safetensors if they fit into one file, or else as
// model-00001-of-00003.safetensors and so on with an index. It returns the names
// of the files. What it has written when it fails, it leaves.
func Write(ctx context.Context, dir string, tensors []*Tensor, opts WriteOptions) ([]string, error) {
	var shards [][]*Tensor
	var total, size int64
	for _, t := range tensors {
		if len(shards) == 0 || size > 0 && size+t.size > opts.ShardBytes {
			shards = append(shards, nil)
			size = 0
		}
		last := len(shards) - 1
		shards[last] = append(shards[last], t)
		size += t.size
		total += t.size
	}
	var names []string
	weightMap := make(map[string]string, len(tensors))
	done := int64(0)
	for i, shard := range shards {
		name := "model.safetensors"
		if len(shards) > 1 {
			name = fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		}
		names = append(names, name)
		for _, t := range shard {
			weightMap[t.Name] = name
		}
		err := WriteFile(ctx, filepath.Join(dir, name), shard, func(n int64) {
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
func WriteFile(ctx context.Context, path string, tensors []*Tensor, written func(n int64)) (err error) {
	type entry struct {
		Dtype   Dtype    `json:"dtype"`
		Shape   []int64  `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	offset := int64(0)
	for _, t := range tensors {
		shape := t.Shape
		if shape == nil {
			shape = []int64{}
		}
		header[t.Name] = entry{t.Dtype, shape, [2]int64{offset, offset + t.size}}
		offset += t.size
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
	buf := make([]byte, writeChunk)
	for _, t := range tensors {
		size := int64(t.Dtype.Size())
		for first := int64(0); first < t.Elements(); {
			n := min(int64(len(buf))/size, t.Elements()-first)
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := t.Read(buf[:n*size], first); err != nil {
				return err
			}
			if _, err := w.Write(buf[:n*size]); err != nil {
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
