package convert

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/ggufkit/ggufkit/convert/internal/sidecar"
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
		return nil, notThere(path, err)
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

var hubName = regexp.MustCompile(`^\w[\w.-]*/\w[\w.-]*$`)

// notThere adds to the error for a path that does not exist what it may be.
func notThere(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) && hubName.MatchString(filepath.ToSlash(path)) {
		err = fmt.Errorf("%w (if it is a model of the Hugging Face Hub, download it first: hf download %s --local-dir DIR)", err, path)
	}
	return err
}

// noConfig returns an error that says what a directory without config.json is, or err
// if nothing tells.
func noConfig(dir string, err error) error {
	unsupported := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: "+format, append([]any{gguf.ErrUnsupported, dir}, args...)...)
	}
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	switch {
	case has("adapter_config.json"):
		var adapter struct {
			Base string `json:"base_model_name_or_path"`
		}
		if sidecar.ReadJSON(filepath.Join(dir, "adapter_config.json"), &adapter) != nil || adapter.Base == "" {
			adapter.Base = "its base model"
		}
		return unsupported("a PEFT adapter (adapter_config.json), not a model: merge it into %.80s first", adapter.Base)
	case has("params.json"):
		return unsupported("a model in the format of Meta or Mistral (params.json), not in that of Hugging Face (config.json)")
	case has("model_index.json"):
		return unsupported("a pipeline of diffusers (model_index.json), not a language model")
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*.gguf")); len(names) > 0 {
		return unsupported("it has GGUF files: name one of them, such as %s", names[0])
	}
	return err
}
