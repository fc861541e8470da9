package perplexity_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// How well a model predicts a text: the first windows of 64 tokens of it.
func Example() {
	src, err := hf.Open("../../testdata/beyonder-mini/base", hf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	text, err := os.ReadFile("../../testdata/texts/wiki.txt")
	if err != nil {
		log.Fatal(err)
	}
	tok, err := tokenizer.New(src.Metadata())
	if err != nil {
		log.Fatal(err)
	}
	tokens, bos, err := perplexity.Tokens(tok, string(text))
	if err != nil {
		log.Fatal(err)
	}
	model, err := infer.New(src, infer.Options{})
	if err != nil {
		log.Fatal(err)
	}
	result, err := perplexity.Score(context.Background(), model, tokens, bos, perplexity.Options{Ctx: 64, Chunks: 4})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.1f, between %.0f and %.0f, of %d tokens\n", result.PPL, result.Low, result.High, result.ScoredTokens)
	// Output: 112.4, between 21 and 269, of 124 tokens
}
