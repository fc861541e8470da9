package display_test

import (
	"fmt"
	"time"

	"github.com/ggufkit/ggufkit/infer/display"
)

func Example() {
	fmt.Println(display.Bytes(4_920_000_000), display.Count(7_241_732_096), display.Seconds(90*time.Second), display.Percent(0.125))
	fmt.Println(display.Printable("a name\x1b[31m from a file"))
	// Output:
	// 4.58 GiB 7.24 B 1m30s 12.5 %
	// a name\x1b[31m from a file
}
