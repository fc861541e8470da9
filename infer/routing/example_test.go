package routing_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/infer"
	"github.com/ggufkit/ggufkit/infer/routing"
	"github.com/ggufkit/ggufkit/infer/states"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
	"github.com/ggufkit/ggufkit/testdata"
)

// Which experts of a mixture a text is given to.
func ExampleTally() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := testdata.WriteBeyonder(dir); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	src, err := convert.OpenModel(ctx, filepath.Join(dir, "moe.yaml"), convert.Options{Merge: moe.Options{Encoder: &states.Encoder{}}})
	if err != nil {
		log.Fatal(err)
	}
	defer src.Close()
	tok, err := tokenizer.New(src.Metadata())
	if err != nil {
		log.Fatal(err)
	}
	var tally routing.Tally
	model, err := infer.New(src, infer.Options{Router: tally.Add})
	if err != nil {
		log.Fatal(err)
	}
	text := tok.Encode("def main():\n    print(42)\n", tokenizer.Options{AddSpecial: true})
	if err := model.Forward(ctx, infer.Chunks([][]int32{text}, infer.NoLogits), func(int, int, []float32) {}); err != nil {
		log.Fatal(err)
	}
	for _, layer := range tally.Layers() {
		fmt.Printf("layer %d: %.0f %% of the tokens go to the expert for code\n", layer.Layer, 100*layer.Share(1))
	}
	// Output:
	// layer 0: 92 % of the tokens go to the expert for code
	// layer 1: 83 % of the tokens go to the expert for code
	// layer 2: 92 % of the tokens go to the expert for code
	// layer 3: 83 % of the tokens go to the expert for code
}
