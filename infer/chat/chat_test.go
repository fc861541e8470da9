package chat_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/chat"
)

func metadata(template string) *gguf.Metadata {
	return gguf.NewMetadata(
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: []string{"<unk>", "<s>", "</s>"}},
		gguf.KV{Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)},
		gguf.KV{Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)},
		gguf.KV{Key: "tokenizer.chat_template", Value: template},
	)
}

const openChat = "{{ bos_token }}{% for message in messages %}{{ 'GPT4 Correct ' + message['role'].title() + ': ' + message['content'] + " +
	"'<|end_of_turn|>'}}{% endfor %}" +
	"{% if add_generation_prompt %}{{ 'GPT4 Correct Assistant:' }}{% endif %}"

const mistral = "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}" +
	"{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}" +
	"{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"

func TestRender(t *testing.T) {
	turns := []chat.Message{{Role: "user", Content: "Hi"}, {Role: "assistant", Content: "Hello"}, {Role: "user", Content: "{{ bos_token }}"}}
	for template, c := range map[string]struct{ want, end string }{
		openChat: {"<s>GPT4 Correct User: Hi<|end_of_turn|>GPT4 Correct Assistant: Hello<|end_of_turn|>GPT4 Correct User: {{ bos_token " +
			"}}<|end_of_turn|>GPT4 Correct Assistant:", "<|end_of_turn|>"},
		mistral: {"<s>[INST] Hi [/INST]Hello</s>[INST] {{ bos_token }} [/INST]", "</s>"},
	} {
		tmpl, err := chat.New(metadata(template))
		require.NoError(t, err)
		text, err := tmpl.Render(t.Context(), turns)
		require.NoError(t, err)
		require.Equal(t, c.want, text)
		end, err := tmpl.EndOfTurn(t.Context())
		require.NoError(t, err)
		require.Equal(t, c.end, end)
	}
}

func TestErrors(t *testing.T) {
	meta := metadata("")
	meta.Delete("tokenizer.chat_template")
	_, err := chat.New(meta)
	require.ErrorIs(t, err, chat.ErrNoTemplate)
	_, err = chat.New(metadata("{% for"))
	require.ErrorIs(t, err, gguf.ErrCorrupt)
	meta = metadata("")
	meta.Set("tokenizer.ggml.bos_token_id", uint32(3))
	_, err = chat.New(meta)
	require.ErrorContains(t, err, "tokenizer.ggml.bos_token_id is 3, there are 3 tokens")
	tmpl, err := chat.New(metadata(mistral))
	require.NoError(t, err)
	_, err = tmpl.Render(t.Context(), []chat.Message{{Role: "system", Content: "x"}})
	require.ErrorContains(t, err, "roles must alternate")
}
