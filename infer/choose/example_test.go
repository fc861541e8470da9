package choose_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/choose"
	"github.com/ggufkit/ggufkit/infer/drift"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// The closest to the original that fits into 4 MB beside a cache for 512 tokens.
func ExampleRun() {
	base, err := hf.Open("../../testdata/beyonder-mini/base", hf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer base.Close()
	model, err := infer.New(base, infer.Options{})
	if err != nil {
		log.Fatal(err)
	}
	memory, err := choose.NewMemory(model.Spec(), choose.Setting{Context: 512, Keys: gguf.F16, Values: gguf.F16, FlashAttention: true})
	if err != nil {
		log.Fatal(err)
	}
	var candidates []choose.Candidate
	for _, fileType := range []recipe.FileType{recipe.Q8_0, recipe.Q6_K, recipe.Q4_K_M, recipe.Q4_0} {
		view, err := quant.NewView(base, fileType, quant.ViewOptions{})
		if err != nil {
			log.Fatal(err)
		}
		_, size, err := gguf.Layout(view)
		if err != nil {
			log.Fatal(err)
		}
		candidates = append(candidates, choose.Candidate{Candidate: drift.Candidate{Name: fileType.String(), Source: view}, Bytes: size})
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
	measure := func(some []drift.Candidate) ([]drift.Result, error) {
		options := drift.Options{Options: perplexity.Options{Ctx: 32, Chunks: 4}}
		report, err := drift.Measure(context.Background(), base, some, []drift.Text{{Name: "chat.txt", Tokens: tokens, BOS: bos}}, options)
		if err != nil {
			return nil, err
		}
		return report.Candidates, nil
	}
	choice, err := choose.Run(choose.Limits{Fit: 4_000_000 + memory.Bytes()}, memory, candidates, measure)
	if err != nil {
		log.Fatal(err)
	}
	chosen := choice.Considered[choice.Chosen]
	fmt.Printf("%s: %s\n", chosen.Name, chosen.Reason)
	// Output: Q6_K: chosen: the closest to the original that fits
}
