// Package sidecar reads the small files that lie beside a checkpoint's
// tensors: config.json, the tokenizer's files, README.md.
package sidecar

import (
	"fmt"
	"io"

	"github.com/ggufkit/ggufkit/convert/internal/pyjson"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// limit is far above the largest real tokenizer.json (about 40 MB).
const limit = 256 << 20

// Read returns the content of a file in a folder. The error wraps gguf.ErrCorrupt if the
// file is too large to be what it should be, and fs.ErrNotExist if it is absent.
func Read(folder files.Folder, name string) ([]byte, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	f.Prefetch(0, min(f.Size(), limit)) // all of it, not a piece after the other
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%w: %s is larger than %d bytes", gguf.ErrCorrupt, f.Name(), limit)
	}
	return data, nil
}

// ReadJSON decodes a JSON file in a folder into v, as pyjson.Unmarshal does.
func ReadJSON(folder files.Folder, name string, v any) error {
	data, err := Read(folder, name)
	if err != nil {
		return err
	}
	if err := pyjson.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %s: %w", gguf.ErrCorrupt, folder.Path(name), err)
	}
	return nil
}
