package generate_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/generate"
	"github.com/ggufkit/ggufkit/infer/sampling"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

func Example() {
	src, err := hf.Open("../../testdata/beyonder-mini/base", hf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	vocab, err := tokenizer.New(src.Metadata())
	if err != nil {
		log.Fatal(err)
	}
	model, err := infer.New(src, infer.Options{})
	if err != nil {
		log.Fatal(err)
	}
	session, err := model.NewSession(64, gguf.F16)
	if err != nil {
		log.Fatal(err)
	}
	sampler, err := sampling.New(sampling.Options{})
	if err != nil {
		log.Fatal(err)
	}
	g := generate.New(vocab, session, sampler, generate.Options{Most: 20, Stops: []string{" time"}})
	result, err := g.Run(context.Background(), g.Text("for i in"), os.Stdout)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("\n%d tokens, %s\n", result.NewTokens, result.Stopped)
	// Output:
	// the same
	// 3 tokens, stop
}
