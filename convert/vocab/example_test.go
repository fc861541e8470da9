package vocab_test

import (
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/convert/vocab"
	"github.com/ggufkit/ggufkit/gguf"
)

// The files of a tokenizer become metadata.
func ExampleLoad() {
	v, err := vocab.Load("../../testdata/beyonder-mini/base", vocab.Options{Size: 4096, Rules: vocab.Rules{Llama: true}})
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := gguf.Value[[]string](gguf.NewMetadata(v.Metadata...), "tokenizer.ggml.tokens")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(v.Metadata[0].Key, v.Metadata[0].Value, len(tokens), tokens[:3])
	// Output: tokenizer.ggml.model llama 4096 [<unk> <s> </s>]
}
