package moe_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/convert/moe"
	"github.com/ggufkit/ggufkit/testdata"
)

// Four models of one shape become a mixture, which is read from them. Its routers are random here: with
// prompts they need the Encoder of package infer/states.
func Example() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := testdata.WriteBeyonder(dir); err != nil {
		log.Fatal(err)
	}
	recipe, err := moe.Read(filepath.Join(dir, "moe.yaml"))
	if err != nil {
		log.Fatal(err)
	}
	recipe.GateMode = moe.Random
	m, err := moe.New(context.Background(), recipe, moe.Options{Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	mixture, err := hf.New(m.Parts, hf.Options{}) // or m.Write, for a directory
	if err != nil {
		log.Fatal(err)
	}
	defer mixture.Close()
	d, err := moe.Diagnose(mixture)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Experts, "experts, routers", d.Mode)
	// Output: 4 experts, routers random
}
