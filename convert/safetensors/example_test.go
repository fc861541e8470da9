package safetensors_test

import (
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/convert/safetensors"
)

// The shards of a checkpoint are one set of tensors.
func ExampleOpenDir() {
	c, err := safetensors.OpenDir("../../testdata/beyonder-mini/base")
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	t := c.Get("model.embed_tokens.weight")
	row := make([]float32, 256)
	if err := t.ReadRows(row, 1000, 1); err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(c.Names()), t.Dtype(), t.Shape(), row[0])
	// Output: 39 BF16 [4096 256] -0.004425049
}
