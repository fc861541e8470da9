package hf_test

import (
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
)

// A checkpoint has the names, shapes and types of the GGUF file that it would become.
func ExampleOpen() {
	c, err := hf.Open("../../testdata/beyonder-mini/base", hf.Options{Type: new(gguf.Q8_0)})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for _, t := range c.Tensors()[:4] {
		fmt.Println(t.Name, t.Type, t.Shape)
	}
	// Output:
	// output.weight Q8_0 [256 4096]
	// token_embd.weight Q8_0 [256 4096]
	// blk.0.attn_norm.weight F32 [256]
	// blk.0.ffn_norm.weight F32 [256]
}
