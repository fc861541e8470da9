package states_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ggufkit/ggufkit/convert"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/infer/states"
	"github.com/ggufkit/ggufkit/testdata"
)

// A merge recipe whose routers are made of prompts is opened like any other model.
func ExampleEncoder() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := testdata.WriteBeyonder(dir); err != nil {
		log.Fatal(err)
	}
	options := convert.Options{Merge: moe.Options{Encoder: &states.Encoder{}}}
	mixture, err := convert.OpenModel(context.Background(), filepath.Join(dir, "moe.yaml"), options)
	if err != nil {
		log.Fatal(err)
	}
	defer mixture.Close()
	d, err := moe.Diagnose(mixture)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Experts, "experts, routers", d.Mode)
	// Output: 4 experts, routers hidden
}
