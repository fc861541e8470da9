package generate

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStopTexts ends at the stop text that comes first in the text, however the
// text comes in pieces and whatever the order of the stop texts.
func TestStopTexts(t *testing.T) {
	for _, c := range []struct {
		pieces, stops string
		want          string
		stopped       bool
	}{
		{"ab|cdefgh|i", "g|d", "abc", true},
		{"ab|cdefgh|i", "d|g", "abc", true},
		{"ab|cdefgh|i", "x|y", "abcdefghi", false},
		{"ab|c|d|e", "cde|bcd", "a", true},
		{"ab|c|d|e", "cdx|bcx", "abcde", false},
		{"a|bc", "abc|bc", "", true},
		{"\xe6\x97|\xa5\xe6|\x9c\xac", "本", "日", true},
	} {
		var out bytes.Buffer
		w := &stopWriter{w: &out, stops: strings.Split(c.stops, "|")}
		stopped := false
		for _, piece := range strings.Split(c.pieces, "|") {
			var err error
			stopped, err = w.write([]byte(piece))
			require.NoError(t, err)
			if stopped {
				break
			}
		}
		require.NoError(t, w.flush())
		require.Equal(t, c.stopped, stopped, c)
		require.Equal(t, c.want, out.String(), c)
		require.Equal(t, c.want, string(w.text), c)
	}
}
