package perplexity_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/hf"
	"github.com/ggufkit/ggufkit/gguf"
	"github.com/ggufkit/ggufkit/infer/chat"
	"github.com/ggufkit/ggufkit/infer/interval"
	"github.com/ggufkit/ggufkit/infer/perplexity"
	"github.com/ggufkit/ggufkit/infer/tokenizer"
)

const exchange = `{"messages": [{"role": "user", "content": "What is two and two?"}, {"role": "assistant", "content": "It is four."},
	{"role": "user", "content": "Wirklich? Ÿ"}, {"role": "assistant", "content": "Ja, 漢字."}]}`

// conversations are those of a model with a SentencePiece vocabulary, which adds BOS and spaces.
func conversations(t *testing.T) *perplexity.Conversations {
	t.Helper()
	src, err := hf.Open("../../testdata/beyonder-mini/chat", hf.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, src.Close()) })
	c := &perplexity.Conversations{}
	c.Vocab, err = tokenizer.New(src.Metadata())
	require.NoError(t, err)
	c.Template, err = chat.New(src.Metadata())
	require.NoError(t, err)
	return c
}

// scored returns the text of the tokens that are scored.
func scored(c *perplexity.Conversations, w perplexity.Window) string {
	var text strings.Builder
	for _, pos := range w.Scored {
		piece := string(c.Vocab.AppendBytes(nil, w.Tokens[pos+1]))
		if piece == "" {
			piece = c.Vocab.Piece(w.Tokens[pos+1])
		}
		text.WriteString(piece)
	}
	return text.String()
}

func TestConversations(t *testing.T) {
	c := conversations(t)
	conversation, err := chat.ParseConversation([]byte(exchange))
	require.NoError(t, err)
	w, err := c.Window(t.Context(), conversation)
	require.NoError(t, err)
	require.Equal(t, " It is four.<|end_of_turn|> Ja, 漢字.<|end_of_turn|>", scored(c, w))
	require.Equal(t, c.Vocab.BOS(), w.Tokens[0])
	require.NotEqual(t, c.Vocab.BOS(), w.Tokens[1])

	c.All = true
	all, err := c.Window(t.Context(), conversation)
	require.NoError(t, err)
	require.Equal(t, w.Tokens, all.Tokens)
	require.Len(t, all.Scored, len(w.Tokens)-1)
	require.Zero(t, c.Cut)

	c.All, c.Most = false, w.Scored[0]+3
	cut, err := c.Window(t.Context(), conversation)
	require.NoError(t, err)
	require.Equal(t, w.Tokens[:c.Most], cut.Tokens)
	require.Equal(t, w.Scored[:2], cut.Scored)
	c.Most = w.Scored[0]
	cut, err = c.Window(t.Context(), conversation)
	require.NoError(t, err)
	require.Empty(t, cut.Scored)
	require.Equal(t, []int{2, 1}, []int{c.Cut, c.Unscored})
}

// A template that does not write BOS gets one.
func TestConversationsBeginWithBOS(t *testing.T) {
	c := conversations(t)
	var err error
	c.Template, err = chat.New(gguf.NewMetadata(
		gguf.KV{Key: "tokenizer.chat_template", Value: "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"},
		gguf.KV{Key: "tokenizer.ggml.tokens", Value: []string{}},
	))
	require.NoError(t, err)
	conversation, err := chat.ParseConversation([]byte(exchange))
	require.NoError(t, err)
	w, err := c.Window(t.Context(), conversation)
	require.NoError(t, err)
	require.Equal(t, c.Vocab.BOS(), w.Tokens[0])
	require.Equal(t, "assistant: It is four.assistant: Ja, 漢字.", scored(c, w), "there is nothing that an answer begins behind")
}

// Windows of different lengths are scored as they are, and count by their tokens.
func TestScoreWindows(t *testing.T) {
	tokens := count(20, 20)
	odd := perplexity.Text{Name: "odd", Windows: []perplexity.Window{
		{Tokens: tokens[:4], Scored: []int{0, 2}}, {Tokens: tokens, Scored: []int{1, 5, 18}}, {Tokens: []int32{3, 1, 2}, Scored: []int{0}},
	}}
	plain := perplexity.Text{Name: "plain", Tokens: tokens, BOS: -1}
	opts := perplexity.Options{Ctx: 6}
	together, each, err := perplexity.ScoreTexts(t.Context(), successor(20), []perplexity.Text{odd, plain}, opts)
	require.NoError(t, err)
	require.Equal(t, []int{3, 6, 27}, []int{each[0].Chunks, each[0].ScoredTokens, each[0].Tokens})
	require.Equal(t, [][]int{{2, 3, 1}}, each[0].ChunkTokens)
	require.Nil(t, each[1].ChunkTokens)
	likely, unlikely := each[1].NLL, each[0].ChunkNLL[0][2]
	require.InDelta(t, (5*likely+unlikely)/6, each[0].NLL, 1e-12)
	require.InDelta(t, interval.Weighted(each[0].ChunkNLL, each[0].ChunkTokens).Value, each[0].NLL, 1e-12)
	require.Equal(t, interval.Weighted(together.ChunkNLL, together.ChunkTokens).Exp().High, together.High)
	require.Equal(t, [][]int{{2, 3, 1}, {2, 2, 2}}, together.ChunkTokens)

	opts.Chunks = 1
	_, each, err = perplexity.ScoreTexts(t.Context(), successor(20), []perplexity.Text{odd}, opts)
	require.NoError(t, err)
	require.Equal(t, 2, each[0].ScoredTokens)
	for _, scored := range [][]int{nil, {-1}, {2, 1}, {3}} {
		odd.Windows[0].Scored = scored
		_, _, err := perplexity.ScoreTexts(t.Context(), successor(20), []perplexity.Text{odd}, opts)
		require.ErrorContains(t, err, "odd: window 0 of 4 tokens")
	}
}
