package remote_test

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/gguf/files"
)

func TestS3(t *testing.T) {
	want := random(3<<20+9, 12)
	backend := s3mem.New()
	put := func(key string, data []byte) {
		meta := map[string]string{"Last-Modified": time.Now().UTC().Format(http.TimeFormat)}
		_, err := backend.PutObject("bucket", key, meta, bytes.NewReader(data), int64(len(data)), nil)
		require.NoError(t, err)
	}
	require.NoError(t, backend.CreateBucket("bucket"))
	put("models/a/model.safetensors", want)
	put("models/a/config.json", []byte("{}"))
	put("models/a/below/x", []byte("x"))
	put("top.gguf", []byte("top"))
	store := gofakes3.New(backend).Server()
	var trouble atomic.Bool
	var requests atomic.Int64
	var authorization atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization.Store(r.Header.Get("Authorization"))
		if requests.Add(1)%3 == 0 && trouble.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		store.ServeHTTP(w, r)
	}))
	defer server.Close()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY", "AWS_SECRET_KEY"} {
		t.Setenv(name, "")
	}
	home := t.TempDir()
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "credentials"))
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "config"))
	t.Setenv("AWS_ENDPOINT_URL", server.URL)

	look := func() {
		t.Helper()
		c := remote.New(t.Context(), remote.Options{})
		folder, name, err := c.Open("s3://bucket/models/a")
		require.NoError(t, err)
		require.Empty(t, name)
		names, err := folder.List(".")
		require.NoError(t, err)
		require.Equal(t, []string{"config.json", "model.safetensors"}, names)
		names, err = folder.List("below")
		require.NoError(t, err)
		require.Equal(t, []string{"x"}, names)
		f, err := folder.Open("model.safetensors")
		require.NoError(t, err)
		require.Equal(t, "s3://bucket/models/a/model.safetensors", f.Name())
		got, err := io.ReadAll(f)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
		got, err = read(t, c, "s3://bucket/top.gguf")
		require.NoError(t, err)
		require.Equal(t, "top", string(got))
	}
	look()
	require.Empty(t, authorization.Load(), "without keys nobody signs")
	require.NoError(t, os.WriteFile(filepath.Join(home, "credentials"), []byte("[default]\naws_access_key_id = fileKey\naws_secret_access_key = secret\n"+
		"[other]\naws_access_key_id = otherKey\naws_secret_access_key = secret\n"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(home, "config"), []byte("[profile other]\nregion = eu-west-3\n"), 0o600))
	look()
	require.Contains(t, authorization.Load(), "Credential=fileKey/")
	t.Setenv("AWS_PROFILE", "other")
	look()
	require.Contains(t, authorization.Load(), "Credential=otherKey/")
	require.Contains(t, authorization.Load(), "/eu-west-3/s3/")
	t.Setenv("AWS_ACCESS_KEY_ID", "envKey")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	trouble.Store(true)
	look()
	trouble.Store(false)
	require.Contains(t, authorization.Load(), "Credential=envKey/")

	c := remote.New(t.Context(), remote.Options{})
	for _, absent := range []string{"s3://bucket/absent.gguf", "s3://bucket/models/b", "s3://nobucket/x.gguf"} {
		_, _, err := c.Open(absent)
		require.ErrorIs(t, err, fs.ErrNotExist, absent)
	}
	f := opened(t, c, "s3://bucket/models/a/model.safetensors")
	put("models/a/model.safetensors", random(3<<20+9, 13))
	_, err := f.ReadAt(make([]byte, 10), 2<<20)
	require.ErrorIs(t, err, files.ErrChanged)

	// Files can be put there, too.
	trouble.Store(true)
	b, err := c.Bucket("s3://bucket/new/folder/")
	require.NoError(t, err)
	for _, name := range []string{"a", "b"} {
		require.NoError(t, b.Put(name, want))
	}
	require.NoError(t, b.Remove("b"))
	require.NoError(t, b.Remove("absent"))
	names, err := b.List(".")
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, names)
	got, err := read(t, c, "s3://bucket/new/folder/a")
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	trouble.Store(false)
	require.ErrorIs(t, b.Put("../a", nil), fs.ErrInvalid)
	_, err = c.Bucket("s3://nobucket/x")
	require.ErrorIs(t, err, fs.ErrNotExist)

	// A store that lets nobody in, and does not keep to itself what it was sent.
	closed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>"+r.Header.Get("Authorization")+"</Message></Error>")
	}))
	defer closed.Close()
	t.Setenv("AWS_ENDPOINT_URL_S3", closed.URL)
	_, _, err = remote.New(t.Context(), remote.Options{}).Open("s3://bucket/top.gguf")
	require.ErrorIs(t, err, remote.ErrAccess)
	require.False(t, strings.Contains(err.Error(), "Signature"), err)
	_, err = remote.New(t.Context(), remote.Options{}).Bucket("s3://bucket/top")
	require.ErrorIs(t, err, remote.ErrAccess)
	t.Setenv("AWS_ENDPOINT_URL_S3", "nowhere")
	_, _, err = remote.New(t.Context(), remote.Options{}).Open("s3://bucket/top.gguf")
	require.ErrorIs(t, err, remote.ErrAddress)
}
