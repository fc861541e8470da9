package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/quant"
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

// openModel opens whatever kind of model a path is, tensors in their own types. A GGUF
// file that holds something else is refused, unless it may be one of the kinds.
func openModel(c *cli.Context, path string, kinds ...gguf.Kind) (*model, error) {
	m, err := openAny(c, path)
	if err != nil {
		return nil, err
	}
	if kind := gguf.KindOf(m); kind != gguf.KindModel && !slices.Contains(kinds, kind) {
		return nil, errors.Join(fmt.Errorf("%s is %s, not a model", path, kind), m.Close())
	}
	if stacked, ok := m.Model.(*quant.StackedFile); ok {
		for _, note := range stacked.Notes() {
			printNotes(c, []string{path + ": " + note})
		}
	}
	return m, nil
}

// openAny opens a model, or a GGUF file of another kind.
func openAny(c *cli.Context, path string) (*model, error) {
	if err := notStdin(c, "a model", path); err != nil {
		return nil, err
	}
	if isRecipe(path) {
		mixture, err := openRecipe(c, path, convert.Options{KeepTypes: true})
		if err != nil {
			return nil, named(path, err)
		}
		return &model{mixture, path}, nil
	}
	m, err := convert.OpenModel(path)
	if err != nil {
		return nil, named(path, err)
	}
	if checkpoint, ok := m.(*convert.Checkpoint); ok {
		printNotes(c, checkpoint.Notes())
		printWarnings(c, checkpoint)
	}
	return &model{m, path}, nil
}

// openParts opens a model to look into it: of a set of split files the one that is
// named, if it is not the first or others are missing. Tensors are those of the files.
func openParts(c *cli.Context, path string) (*model, error) {
	m, err := openAny(c, path)
	if err == nil {
		if stacked, ok := m.Model.(*quant.StackedFile); ok {
			m.Model = stacked.File()
		}
		return m, nil
	}
	if isRecipe(path) {
		return nil, err
	}
	alone, errAlone := gguf.OpenAlone(path)
	if errAlone != nil {
		return nil, err
	}
	number, errNumber := alone.Metadata().Uint("split.no")
	count, errCount := alone.Metadata().Uint("split.count")
	if errNumber != nil || errCount != nil {
		return nil, errors.Join(err, alone.Close())
	}
	printNotes(c, []string{fmt.Sprintf("%s is number %d of %d split files, and what follows is of it alone", path, number+1, count)})
	return &model{alone, path}, nil
}

// isRecipe reports whether a path names a recipe.
func isRecipe(path string) bool {
	return slices.Contains([]string{".yaml", ".yml"}, strings.ToLower(filepath.Ext(path)))
}

// openRecipe opens the mixture that a recipe describes.
func openRecipe(c *cli.Context, path string, options convert.Options) (*convert.Checkpoint, error) {
	mixture, err := convert.OpenRecipe(c.Context, path, mergeOptions(c), options)
	if err != nil {
		return nil, err
	}
	printNotes(c, mixture.Notes())
	printWarnings(c, mixture)
	return mixture, nil
}

// notStdin refuses standard input in place of what is read here and there, unlike texts.
func notStdin(c *cli.Context, what, path string) error {
	if path == "-" {
		return usagef(c, "%s cannot be read from standard input, only from a file", what)
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
