package weights_test

import (
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/convert/weights"
)

// The experts of a layer become one tensor, whose rows are read from theirs.
func ExampleStack() {
	one := weights.Values(weights.F32, []float32{1, 2, 3, 4}, 2, 2) // 2 rows of 2
	two := weights.Values(weights.F32, []float32{5, 6, 7, 8}, 2, 2)
	experts := weights.Stack(one, two)
	rows := make([]float32, 4)
	if err := experts.ReadRows(rows, 1, 2); err != nil {
		log.Fatal(err)
	}
	fmt.Println(experts.Shape(), rows)
	// Output: [2 2 2] [3 4 5 6]
}
