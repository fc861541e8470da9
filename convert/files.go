package convert

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/gguf"
)

// Files returns the files that are read where path is used, without opening a model: of
// the path of a split set all its files, of a Hugging Face directory all that can belong to
// a checkpoint, of a merge recipe itself and those of its models; else the path itself.
// Paths are not checked: what cannot be read is for the one that reads it. What lies elsewhere has none.
func Files(path string) []string {
	if IsElsewhere(path) {
		return nil
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return []string{path}
	case info.IsDir():
		return checkpointFiles(path)
	case IsMergeRecipe(path):
		paths := []string{path}
		if recipe, err := moe.Read(path); err == nil {
			for _, dir := range recipe.Models() {
				paths = append(paths, checkpointFiles(dir)...)
			}
		}
		return paths
	}
	return gguf.SplitSet(path)
}

// checkpointFiles returns the files of a directory whose names are like those that
// converting reads.
func checkpointFiles(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var paths []string
	for _, e := range entries {
		known := slices.Contains([]string{".safetensors", ".json", ".jinja", ".model"}, filepath.Ext(e.Name())) ||
			slices.Contains([]string{"README.md", "merges.txt", "vocab.txt"}, e.Name())
		if known && e.Type()&fs.ModeDir == 0 {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths
}
