package sampling_test

import (
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/infer/sampling"
)

// Without a temperature the most likely token comes next, unless it is there already.
func Example() {
	logits := []float32{0.5, 2, 1.9, -1}
	for _, penalty := range []float64{1, 1.2} {
		s, err := sampling.New(sampling.Options{RepetitionPenalty: penalty})
		if err != nil {
			log.Fatal(err)
		}
		next, err := s.Next(logits, []int32{0, 1})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(next)
	}
	// Output:
	// 1
	// 2
}
