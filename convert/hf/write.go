package hf

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/gguf/files"
)

const (
	configName = "config.json"
	cardName   = "README.md"
)

// DefaultShardBytes is the size of files that Hugging Face's tools write.
const DefaultShardBytes = 5_000_000_000

// WriteOptions says how Place.Write works.
type WriteOptions struct {
	// ShardBytes is the most bytes of tensors in a file, DefaultShardBytes if 0.
	ShardBytes int64
	// Threads is how many threads read tensors; 0 means all CPUs.
	Threads int
	// Starts are tensors that begin a file.
	Starts []string
	// Progress, if set, is called with the bytes written so far and in all.
	Progress func(done, total int64)
}

// Write writes a checkpoint of its tensors, its config.json, its card if it has one, and files
// beside them, which the kind of the place must have. The directory appears whole or not at all:
// the error wraps syscall.ENOSPC if the disk has no room for it, before anything is written, and
// files.ErrChanged if what it is made of was changed meanwhile.
func (p Place) Write(ctx context.Context, parts Parts, side map[string][]byte, opts WriteOptions) (err error) {
	if opts.ShardBytes == 0 {
		opts.ShardBytes = DefaultShardBytes
	}
	if err := p.checkForeign(slices.Collect(maps.Keys(side))); err != nil {
		return err
	}
	partial, err := p.create()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, partial.Remove()) }()
	if err := files.CheckRoom(partial.Path, parts.Bytes()); err != nil {
		return err
	}
	_, err = safetensors.Write(ctx, partial.Path, parts, safetensors.WriteOptions{
		ShardBytes: opts.ShardBytes, Starts: opts.Starts, Threads: opts.Threads, Progress: opts.Progress,
	})
	if err != nil {
		return err
	}
	write := func(name string, data []byte) error {
		return files.Write(filepath.Join(partial.Path, name), data, false)
	}
	for name, data := range side {
		if err := write(name, data); err != nil {
			return err
		}
	}
	if parts.Card != nil {
		if err := write(cardName, parts.Card); err != nil {
			return err
		}
	}
	if err := write(configName, parts.Config); err != nil {
		return err
	}
	if err := files.Unchanged(parts.Files.Inputs()); err != nil {
		return err
	}
	return p.publish(partial.Path)
}

// checkForeign returns an error that wraps fs.ErrExist if files of these names are there that
// are not replaced.
func (p Place) checkForeign(names []string) error {
	for _, name := range names {
		path := filepath.Join(p.dir, name)
		if _, err := os.Lstat(path); err == nil && !slices.Contains(p.old, name) {
			return &fs.PathError{Op: "write", Path: path, Err: fs.ErrExist}
		}
	}
	return nil
}
