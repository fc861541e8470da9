package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/chat/jinja"
)

// Conversation is one with all that templates may show: messages have a role, a content, and whatever else they were given, such as tool_calls.
type Conversation struct {
	Messages []jinja.Dict
	Tools    []any // nil: none
}

// What a conversation may have.
const (
	maxMessages     = 2000
	maxConversation = 4 << 20 // bytes of JSON
)

// IsConversation reports whether a line is meant to be JSON of a conversation: it begins an object with a list of messages or conversations. What
// comes then may be wrong.
func IsConversation(line []byte) bool {
	d := json.NewDecoder(bytes.NewReader(line))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return false
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return false
		}
		if key == "messages" || key == "conversations" {
			token, err := d.Token()
			return err == nil && token == json.Delim('[')
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return false
		}
	}
	return false
}

// ParseConversation reads a conversation as data sets have them, an object of JSON: messages as chat completions have them (role, content,
// tool_calls, reasoning_content or thinking), or ShareGPT's conversations (from, value), beside tools and system if there are any. A content of
// parts is the text of these. Arguments of tool calls that are a text of JSON become what it says, since templates write JSON themselves. The error
// wraps gguf.ErrCorrupt or gguf.ErrUnsupported.
func ParseConversation(data []byte) (Conversation, error) {
	if len(data) > maxConversation {
		return Conversation{}, fmt.Errorf("%w: a conversation of %d bytes, of which there may be %d", gguf.ErrUnsupported, len(data), maxConversation)
	}
	value, err := parseJSON(data)
	if err != nil {
		return Conversation{}, err
	}
	object, ok := value.(jinja.Dict)
	if !ok {
		return Conversation{}, corrupt("a conversation is no object")
	}
	var c Conversation
	if system, ok := get(object, "system").(string); ok && system != "" {
		c.Messages = append(c.Messages, message("system", system))
	}
	list, _ := get(object, "messages").([]any)
	if list == nil {
		list, _ = get(object, "conversations").([]any)
	}
	if len(list) == 0 {
		return Conversation{}, corrupt("there is no list of messages or conversations")
	}
	if len(list) > maxMessages {
		return Conversation{}, fmt.Errorf("%w: %d messages, of which there may be %d", gguf.ErrUnsupported, len(list), maxMessages)
	}
	for i, v := range list {
		m, err := readMessage(v)
		if err != nil {
			return Conversation{}, fmt.Errorf("message %d: %w", i+1, err)
		}
		c.Messages = append(c.Messages, m)
	}
	tools := get(object, "tools")
	if text, ok := tools.(string); ok && text != "" {
		if tools, err = parseJSON([]byte(text)); err != nil {
			return Conversation{}, fmt.Errorf("tools: %w", err)
		}
	}
	if c.Tools, ok = tools.([]any); !ok && tools != nil && tools != "" {
		return Conversation{}, corrupt("tools are no list")
	}
	if len(c.Tools) == 0 {
		c.Tools = nil
	}
	return c, nil
}

// shareGPTRoles are the roles of what ShareGPT's conversations are from.
var shareGPTRoles = map[string]string{
	"system": "system", "human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant", "bard": "assistant", "assistant": "assistant",
	"model": "assistant", "tool": "tool", "observation": "tool", "function_response": "tool",
}

func readMessage(v any) (jinja.Dict, error) {
	m, ok := v.(jinja.Dict)
	if !ok {
		return nil, corrupt("it is no object")
	}
	if from, ok := get(m, "from").(string); ok && get(m, "role") == nil {
		text, ok := get(m, "value").(string)
		role := shareGPTRoles[strings.ToLower(from)]
		if !ok || role == "" {
			return nil, fmt.Errorf("%w: from %q, with a value that is a text: %t", gguf.ErrUnsupported, from, ok)
		}
		return message(role, text), nil
	}
	if role, _ := get(m, "role").(string); role == "" {
		return nil, corrupt("it has no role")
	}
	content, err := contentText(get(m, "content"))
	if err != nil {
		return nil, err
	}
	m = set(m, "content", content)
	for _, names := range [][2]string{{"reasoning_content", "thinking"}, {"thinking", "reasoning_content"}} { // templates call it one or the other
		if thought, ok := get(m, names[0]).(string); ok {
			m = set(m, names[1], thought)
		}
	}
	calls, _ := get(m, "tool_calls").([]any)
	for _, call := range calls {
		call, _ := call.(jinja.Dict)
		function, ok := get(call, "function").(jinja.Dict)
		if !ok {
			function = call
		}
		if text, ok := get(function, "arguments").(string); ok {
			if arguments, err := parseJSON([]byte(text)); err == nil {
				set(function, "arguments", arguments)
			}
		}
	}
	return m, nil
}

// contentText returns what a message says.
func contentText(content any) (string, error) {
	switch content := content.(type) {
	case nil:
		return "", nil
	case string:
		return content, nil
	case []any:
		var all strings.Builder
		for _, part := range content {
			part, _ := part.(jinja.Dict)
			text, ok := get(part, "text").(string)
			if !ok {
				return "", fmt.Errorf("%w: a part of its content is no text", gguf.ErrUnsupported)
			}
			all.WriteString(text)
		}
		return all.String(), nil
	}
	return "", corrupt("its content is no text")
}

func message(role, content string) jinja.Dict {
	return jinja.Dict{{Key: "role", Value: role}, {Key: "content", Value: content}}
}

func corrupt(says string) error { return fmt.Errorf("%w: %s", gguf.ErrCorrupt, says) }

// get returns the value of a key, of several the last; nil if there is none.
func get(d jinja.Dict, key string) any {
	for _, e := range slices.Backward(d) {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

// set replaces the value of a key, or adds it.
func set(d jinja.Dict, key string, value any) jinja.Dict {
	for i := range slices.Backward(d) {
		if d[i].Key == key {
			d[i].Value = value
			return d
		}
	}
	return append(d, jinja.Entry{Key: key, Value: value})
}

func parseJSON(data []byte) (any, error) {
	value, err := jinja.FromJSON(data)
	if err != nil {
		return nil, fmt.Errorf("%w: JSON: %w", gguf.ErrCorrupt, err)
	}
	return value, nil
}

// Conversation returns the text of a whole conversation.
func (t *Template) Conversation(ctx context.Context, c Conversation) (string, error) {
	return t.write(ctx, c.Messages, c.Tools, false)
}

// Span is a part of a text, from one byte to before another.
type Span struct{ Start, End int }

// ErrHidden means that a template does not show which part of a conversation is the assistant's.
var ErrHidden = errors.New("the chat template does not show what the assistant says")

// Assistant returns the parts of a conversation's text that are the assistant's: from where it was to begin, up to what ends its turn. They are found by
// writing the conversation up to each of its messages. Where that is not how the text begins, since templates leave out what was thought before, for
// example, it is compared with that of a conversation in which the message is another. The error wraps ErrHidden if that cannot be written, or is the context's.
func (t *Template) Assistant(ctx context.Context, c Conversation, text string) ([]Span, error) {
	var spans []Span
	for i, m := range c.Messages {
		if get(m, "role") != "assistant" {
			continue
		}
		before, errBefore := t.write(ctx, c.Messages[:i], c.Tools, true)
		upTo, errUpTo := t.write(ctx, c.Messages[:i+1], c.Tools, false)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		begins, ends := errBefore == nil && strings.HasPrefix(text, before), errUpTo == nil && strings.HasPrefix(text, upTo)
		span := Span{len(before), len(strings.TrimRight(upTo, " \n"))}
		if !begins || !ends {
			found, err := t.compare(ctx, c, text, i)
			if err != nil {
				return nil, fmt.Errorf("%w (message %d: %w)", ErrHidden, i+1, err)
			}
			if !begins {
				span.Start = found.Start
			}
			if !ends {
				span.End = found.End
			}
		}
		if span.Start < span.End {
			spans = append(spans, span)
		}
	}
	return spans, nil
}

// compare finds what a message, and what ends a turn behind it, is of a text.
func (t *Template) compare(ctx context.Context, c Conversation, text string, number int) (Span, error) {
	const other = "\uE000" // of private use
	messages := slices.Clone(c.Messages)
	messages[number] = message("assistant", other)
	changed, err := t.write(ctx, messages, c.Tools, false)
	if err != nil {
		return Span{}, err
	}
	n := min(len(text), len(changed))
	start := 0
	for start < n && text[start] == changed[start] {
		start++
	}
	same := 0 // at the end
	for same < n-start && text[len(text)-1-same] == changed[len(changed)-1-same] {
		same++
	}
	end, err := t.EndOfTurn(ctx)
	if err != nil {
		return Span{}, err
	}
	span := Span{start, len(text) - same}
	if end = strings.TrimSpace(end); strings.HasPrefix(text[span.End:], end) {
		span.End += len(end)
	}
	return span, nil
}
