package arch_test

import (
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/infer/arch"
)

// The metadata of a model say what it computes.
func ExampleRead() {
	model, err := hf.Open("../../testdata/beyonder-mini/base", hf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	spec, err := arch.Read(model)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(spec.Architecture, len(spec.Layers), "layers", spec.Width, "wide")
	// Output: llama 4 layers 256 wide
}
