package arch_test

import (
	"fmt"
	"log"
	"os"

	"github.com/ggufkit/ggufkit/convert/arch"
	"github.com/ggufkit/ggufkit/convert/safetensors"
)

// config.json says which architecture a checkpoint has, and so what becomes of its tensors.
func ExampleRead() {
	const dir = "../../testdata/beyonder-mini/base"
	config, err := os.ReadFile(dir + "/config.json")
	if err != nil {
		log.Fatal(err)
	}
	m, err := arch.Read(config)
	if err != nil {
		log.Fatal(err)
	}
	checkpoint, err := safetensors.OpenDir(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer checkpoint.Close()
	tensors, err := m.Plan(checkpoint)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Class, m.Name, tensors[1].Name, tensors[1].Shape())
	// Output: MistralForCausalLM llama token_embd.weight [4096 256]
}
