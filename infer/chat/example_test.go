package chat_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/infer/chat"
)

// A conversation in the words of the model's own template.
func Example() {
	model, err := hf.Open("../../testdata/beyonder-mini/base", hf.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	t, err := chat.New(model.Metadata())
	if err != nil {
		log.Fatal(err)
	}
	text, err := t.Render(context.Background(), []chat.Message{{Role: "user", Content: "Hello!"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
	// Output: <s>GPT4 Correct User: Hello!<|end_of_turn|>GPT4 Correct Assistant:
}
