package chat_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/chat"
)

const (
	chatMLGood = "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nBe good.<|im_end|>\n' }}{% endif %}" +
		"{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}" +
		"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
	// The instruction is in the first turn, as Gemma and Llama 2 have it.
	inUser = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}{% set rest = messages[1:] %}" +
		"{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}{% for m in rest %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' " +
		"+ (first if loop.first else '') + m['content'] + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
	// The instruction is in the last turn, as Mistral has it since 2024.
	inLast = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set rest = messages[1:] %}{% else %}{% set rest = messages %}{% endif %}" +
		"{% for m in rest %}{% if m['role'] == 'user' %}{% if loop.last and system is defined %}{{ '[INST] ' + system + '\n\n' + m['content'] + '[/INST]' }}" +
		"{% else %}{{ '[INST] ' + m['content'] + '[/INST]' }}{% endif %}{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)

func TestTurns(t *testing.T) {
	for template, want := range map[string]chat.Turns{
		openChat: {
			Start: "<s>", System: true, SystemStart: "GPT4 Correct System: ", SystemEnd: "<|end_of_turn|>",
			UserStart: "GPT4 Correct User: ", UserEnd: "<|end_of_turn|>GPT4 Correct Assistant:", AssistantStart: " ", AssistantEnd: "<|end_of_turn|>",
		},
		mistral: {Start: "<s>", UserStart: "[INST] ", UserEnd: " [/INST]", AssistantEnd: "</s>"},
		chatMLGood: {
			Default: "<|im_start|>system\nBe good.<|im_end|>\n", System: true, SystemStart: "<|im_start|>system\n", SystemEnd: "<|im_end|>\n",
			UserStart: "<|im_start|>user\n", UserEnd: "<|im_end|>\n<|im_start|>assistant\n", AssistantEnd: "<|im_end|>\n",
		},
		inUser: {
			Start: "<s>", System: true, SystemInUser: true, SystemEnd: "\n\n",
			UserStart: "<start_of_turn>user\n", UserEnd: "<end_of_turn>\n<start_of_turn>model\n", AssistantEnd: "<end_of_turn>\n",
		},
	} {
		tmpl, err := chat.New(metadata(template))
		require.NoError(t, err)
		got, err := tmpl.Turns(t.Context())
		require.NoError(t, err, template)
		require.Equal(t, want, got)
		messages := []chat.Message{{Role: "user", Content: "Hi"}, {Role: "assistant", Content: "Hello"}, {Role: "user", Content: "Bye"}}
		text, err := tmpl.Render(t.Context(), messages)
		require.NoError(t, err)
		require.Equal(t, text, got.Write("", "Hi", "Hello", "Bye"))
		if got.System {
			text, err = tmpl.Render(t.Context(), append([]chat.Message{{Role: "system", Content: "S"}}, messages...))
			require.NoError(t, err)
			require.Equal(t, text, got.Write("S", "Hi", "Hello", "Bye"))
		}
	}
}

// Templates that do more are not taken for simple ones.
func TestNoTurns(t *testing.T) {
	const thoughtful = "{% for m in messages %}{% if m['role'] == 'user' %}Q: {{ m['content'] }}\n{% elif loop.index > messages | length - 2 %}A: {{ m['content'] }}\n{% endif %}{% endfor %}A:"
	for _, template := range []string{inLast, thoughtful, "nothing", "{{ raise_exception('no') }}", "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"} {
		tmpl, err := chat.New(metadata(template))
		require.NoError(t, err)
		_, err = tmpl.Turns(t.Context())
		require.ErrorIs(t, err, chat.ErrTurns, template)
	}
}
