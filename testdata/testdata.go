// Package testdata embeds the small models and texts that the demo runs on.
// See README.md for where they come from.
package testdata

import (
	"embed"
	"io/fs"
	"os"
	"path/filepath"
)

// files leaves out the shard that all five models have.
//
//go:embed texts/*.txt beyonder-mini/moe.yaml beyonder-mini/base
//go:embed beyonder-mini/*/*.json beyonder-mini/*/tokenizer.model beyonder-mini/*/model-00002-of-00002.safetensors
var files embed.FS

// Texts holds held-out text of five domains, *.txt.
var Texts = sub("texts")

func sub(dir string) fs.FS {
	s, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the name is valid
	}
	return s
}

// WriteBeyonder writes the small Beyonder into an existing directory: five
// checkpoints as Hugging Face lays them out, base, chat, code, story and math, and
// moe.yaml, the recipe that merges them.
func WriteBeyonder(dir string) error {
	if err := os.CopyFS(dir, sub("beyonder-mini")); err != nil {
		return err
	}
	const common = "model-00001-of-00002.safetensors"
	data, err := os.ReadFile(filepath.Join(dir, "base", common))
	if err != nil {
		return err
	}
	for _, expert := range []string{"chat", "code", "story", "math"} {
		if err := os.WriteFile(filepath.Join(dir, expert, common), data, 0o666); err != nil {
			return err
		}
	}
	return nil
}
