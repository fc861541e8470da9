package remote_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/remote"
)

// outgoing writes files to put on the hub.
func outgoing(t *testing.T, content map[string][]byte) (uploads []remote.Upload) {
	dir := t.TempDir()
	for name, data := range content {
		path := filepath.Join(dir, fmt.Sprintf("%x", name))
		require.NoError(t, os.WriteFile(path, data, 0o666))
		uploads = append(uploads, remote.Upload{Name: name, Path: path, SHA256: fmt.Sprintf("%x", sha256.Sum256(data))})
	}
	return uploads
}

func TestCommit(t *testing.T) {
	content := map[string][]byte{
		"m-Q8_0.gguf": random(3<<20+17, 1), "m-Q4_0.gguf": random(1<<20, 2), "small.gguf": random(100, 3), "README.md": []byte("# A model\n"), "below/drift.json": []byte("{}"), "empty": {},
	}
	for _, c := range []struct {
		chunk            int64
		trouble, linkUse int
	}{{}, {chunk: 1 << 20}, {chunk: 256 << 10, trouble: 20}, {chunk: 300_000, linkUse: 2, trouble: 10}, {trouble: 20}} {
		h, dir := newHub(t, map[string][]byte{"config.json": []byte("{}"), "README.md": []byte("old")})
		t.Setenv("HF_TOKEN", h.Token)
		h.Chunk, h.Trouble, h.LinkUses = c.chunk, c.trouble, c.linkUse
		client := remote.New(t.Context(), remote.Options{})
		require.NoError(t, client.CanCommit("hf://test/model"))
		var last, most atomic.Int64
		where, err := client.Commit("hf://test/model", "Files", outgoing(t, content), func(done, total int64) {
			last.Store(done)
			most.Store(total)
		})
		require.NoError(t, err, c)
		require.Equal(t, h.URL+"/commit/1", where)
		require.Equal(t, most.Load(), last.Load())
		for name, want := range content {
			got, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
			require.NoError(t, err)
			require.True(t, string(want) == string(got), name)
		}
		require.FileExists(t, filepath.Join(dir, "config.json"))
		require.Empty(t, h.Leaks(), "the token goes to the hub alone")
		require.Contains(t, h.Commits(), "Files")

		// What is there is not sent again.
		h.Trouble = 0
		before := h.Received()
		_, err = client.Commit("hf://test/model", "Again", outgoing(t, content), nil)
		require.NoError(t, err)
		require.Equal(t, before, h.Received())
	}
}

func TestCommitIsRefused(t *testing.T) {
	h, dir := newHub(t, map[string][]byte{"config.json": []byte("{}")})
	some := outgoing(t, map[string][]byte{"a.gguf": random(1000, 1)})
	commit := func(address string, uploads []remote.Upload) error {
		_, err := remote.New(t.Context(), remote.Options{}).Commit(address, "Files", uploads, nil)
		return err
	}
	require.ErrorIs(t, commit("hf://test/model", some), remote.ErrNoToken)
	t.Setenv("HF_TOKEN", "hf_anotherToken")
	err := commit("hf://test/model", some)
	require.ErrorIs(t, err, remote.ErrAccess)
	require.NotContains(t, err.Error(), "hf_anotherToken")
	t.Setenv("HF_TOKEN", h.Token)
	require.ErrorContains(t, remote.New(t.Context(), remote.Options{}).CanCommit("hf://test/none"), "Repository not found")
	for _, address := range []string{"hf://test/model/below", "hf://model", "https://example.com/x", "test/model", "s3://a/b"} {
		require.ErrorIs(t, commit(address, some), remote.ErrAddress, address)
	}
	require.ErrorContains(t, commit("hf://test/model", outgoing(t, map[string][]byte{"../up": {1}})), "not the name of a file")
	require.ErrorContains(t, commit("hf://test/model", outgoing(t, map[string][]byte{"ignored.txt": {1}})), ".gitignore")
	wrong := outgoing(t, map[string][]byte{"a.gguf": random(1000, 2)})
	wrong[0].SHA256 = strings.Repeat("0", 64)
	require.Error(t, commit("hf://test/model", wrong))
	require.NoFileExists(t, filepath.Join(dir, "a.gguf"))
	require.Empty(t, h.Commits())
}

// A server that takes nothing any more is not waited for, and Ctrl-C ends at once.
func TestCommitEnds(t *testing.T) {
	h, _ := newHub(t, map[string][]byte{"config.json": []byte("{}")})
	t.Setenv("HF_TOKEN", h.Token)
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	h.Served = func(host string, _ http.ResponseWriter, _ *http.Request) bool {
		if host != "cdn" {
			return false
		}
		cancel()
		<-release
		return true
	}
	defer close(release)
	start := time.Now()
	_, err := remote.New(ctx, remote.Options{}).Commit("hf://test/model", "Files", outgoing(t, map[string][]byte{"a.gguf": random(8<<20, 1)}), nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(start), 10*time.Second)
}
