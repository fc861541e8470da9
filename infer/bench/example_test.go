package bench_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/bench"
)

// It has no output to compare: no two machines are as fast.
func Example() {
	results, err := bench.Quantize(context.Background(), bench.Options{Types: []gguf.Type{gguf.Q8_0}, Threads: []int{1}})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range results {
		fmt.Println(r.Type, r.Op, r.ISA, r.Value, r.Unit)
	}
}
