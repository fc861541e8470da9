package files_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// Pieces that are written past the cache, at the same time and some of them where that cannot be, are those that are there in the end.
func TestWriteDirect(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 3<<20+77)
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	path := filepath.Join(t.TempDir(), "out")
	out, err := files.Create(path, false)
	require.NoError(t, err)
	defer func() { require.NoError(t, out.Discard()) }()
	var writing sync.WaitGroup
	for at := 0; at < len(want); {
		n := min(len(want)-at, 1+rng.IntN(1<<rng.IntN(20)))
		buf := make([]byte, n+os.Getpagesize())
		if rng.IntN(4) > 0 {
			buf = files.Aligned(buf, int64(at))
			require.GreaterOrEqual(t, len(buf), n+1)
		}
		copy(buf, want[at:at+n])
		offset := int64(at)
		writing.Go(func() {
			if err := out.WriteDirect(buf[:n], offset); err != nil {
				t.Error(err)
			}
		})
		at += n
	}
	writing.Wait()
	require.NoError(t, out.Publish())
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, string(want) == string(got))
}
