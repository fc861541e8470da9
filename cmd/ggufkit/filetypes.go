package main

import (
	"fmt"
	"strings"

	"github.com/ggufkit/ggufkit/quant/recipe"
)

// parseFileType returns the file type that a user names. The error says which names
// are like it, and where the others are.
func parseFileType(c *call, name string) (recipe.FileType, error) {
	fileType, err := recipe.ParseFileType(name)
	if err == nil {
		return fileType, nil
	}
	var names []string
	for _, t := range recipe.FileTypes() {
		names = append(names, t.String())
	}
	if similar := nearest(name, names); similar != "" {
		err = fmt.Errorf("%w, but %s is", err, similar)
	}
	return 0, c.usagef("%w; 'ggufkit types' lists them", err)
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
