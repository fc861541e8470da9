package packed_test

import (
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/convert/packed"
	"github.com/ggufkit/ggufkit/convert/safetensors"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// Codes of 8 bits and their scales become matrices that are computed when they are read.
func ExampleUnpack() {
	config, err := packed.ReadConfig(files.Directory(""), []byte(`{"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}`))
	if err != nil {
		log.Fatal(err)
	}
	file, err := safetensors.Open("testdata/fp8.safetensors")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	set, err := packed.Unpack(file, config)
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range set.Names()[:2] {
		fmt.Println(name, set.Get(name).Dtype(), set.Get(name).Shape())
	}
	// Output:
	// e8m0.v_proj.weight F32 [64 256]
	// float32.o_proj.weight F32 [256 256]
}
