package display_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/infer/display"
)

func TestBytes(t *testing.T) {
	for n, text := range map[int64]string{0: "0 B", 999: "999 B", 1000: "0.98 KiB", 1 << 20: "1.00 MiB", 5 << 29: "2.50 GiB", 24e9: "22.4 GiB",
		123 << 30: "123 GiB"} {
		require.Equal(t, text, display.Bytes(n), n)
	}
}

func TestCount(t *testing.T) {
	for n, text := range map[int64]string{999: "999", 10_600_000: "10.6 M", 24_154_000_000: "24.2 B", 1_000: "1 K"} {
		require.Equal(t, text, display.Count(n))
	}
}

func TestSeconds(t *testing.T) {
	require.Equal(t, "1.5 s", display.Seconds(1520*time.Millisecond))
	require.Equal(t, "1m13s", display.Seconds(73*time.Second))
}

func TestStem(t *testing.T) {
	for path, stem := range map[string]string{"texts/chat.txt": "chat", "model": "model", "a.b.gguf": "a.b"} {
		require.Equal(t, stem, display.Stem(path))
		require.Equal(t, stem, display.ModelStem(path))
	}
	require.Equal(t, "big-Q8_0", display.ModelStem("a/big-Q8_0-00001-of-00003.gguf"))
}
