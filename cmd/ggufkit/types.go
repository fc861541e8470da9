package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ggufkit/ggufkit/quant/recipe"
)

// parseFileType returns the file type that a user names. The error says which names
// are like it, and where the others are.
func parseFileType(c *cli.Context, name string) (recipe.FileType, error) {
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
	return 0, usagef(c, "%w", err)
}
