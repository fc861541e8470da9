package recipe_test

import (
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// Q4_K_M gives some tensors more bits than others; an override comes first.
func ExamplePlan() {
	meta := gguf.NewMetadata(gguf.KV{Key: "general.architecture", Value: "llama"}, gguf.KV{Key: "llama.block_count", Value: uint32(1)})
	tensors := []gguf.TensorInfo{
		{Name: "token_embd.weight", Type: gguf.BF16, Shape: []int64{256, 4096}},
		{Name: "blk.0.attn_q.weight", Type: gguf.BF16, Shape: []int64{256, 256}},
		{Name: "blk.0.attn_v.weight", Type: gguf.BF16, Shape: []int64{256, 256}},
		{Name: "output_norm.weight", Type: gguf.F32, Shape: []int64{256}},
		{Name: "output.weight", Type: gguf.BF16, Shape: []int64{256, 4096}},
	}
	override, err := recipe.ParseOverride(`attn_q=q8_0`)
	if err != nil {
		log.Fatal(err)
	}
	types, err := recipe.Plan(meta, tensors, recipe.Q4_K_M, recipe.Options{Overrides: []recipe.Override{override}})
	if err != nil {
		log.Fatal(err)
	}
	for i, t := range tensors {
		fmt.Println(t.Name, types[i])
	}
	// Output:
	// token_embd.weight Q4_K
	// blk.0.attn_q.weight Q8_0
	// blk.0.attn_v.weight Q6_K
	// output_norm.weight F32
	// output.weight Q6_K
}
