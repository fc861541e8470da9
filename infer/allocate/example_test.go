package allocate_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/allocate"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// A type for each tensor, so that the file has 3 MB and the model loses least.
func ExampleMeasure() {
	base, err := hf.Open("../../testdata/beyonder-mini/base", hf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer base.Close()
	tok, err := tokenizer.New(base.Metadata())
	if err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile("../../testdata/texts/chat.txt")
	if err != nil {
		log.Fatal(err)
	}
	tokens, bos, err := perplexity.Tokens(tok, string(text))
	if err != nil {
		log.Fatal(err)
	}
	texts := []drift.Text{{Name: "chat.txt", Tokens: tokens, BOS: bos}}
	s, err := allocate.Measure(context.Background(), base, nil, texts, allocate.Options{
		Options: perplexity.Options{Ctx: 16, Chunks: 2},
		Types:   []gguf.Type{gguf.Q4_K, gguf.Q8_0},
	})
	if err != nil {
		log.Fatal(err)
	}
	mix, err := s.Fit(3_000_000, recipe.Q4_K_M)
	if err != nil {
		log.Fatal(err)
	}
	types := make(map[gguf.Type]bool)
	for _, t := range mix.View.Tensors() {
		types[t.Type] = true
	}
	fmt.Println(mix.Bytes <= 3_000_000, types)
	// Output: true map[F32:true Q8_0:true Q4_K:true]
}
