package display_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/display"
)

func TestMessagesArePrintable(t *testing.T) {
	require.Equal(t, `a\x1b[2J\r\a\u202e\xff é`+"\n  FORGED", display.Message("a\x1b[2J\r\x07\u202e\xff é\nFORGED"))
	long := display.Message(strings.Repeat("é", 5000))
	require.LessOrEqual(t, len(long), 2000)
	require.Contains(t, long, "é ... é")
}

func TestQuoted(t *testing.T) {
	for name, want := range map[string]string{"blk.0.attn_q.weight": "blk.0.attn_q.weight", "a\nb": `"a\nb"`, `"a"`: `"\"a\""`} {
		require.Equal(t, want, display.Quoted(name))
	}
	require.LessOrEqual(t, len(display.Quoted(strings.Repeat("a", 5000))), 240)
}
