package imatrix_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/imatrix"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// An importance matrix is measured on a text, and written as llama-imatrix does.
func ExampleMeasure() {
	src, err := hf.Open("../../testdata/beyonder-mini/base", hf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	tok, err := tokenizer.New(src.Metadata())
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile("../../testdata/texts/code.txt")
	if err != nil {
		log.Fatal(err)
	}
	tokens, bos, err := perplexity.Tokens(tok, string(text))
	if err != nil {
		log.Fatal(err)
	}
	texts := []perplexity.Text{{Name: "code.txt", Tokens: tokens, BOS: bos}}
	m, err := imatrix.Measure(context.Background(), src, texts, imatrix.Options{Options: perplexity.Options{Ctx: 64, Chunks: 2}})
	if err != nil {
		log.Fatal(err)
	}
	sums, err := m.Sums.Source()
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, err := gguf.Write(context.Background(), filepath.Join(dir, "imatrix.gguf"), sums, gguf.WriteOptions{}); err != nil {
		log.Fatal(err)
	}
	for _, t := range sums.Tensors()[:2] {
		fmt.Println(t.Name, t.Shape)
	}
	// Output:
	// blk.0.attn_k.weight.in_sum2 [256]
	// blk.0.attn_k.weight.counts [1]
}
