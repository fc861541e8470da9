package convert

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// Model is a Source that has files open.
type Model interface {
	gguf.FileSource
	io.Closer
}

const kinds = "a model is a .gguf file, the first file of a split set, or a Hugging Face directory with config.json and *.safetensors"

// OpenModel opens whatever kind of model a path is, a Hugging Face directory
// with Options.KeepTypes, a GGUF file of early 2024 as a [quant.StackedFile].
func OpenModel(path string) (Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		c, err := Open(path, Options{KeepTypes: true})
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w (%s)", err, kinds)
		}
		if err != nil {
			return nil, err
		}
		return c, nil
	}
	f, err := gguf.Open(path)
	if errors.Is(err, gguf.ErrNotGGUF) {
		err = fmt.Errorf("%w (%s)", err, kinds)
	}
	if err != nil {
		return nil, err
	}
	stacked, err := quant.StackExperts(f)
	switch {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	case stacked != nil:
		return stacked, nil
	}
	return f, nil
}
