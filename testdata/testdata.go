// Package testdata embeds the small models and texts that the demo runs on: 22 MB,
// 40 kB with the build tag nomodels. See README.md for where they come from.
package testdata

import (
	"embed"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ggufkit/ggufkit/gguf/files"
)

//go:embed texts/*.txt
var texts embed.FS

// Texts holds held-out text of five domains, *.txt.
var Texts = sub(texts, "texts")

func sub(from fs.FS, dir string) fs.FS {
	s, err := fs.Sub(from, dir)
	if err != nil {
		panic(err) // the name is valid
	}
	return s
}

// WriteTexts writes the texts into a directory, over what is called so.
func WriteTexts(dir string) error { return write(Texts, dir) }

// write copies files into a directory, over files of the same names.
func write(from fs.FS, dir string) error {
	return fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		path := filepath.Join(dir, filepath.FromSlash(name))
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(path, 0o777)
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		return files.Write(path, data, true)
	})
}

// ErrNoModels means that the program was built without the models, with -tags nomodels.
var ErrNoModels = errors.New("this program was built without the small models (-tags nomodels)")

// WriteBeyonder writes the small Beyonder into a directory, over what is called so:
// five checkpoints as Hugging Face lays them out, base, chat, code, story and math,
// and moe.yaml, the recipe that merges them. It fails with ErrNoModels where they were left out.
func WriteBeyonder(dir string) error {
	if models == nil {
		return ErrNoModels
	}
	if err := write(sub(models, "beyonder-mini"), dir); err != nil {
		return err
	}
	const common = "model-00001-of-00002.safetensors"
	data, err := os.ReadFile(filepath.Join(dir, "base", common))
	if err != nil {
		return err
	}
	for _, expert := range []string{"chat", "code", "story", "math"} {
		if err := files.Write(filepath.Join(dir, expert, common), data, true); err != nil {
			return err
		}
	}
	return nil
}
