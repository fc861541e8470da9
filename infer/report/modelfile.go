package report

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/infer/chat"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

// ModelfileName is what Ollama calls the file that says how a model is run.
const ModelfileName = "Modelfile"

// Modelfile returns what Ollama needs to run the file to take with a context of so many tokens, and makes the card say so: the chat
// template in Ollama's language, where the turns end, and how the model wants to be sampled. It is "" where Ollama has nothing to run: for
// encoders and split files.
func (c *ModelCard) Modelfile(ctx context.Context, tokens int) (string, error) {
	f := c.taken()
	if !c.isGGUF() || f.encodes() || len(f.Parts) > 1 {
		return "", nil
	}
	vocab, err := tokenizer.New(f.meta)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "FROM ./%s\n", f.Parts[0].Name)
	stops := []string{vocab.Piece(vocab.EOS())}
	for _, key := range []string{"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"} {
		if id, err := f.meta.Uint(key); err == nil && id < uint64(vocab.VocabSize()) {
			stops = append(stops, vocab.Piece(int32(id)))
		}
	}
	if template, err := chat.New(f.meta); err == nil {
		turns, err := template.Turns(ctx)
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if vocab.AddsBOS() { // which Ollama writes itself
			turns.Start = strings.TrimPrefix(turns.Start, vocab.Piece(vocab.BOS()))
		}
		written, ok := ollamaTemplate(turns)
		if err == nil && ok {
			fmt.Fprintf(&b, "\nTEMPLATE \"\"\"%s\"\"\"\n", written)
		} else {
			b.WriteString("\n# The chat template of the model is more than turns one after the other. Ollama takes that of the file, if it knows it.\n")
		}
		if err == nil {
			stops = append(stops, strings.TrimSpace(turns.AssistantEnd))
		}
	}
	var said []string
	b.WriteString("\n")
	for _, stop := range stops {
		if quoted, ok := ollamaQuoted(stop); ok && !slices.Contains(said, stop) {
			fmt.Fprintf(&b, "PARAMETER stop %s\n", quoted)
			said = append(said, stop)
		}
	}
	if most, err := f.meta.Uint(f.text("general.architecture") + ".context_length"); err == nil && most < uint64(tokens) {
		tokens = int(most)
	}
	fmt.Fprintf(&b, "PARAMETER num_ctx %d\n", tokens)
	for _, p := range []struct{ key, name string }{
		{"temp", "temperature"}, {"top_k", "top_k"}, {"top_p", "top_p"}, {"min_p", "min_p"}, {"penalty_repeat", "repeat_penalty"}, {"penalty_last_n", "repeat_last_n"},
	} {
		if v, ok := f.meta.Get("general.sampling." + p.key); ok {
			switch v := v.(type) {
			case float32, int32:
				fmt.Fprintf(&b, "PARAMETER %s %v\n", p.name, v)
			}
		}
	}
	c.modelfile = true
	return b.String(), nil
}

// ollamaTemplate writes turns in Ollama's language, that of Go's templates. ok is false if it cannot.
func ollamaTemplate(t chat.Turns) (template string, ok bool) {
	for _, part := range []string{t.Start, t.Default, t.SystemStart, t.SystemEnd, t.UserStart, t.UserEnd, t.AssistantStart, t.AssistantEnd, t.Prompt} {
		if strings.Contains(part, "{{") || strings.Contains(part, "}}") || strings.Contains(part, `"""`) {
			return "", false
		}
	}
	var b strings.Builder
	b.WriteString(t.Start)
	system := ""
	switch instruction := "{{ if $.System }}" + t.SystemStart + "{{ $.System }}" + t.SystemEnd; {
	case t.System && t.SystemInUser:
		if t.Default != "" {
			b.WriteString("{{ if not $.System }}" + t.Default + "{{ end }}")
		}
		b.WriteString("{{ $first := true }}")
		system = "{{ if $first }}" + instruction + "{{ end }}{{ $first = false }}{{ end }}"
	case t.System && t.Default != "":
		b.WriteString(instruction + "{{ else }}" + t.Default + "{{ end }}")
	case t.System:
		b.WriteString(instruction + "{{ end }}")
	default:
		b.WriteString(t.Default)
	}
	fmt.Fprintf(&b, `{{ range .Messages }}{{ if eq .Role "user" }}%s%s{{ .Content }}%s{{ else if eq .Role "assistant" }}%s{{ .Content }}%s{{ end }}{{ end }}%s`,
		t.UserStart, system, t.UserEnd, t.AssistantStart, t.AssistantEnd, t.Prompt)
	return b.String(), true
}

// ollamaQuoted returns a text as a value in a Modelfile.
func ollamaQuoted(s string) (quoted string, ok bool) {
	if s == "" || strings.ContainsAny(s, "\"\\\n\r") {
		return "", false
	}
	return `"` + s + `"`, true
}
