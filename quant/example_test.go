package quant_test

import (
	"fmt"
	"log"
	"math"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/quant"
	"github.com/ggufkit/ggufkit/quant/recipe"
)

// A row becomes blocks of Q8_0, 32 numbers and a scale in 34 bytes each, and comes back a little changed.
func ExampleQuantize() {
	row := make([]float32, 64)
	for i := range row {
		row[i] = float32(math.Sin(float64(i)))
	}
	data := make([]byte, gguf.Q8_0.RowBytes(int64(len(row))))
	if err := quant.Quantize(gguf.Q8_0, data, row, len(row), nil); err != nil {
		log.Fatal(err)
	}
	back := make([]float32, len(row))
	if err := quant.Dequantize(gguf.Q8_0, back, data, len(row)); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d bytes, %.5f is %.5f\n", len(data), row[1], back[1])
	// Output: 68 bytes, 0.84147 is 0.84247
}

// A model is quantized as it is read: a View holds no weights.
func ExampleNewView() {
	model, err := hf.Open("../testdata/beyonder-mini/base", hf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	view, err := quant.NewView(model, recipe.Q4_K_M, quant.ViewOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for _, t := range view.Tensors()[:4] {
		fmt.Println(t.Name, t.Type, t.Shape, t.Bytes())
	}
	// Output:
	// output.weight Q6_K [256 4096] 860160
	// output_norm.weight F32 [256] 1024
	// token_embd.weight Q4_K [256 4096] 589824
	// blk.0.attn_k.weight Q4_K [256 64] 9216
}
