package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
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
	// Remote reads models that lie elsewhere. Without one, OpenModel makes one of its own.
	Remote *remote.Client
}

// Locate finds what a path, an address, or the name of a model of the hub leads to: a folder, and the file in it,
// which is empty if it is all of the folder.
func Locate(path string, client *remote.Client) (folder files.Folder, file string, err error) {
	switch {
	case remote.IsAddress(path):
		return client.Open(path)
	case IsElsewhere(path):
		folder, file, err = client.Open("hf://" + filepath.ToSlash(path))
		if err != nil {
			err = fmt.Errorf("there is no %s here, and on the hub: %w", path, err)
		}
		return folder, file, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, "", err
	}
	if info.IsDir() {
		return files.Directory(path), "", nil
	}
	folder, file = files.Locate(path)
	return folder, file, nil
}

// IsElsewhere reports whether a path is none: an address, or the name of a model of the hub, where there is no
// such path.
func IsElsewhere(path string) bool {
	if remote.IsAddress(path) {
		return true
	}
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist) && remote.IsHubName(path)
}

// withRemote returns the options with a client, of which recipes know.
func (o Options) withRemote(ctx context.Context) Options {
	if o.Remote == nil {
		o.Remote = remote.New(ctx, remote.Options{})
	}
	if o.Merge.Open == nil {
		o.Merge.Open = o.Remote.Folder
	}
	return o
}

const kinds = "a model is a .gguf file, the first file of a split set, a Hugging Face directory with config.json and *.safetensors, " +
	"a merge recipe (.yaml), or the address of one of the first three: org/name or hf://org/name[@revision][/file] of the Hugging Face Hub, https://, s3://"

// OpenModel opens whatever kind of model a path is:
//
//   - of a GGUF file, or the first file of a split set, a [gguf.File]; of one of early 2024
//     with a tensor for each expert a [quant.StackedFile], of one with scales beside its
//     matrices, as NVFP4 has them, a [quant.ScaledFile];
//   - of a Hugging Face directory a [hf.Checkpoint];
//   - of a merge recipe, a file called *.yaml or *.yml, a [hf.Checkpoint] as well: that
//     which [moe.Merge.Write] would write. Its name is that of the recipe;
//   - of an address (see [remote.Client]), or the name of a model of the hub, org/name, if there
//     is no such path, what is there, as if it were here.
//
// The caller must close the model. ctx ends the reading of a recipe's prompts, and all reading of what
// lies elsewhere, unless Options has a client.
func OpenModel(ctx context.Context, path string, opts Options) (Model, error) {
	opts = opts.withRemote(ctx)
	if IsMergeRecipe(path) {
		return opened(openRecipe(ctx, path, opts))
	}
	folder, file, err := Locate(path, opts.Remote)
	if err != nil {
		return nil, err
	}
	if file == "" {
		c, err := hf.OpenIn(folder, opts.Checkpoint)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w (%s)", err, kinds)
		}
		return opened(c, err)
	}
	f, err := gguf.OpenIn(folder, file)
	if errors.Is(err, gguf.ErrNotGGUF) {
		err = fmt.Errorf("%w (%s)", err, kinds)
	}
	if err != nil {
		return nil, err
	}
	stacked, err := quant.StackExperts(f)
	switch {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("%s: %w", folder.Path(file), err), f.Close())
	case stacked != nil:
		return stacked, nil
	}
	scaled, err := quant.ApplyScales(f)
	switch {
	case err != nil:
		return nil, errors.Join(fmt.Errorf("%s: %w", folder.Path(file), err), f.Close())
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
