package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
)

// Model is a Source that has files open.
type Model interface {
	gguf.FileSource
	io.Closer
}

// Options says how OpenModel opens what is no GGUF file.
type Options struct {
	// Checkpoint is for Hugging Face directories, and for what a merge recipe makes of them.
	Checkpoint hf.Options
	// Merge is for merge recipes. Those with prompts need its Encoder, as package
	// infer/states has one.
	Merge moe.Options
}

const kinds = "a model is a .gguf file, the first file of a split set, a Hugging Face directory with config.json and *.safetensors, " +
	"or a merge recipe (.yaml)"

// OpenModel opens whatever kind of model a path is:
//
//   - of a GGUF file, or the first file of a split set, a [gguf.File]; of one of early 2024
//     with a tensor for each expert a [quant.StackedFile], of one with scales beside its
//     matrices, as NVFP4 has them, a [quant.ScaledFile];
//   - of a Hugging Face directory a [hf.Checkpoint];
//   - of a merge recipe, a file called *.yaml or *.yml, a [hf.Checkpoint] as well: that
//     which [moe.Merge.Write] would write. Its name is that of the recipe.
//
// The caller must close the model. ctx ends the reading of a recipe's prompts.
func OpenModel(ctx context.Context, path string, opts Options) (Model, error) {
	if IsMergeRecipe(path) {
		return opened(openRecipe(ctx, path, opts))
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, notThere(path, err)
	}
	if info.IsDir() {
		c, err := hf.Open(path, opts.Checkpoint)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w (%s)", err, kinds)
		}
		return opened(c, err)
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
	scaled, err := quant.ApplyScales(f)
	switch {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	case scaled != nil:
		return scaled, nil
	}
	return f, nil
}

// IsMergeRecipe reports whether a path names a merge recipe.
func IsMergeRecipe(path string) bool {
	return slices.Contains([]string{".yaml", ".yml"}, strings.ToLower(filepath.Ext(path)))
}

// openRecipe merges models as a recipe says.
func openRecipe(ctx context.Context, path string, opts Options) (*hf.Checkpoint, error) {
	recipe, err := moe.Read(path)
	if err != nil {
		return nil, err
	}
	m, err := moe.New(ctx, recipe, opts.Merge)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return hf.New(m.Parts, opts.Checkpoint)
}

// opened returns a checkpoint as a Model, which is nil if there is an error.
func opened(c *hf.Checkpoint, err error) (Model, error) {
	if err != nil {
		return nil, err
	}
	return c, nil
}

var hubName = regexp.MustCompile(`^\w[\w.-]*/\w[\w.-]*$`)

// notThere adds to the error for a path that does not exist what it may be.
func notThere(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) && hubName.MatchString(filepath.ToSlash(path)) {
		err = fmt.Errorf("%w (if it is a model of the Hugging Face Hub, download it first: hf download %s --local-dir DIR)", err, path)
	}
	return err
}
