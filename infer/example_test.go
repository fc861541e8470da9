package infer_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/sampling"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// A text is continued with the most likely tokens.
func ExampleModel_NewSession() {
	src, err := hf.Open("../testdata/beyonder-mini/base", hf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	tok, err := tokenizer.New(src.Metadata())
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
	ctx := context.Background()
	ids := tok.Encode("for i in range(10):", tokenizer.Options{AddSpecial: true})
	logits, err := session.Start(ctx, ids)
	if err != nil {
		log.Fatal(err)
	}
	for range 8 {
		next, err := sampler.Next(logits, ids)
		if err != nil {
			log.Fatal(err)
		}
		ids = append(ids, next)
		if logits, err = session.Add(ctx, next); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Printf("%q\n", tok.Decode(ids))
	// Output: "for i in range(10):\n            return 1\n            return"
}
