package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/gguf/files"
	"github.com/ggufkit/ggufkit/infer/display"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// parseFileType returns the file type that a user names. The error says which names
// are like it, and where the others are.
func parseFileType(c *call, name string) (recipe.FileType, error) {
	fileType, err := recipe.ParseFileType(name)
	if err == nil {
		return fileType, nil
	}
	if similar := nearest(name, typeNames(recipe.FileTypes())); similar != "" {
		err = fmt.Errorf("%w, but %s is", err, similar)
	}
	return 0, c.usagef("%w; 'ggufkit types' lists them", err)
}

func typeNames(types []recipe.FileType) (names []string) {
	for _, t := range types {
		names = append(names, t.String())
	}
	return names
}

// parseFileTypes reads the names in --types, or its default.
func parseFileTypes(c *call, list string) ([]recipe.FileType, error) {
	var types []recipe.FileType
	for _, name := range splitList(list) {
		fileType, err := parseFileType(c, strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		types = append(types, fileType)
	}
	return types, nil
}

// recipeFlag is the flag for a recipe of types.
type recipeFlag struct {
	file        recipe.File
	used        bool
	recipeFiles []string // that were read, with --tensor-type-file too
}

func (f *recipeFlag) flag() cli.Flag {
	f.file.Type = recipe.Copy
	return &cli.StringFlag{
		Name:  "recipe-file",
		Usage: "give tensors the types in `FILE`, a recipe that choose has written or one's own, and write the type that it is of",
		Action: func(c *cli.Context, path string) (err error) {
			f.used, f.recipeFiles = true, append(f.recipeFiles, path)
			f.file, err = readRecipe(path)
			return asUsage(c, err)
		},
	}
}

// resolve returns what to write with the recipe, if there is one: the type that is given, or else what
// the recipe is of.
func (f *recipeFlag) resolve(c *call, fileType recipe.FileType, given bool) (recipe.FileType, error) {
	if !f.used {
		return fileType, nil
	}
	if !given {
		fileType = f.file.Type
	}
	if !fileType.TakesOverrides() {
		return 0, c.usagef("--recipe-file needs a quantized type: given beside it, or in the recipe, as in #type:q4_k_m=f32")
	}
	return fileType, nil
}

// maxRecipe is far more than the lines of any recipe have.
const maxRecipe = 16 << 20

// readRecipe reads a recipe of types, which is called after its file if it has no name.
func readRecipe(path string) (f recipe.File, err error) {
	file, err := files.Open(path)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if file.Size() > maxRecipe {
		return f, fmt.Errorf("%s: a recipe of types has no %s", path, display.Bytes(file.Size()))
	}
	if f, err = recipe.ReadFile(io.NewSectionReader(file, 0, file.Size())); err != nil {
		return f, fmt.Errorf("%s: %w", path, err)
	}
	f.Name = cmp.Or(f.Name, display.Stem(path))
	return f, nil
}
