package jinja_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ggufkit/ggufkit/infer/chat/jinja"
)

func Example() {
	t, err := jinja.Parse(`{% for m in messages %}{{ m.role | upper }}: {{ m['content'] | trim }}{% if not loop.last %}, {% endif %}{% endfor %}`)
	if err != nil {
		log.Fatal(err)
	}
	text, err := t.Render(context.Background(), map[string]any{"messages": []any{
		jinja.Dict{{Key: "role", Value: "user"}, {Key: "content", Value: " Hello! "}},
		jinja.Dict{{Key: "role", Value: "assistant"}, {Key: "content", Value: "Hi."}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
	// Output: USER: Hello!, ASSISTANT: Hi.
}
