package isa_test

import (
	"fmt"
	"log"
	"slices"

	"github.com/ggufkit/ggufkit/quant/isa"
)

// Every machine has the generic tier; the best one is in use from the start.
func Example() {
	before := isa.Current()
	fmt.Println(slices.Contains(isa.Available(), isa.Generic), slices.Contains(isa.Available(), before))
	if err := isa.Use(isa.Generic); err != nil {
		log.Fatal(err)
	}
	fmt.Println(isa.Current())
	if err := isa.Use(before); err != nil {
		log.Fatal(err)
	}
	// Output:
	// true true
	// generic
}
