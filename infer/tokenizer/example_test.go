package tokenizer_test

import (
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

func Example() {
	model, err := hf.Open("../../testdata/beyonder-mini/base", hf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	tok, err := tokenizer.New(model.Metadata())
	if err != nil {
		log.Fatal(err)
	}
	ids := tok.Encode("Hello, world!", tokenizer.Options{AddSpecial: true})
	for _, id := range ids {
		fmt.Printf("%d %q\n", id, tok.Piece(id))
	}
	fmt.Println(tok.Decode(ids))
	// Output:
	// 1 "<s>"
	// 364 "▁H"
	// 304 "el"
	// 435 "lo"
	// 4014 ","
	// 1621 "▁world"
	// 4071 "!"
	// Hello, world!
}
