package pretoken_test

import (
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/convert/vocab/pretoken"
)

// Two vocabularies cut the same text into different words.
func ExampleFind() {
	for _, name := range []string{"gpt-2", "qwen2"} {
		p, ok := pretoken.Find(name)
		if !ok {
			log.Fatal("no pre-tokenizer is called ", name)
		}
		fmt.Printf("%s:", name)
		p.Split("It's 42.", func(word string) { fmt.Printf(" %q", word) })
		fmt.Println()
	}
	// Output:
	// gpt-2: "It" "'s" " 42" "."
	// qwen2: "It" "'s" " " "4" "2" "."
}
