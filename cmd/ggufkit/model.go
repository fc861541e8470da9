package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/states"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/quant/imatrix"
)

// model is a Source that knows the path it was opened by: errors about it have it.
type model struct {
	convert.Model
	path string
}

// Unwrap implements gguf.Wrapper.
func (m *model) Unwrap(tensor int, first, n int64) gguf.Origin {
	return gguf.Origin{Source: m.Model, Tensor: tensor, First: first, N: n, Same: true}
}

// Pin implements gguf.Pinned.
func (m *model) Pin() string { return gguf.Pin(m.Model) }

// otherFile is a GGUF file that is taken as another one: a quant.StackedFile or a
// quant.ScaledFile.
type otherFile interface {
	File() *gguf.File
	Notes() []string
}

// Packings implements gguf.Unpacker.
func (m *model) Packings(tensor int) []gguf.Packing { return gguf.Packings(m.Model, tensor) }

// openModel opens whatever kind of model a path is, tensors in their own types. A GGUF
// file that holds something else is refused, unless it may be one of the kinds.
func openModel(c *call, path string, kinds ...gguf.Kind) (*model, error) {
	return openModelAs(c, path, hf.Options{}, kinds...)
}

// openModelAs opens a model as openModel does, checkpoints with options.
func openModelAs(c *call, path string, options hf.Options, kinds ...gguf.Kind) (*model, error) {
	m, err := openAny(c, path, options)
	if err != nil {
		return nil, err
	}
	if kind := gguf.KindOf(m); kind != gguf.KindModel && !slices.Contains(kinds, kind) {
		return nil, errors.Join(fmt.Errorf("%s is %s, not a model", path, kind), m.Close())
	}
	if other, ok := m.Model.(otherFile); ok {
		for _, note := range other.Notes() {
			printNotes(c, []string{path + ": " + note})
		}
	}
	return m, nil
}

// openAny opens a model, or a GGUF file of another kind.
func openAny(c *call, path string, options hf.Options) (*model, error) {
	if err := notStdin(c, "a model", path); err != nil {
		return nil, err
	}
	m, err := convert.OpenModel(c.ctx, path, convert.Options{Checkpoint: options, Merge: mergeOptions(c), Remote: c.remote()})
	path = remote.Plain(path)
	if err != nil {
		return nil, named(path, err)
	}
	if checkpoint, ok := m.(*hf.Checkpoint); ok {
		printNotes(c, checkpoint.Notes())
		printWarnings(c, checkpoint.Warnings())
	}
	return &model{m, path}, nil
}

// mergeOptions are those of a command for a merge recipe.
func mergeOptions(c *call) moe.Options {
	return moe.Options{
		Encoder: &states.Encoder{Engine: infer.Options{Threads: c.threads}}, Seed: uint64(c.seed),
		Open: func(address string) (files.Folder, error) { return c.remote().Folder(address) },
	}
}

// openParts opens a model to look into it: of a set of split files the one that is
// named, if it is not the first or others are missing. Tensors are those of the files.
func openParts(c *call, path string, options hf.Options) (*model, error) {
	m, err := openAny(c, path, options)
	if err == nil {
		if other, ok := m.Model.(otherFile); ok {
			m.Model = other.File()
		}
		return m, nil
	}
	if convert.IsMergeRecipe(path) {
		return nil, err
	}
	folder, file, errAlone := convert.Locate(path, c.remote())
	if errAlone != nil || file == "" {
		return nil, err
	}
	alone, errAlone := gguf.OpenAloneIn(folder, file)
	if errAlone != nil {
		return nil, err
	}
	path = remote.Plain(path)
	number, errNumber := alone.Metadata().Uint("split.no")
	count, errCount := alone.Metadata().Uint("split.count")
	if errNumber != nil || errCount != nil {
		return nil, errors.Join(err, alone.Close())
	}
	printNotes(c, []string{fmt.Sprintf("%s is number %d of %d split files, and what follows is of it alone", path, number+1, count)})
	return &model{alone, path}, nil
}

// locateFile finds a GGUF file by its path or its address.
func locateFile(c *call, path string) (folder files.Folder, name string, err error) {
	if !convert.IsElsewhere(path) {
		folder, name = files.Locate(path)
		return folder, name, nil
	}
	folder, name, err = convert.Locate(path, c.remote())
	if err == nil && name == "" {
		err = fmt.Errorf("%w: %s is no file", gguf.ErrNotGGUF, remote.Plain(path))
	}
	return folder, name, err
}

// openImportance opens the importance matrix to quantize with; without a path it returns nil.
func openImportance(c *call, path string) (*imatrix.Matrix, error) {
	if path == "" {
		return nil, nil
	}
	return openMatrix(c, path)
}

func openMatrix(c *call, path string) (*imatrix.Matrix, error) {
	if err := notStdin(c, "an importance matrix", path); err != nil {
		return nil, err
	}
	return imatrix.Open(path)
}

// notStdin refuses standard input in place of what is read here and there, unlike texts.
func notStdin(c *call, what, path string) error {
	if path == "-" {
		return c.usagef("%s cannot be read from standard input, only from a file", what)
	}
	return nil
}

// fileOf returns the GGUF file that a model is, nil if it is none.
func fileOf(src gguf.Source) *gguf.File {
	if m, ok := src.(*model); ok {
		src = m.Model
	}
	file, _ := src.(*gguf.File)
	return file
}

// vocabularyOf returns the vocabulary of a model.
func vocabularyOf(src gguf.Source) (*tokenizer.Tokenizer, error) {
	vocab, err := tokenizer.New(src.Metadata())
	return vocab, about(src, err)
}

// engineOf returns a model ready to run.
func engineOf(src gguf.Source, options infer.Options) (*infer.Model, error) {
	engine, err := infer.New(src, options)
	return engine, about(src, err)
}

// about gives an error the path of the model that it is about.
func about(src gguf.Source, err error) error {
	if m, ok := src.(*model); ok {
		return named(m.path, err)
	}
	return err
}

// named gives an error a path, unless it has it.
func named(path string, err error) error {
	if err == nil || strings.Contains(err.Error(), path) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}
