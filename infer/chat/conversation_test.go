package chat_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/chat"
)

// shows writes all that it is given as JSON.
const shows = "{{ messages | tojson }} {{ tools | tojson }}"

func TestParseConversation(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"messages": {`{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "name": "c"}], "id": 3}`,
			`[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "name": "c"}] null`},
		"ShareGPT": {`{"system": "be", "conversations": [{"from": "human", "value": "a"}, {"from": "GPT", "value": "b"}, {"from": "observation", "value": "c"}]}`,
			`[{"role": "system", "content": "be"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "tool", "content": "c"}] null`},
		"parts, and none": {`{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}]}, {"role": "assistant", "content": null}]}`,
			`[{"role": "user", "content": "ab"}, {"role": "assistant", "content": ""}] null`},
		"thinking": {`{"messages": [{"role": "assistant", "content": "a", "thinking": "b"}, {"role": "assistant", "reasoning_content": "c"}]}`,
			`[{"role": "assistant", "content": "a", "thinking": "b", "reasoning_content": "b"}, ` +
				`{"role": "assistant", "reasoning_content": "c", "content": "", "thinking": "c"}] null`},
		"tools": {`{"messages": [{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": "{\"z\": 1.5, \"a\": [true, null]}"}}, ` +
			`{"name": "g", "arguments": "no JSON"}]}], "tools": "[{\"name\": \"f\"}]"}`,
			`[{"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"z": 1.5, "a": [true, null]}}}, ` +
				`{"name": "g", "arguments": "no JSON"}]}] [{"name": "f"}]`},
		"no tools": {`{"messages": [{"role": "user", "content": "a"}], "tools": []}`, `[{"role": "user", "content": "a"}] null`},
	} {
		t.Run(name, func(t *testing.T) {
			require.True(t, chat.IsConversation([]byte(c.line)))
			conversation, err := chat.ParseConversation([]byte(c.line))
			require.NoError(t, err)
			tmpl, err := chat.New(metadata(shows))
			require.NoError(t, err)
			text, err := tmpl.Conversation(t.Context(), conversation)
			require.NoError(t, err)
			require.Equal(t, c.want, text)
		})
	}
}

func TestParseConversationErrors(t *testing.T) {
	for line, want := range map[string]string{
		`{"messages": [{"role": "user", "content": "a"}`:     "JSON",
		`{"messages": [{"role": "user", "content": "a"}]} x`: "JSON",
		`[1]`:               "no object",
		`{"messages": "a"}`: "no list",
		`{"messages": []}`:  "no list",
		`{"messages": [1]}`: "message 1: corrupt file: it is no object",
		`{"messages": [{"role": "user"}, {"content": "a"}]}`:                        "message 2: corrupt file: it has no role",
		`{"messages": [{"role": "user", "content": 3}]}`:                            "content is no text",
		`{"messages": [{"role": "user", "content": [{"image_url": "x"}]}]}`:         "a part of its content is no text",
		`{"conversations": [{"from": "narrator", "value": "a"}]}`:                   `from "narrator"`,
		`{"messages": [{"role": "user"}], "tools": {}}`:                             "tools are no list",
		`{"messages": [{"role": "user"}], "tools": "["}`:                            "tools: ",
		`{"messages": [` + strings.Repeat(`{"role":"user"},`, 2000) + `{}]}`:        "2001 messages",
		`{"messages": ` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`: "deeper than 100",
		`{"a": "` + strings.Repeat("a", 4<<20) + `"}`:                               "of which there may be 4194304",
	} {
		_, err := chat.ParseConversation([]byte(line))
		require.ErrorContains(t, err, want)
	}
	for line, is := range map[string]bool{
		"": false, "{}": false, "[]": false, "{ a text": false, `{"messages": 3}`: false, `{"text": "a"}`: false, `{"a": [}, "messages": []`: false,
		` {"messages": [1`: true, `{"id": {"b": 1}, "conversations": []}`: true,
	} {
		require.Equal(t, is, chat.IsConversation([]byte(line)), line)
	}
}

const (
	chatML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
	// forgetful leaves out what was thought before the last message, and begins an answer with thinking.
	forgetful = "{% for m in messages %}<|{{ m.role }}|>{% if m.reasoning_content and loop.last %}<think>{{ m.reasoning_content }}</think>{% endif %}" +
		"{{ m.content | trim }}<end>{% endfor %}{% if add_generation_prompt %}<|assistant|><think>{% endif %}"
	// late has the tools before the last question.
	late = "{% for m in messages %}{% if m.role == 'user' %}{% if tools and loop.index0 >= messages | length - 2 %}[TOOLS]{{ tools | tojson }}{% endif %}[INST]" +
		"{{ m.content }}[/INST]{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)

func TestAssistant(t *testing.T) {
	for name, c := range map[string]struct {
		template, line string
		want           []string
	}{
		"ChatML": {chatML, `{"messages": [{"role": "system", "content": "Be."}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b\n"},
			{"role": "assistant", "content": "c"}]}`, []string{"b\n<|im_end|>", "c<|im_end|>"}},
		"of no message": {chatML, `{"messages": [{"role": "user", "content": "a"}]}`, nil},
		"begins":        {chatML, `{"messages": [{"role": "assistant", "content": "b"}, {"role": "user", "content": "a"}]}`, []string{"b<|im_end|>"}},
		"thinking is forgotten": {forgetful, `{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": " b ", "thinking": "x"},
			{"role": "user", "content": "b"}, {"role": "assistant", "content": "c", "thinking": "y"}]}`, []string{"b<end>", "y</think>c<end>"}},
		"tools move": {late, `{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "b"},
			{"role": "assistant", "content": "c"}], "tools": [{"name": "f"}]}`, []string{"b</s>", " c</s>"}},
	} {
		t.Run(name, func(t *testing.T) {
			tmpl, err := chat.New(metadata(c.template))
			require.NoError(t, err)
			conversation, err := chat.ParseConversation([]byte(c.line))
			require.NoError(t, err)
			text, err := tmpl.Conversation(t.Context(), conversation)
			require.NoError(t, err)
			spans, err := tmpl.Assistant(t.Context(), conversation, text)
			require.NoError(t, err)
			var got []string
			for _, s := range spans {
				got = append(got, text[s.Start:s.End])
			}
			require.Equal(t, c.want, got, text)
		})
	}
}

func TestAssistantIsHidden(t *testing.T) {
	tmpl, err := chat.New(metadata("{% for m in messages | reverse %}{{ m.content }}{% if m.content != 'a' and m.content != 'b' %}{{ raise_exception('no') }}{% endif %}{% endfor %}"))
	require.NoError(t, err)
	c, err := chat.ParseConversation([]byte(`{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}`))
	require.NoError(t, err)
	text, err := tmpl.Conversation(t.Context(), c)
	require.NoError(t, err)
	_, err = tmpl.Assistant(t.Context(), c, text)
	require.ErrorIs(t, err, chat.ErrHidden)
	require.ErrorContains(t, err, "message 2")
}

// FuzzParseConversation reads lines, and writes what it can read.
func FuzzParseConversation(f *testing.F) {
	for _, line := range []string{
		`{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": [{"text": "b"}], "tool_calls": [{"function": {"arguments": "{}"}}]}], "tools": "[1]"}`,
		`{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "system": "c"}`, `{"messages": [{}]}`, `[[[[`, `{"a": 1e999}`,
	} {
		f.Add([]byte(line))
	}
	tmpl, err := chat.New(metadata(openChat))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, line []byte) {
		c, err := chat.ParseConversation(line)
		if err != nil {
			if !json.Valid(line) {
				require.ErrorIs(t, err, gguf.ErrCorrupt)
			}
			return
		}
		require.NotEmpty(t, c.Messages)
		text, err := tmpl.Conversation(t.Context(), c)
		if err != nil {
			return
		}
		spans, err := tmpl.Assistant(t.Context(), c, text)
		if err != nil {
			return
		}
		end := 0
		for _, s := range spans {
			require.LessOrEqual(t, end, s.Start)
			require.LessOrEqual(t, s.End, len(text))
			end = s.Start
		}
	})
}
