package convert_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// A Hugging Face directory becomes a Q4_K_M file.
func ExampleToGGUF() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "base-Q4_K_M.gguf")
	if _, err := convert.ToGGUF(context.Background(), "../testdata/beyonder-mini/base", out, recipe.Q4_K_M, convert.OutputOptions{}); err != nil {
		log.Fatal(err)
	}
	f, err := gguf.Open(out)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	fmt.Println(f.Tensors()[2].Name, f.Tensors()[2].Type)
	// Output: token_embd.weight Q4_K
}

// Whatever a model is kept in, it is a gguf.Source.
func ExampleOpenModel() {
	m, err := convert.OpenModel(context.Background(), "../testdata/beyonder-mini/base", convert.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	architecture, err := gguf.Value[string](m.Metadata(), "general.architecture")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(architecture, len(m.Tensors()), "tensors")
	// Output: llama 39 tensors
}
