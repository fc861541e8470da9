package drift_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// What two ways to quantize a model cost: nothing is written, both are quantized as they are read.
func ExampleMeasure() {
	base, err := hf.Open("../../testdata/beyonder-mini/base", hf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer base.Close()
	var candidates []drift.Candidate
	for _, fileType := range []recipe.FileType{recipe.Q8_0, recipe.Q4_K_M} {
		view, err := quant.NewView(base, fileType, quant.ViewOptions{})
		if err != nil {
			log.Fatal(err)
		}
		candidates = append(candidates, drift.Candidate{Name: fileType.String(), Source: view})
	}
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
	report, err := drift.Measure(context.Background(), base, candidates, texts, drift.Options{Options: perplexity.Options{Ctx: 32, Chunks: 4}})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range report.Candidates {
		fmt.Printf("%s: %.3f nats a token\n", c.Name, c.Overall.KLD.Value)
	}
	// Output:
	// Q8_0: 0.000 nats a token
	// Q4_K_M: 0.008 nats a token
}
