package remote_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/ggufkit/ggufkit/convert/remote"
	"github.com/ggufkit/ggufkit/convert/remote/hubtest"
	"github.com/ggufkit/ggufkit/gguf/files"
)

// random returns bytes that are the same for a seed.
func random(n int, seed uint64) []byte {
	data := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = r.Read(data)
	return data
}

// newHub returns a hub, which is the program's, with the model test/model of some files.
func newHub(t *testing.T, content map[string][]byte) (*hubtest.Server, string) {
	t.Helper()
	h := hubtest.New()
	t.Cleanup(h.Close)
	h.Token = "hf_secretOfTheTest"
	dir := t.TempDir()
	for name, data := range content {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, data, 0o666))
	}
	h.Add("test/model", dir)
	h.Add("private/model", dir)
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} {
		t.Setenv(name, "")
	}
	t.Setenv("HF_ENDPOINT", h.URL)
	t.Setenv("HF_HOME", t.TempDir())
	return h, dir
}

func read(t *testing.T, c *remote.Client, address string) ([]byte, error) {
	t.Helper()
	folder, name, err := c.Open(address)
	if err != nil {
		return nil, err
	}
	f, err := folder.Open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

// opened opens a file that is there.
func opened(t *testing.T, c *remote.Client, address string) *files.File {
	t.Helper()
	folder, name, err := c.Open(address)
	require.NoError(t, err)
	f, err := folder.Open(name)
	require.NoError(t, err)
	return f
}

func TestHub(t *testing.T) {
	large, small := random(5<<20+123, 1), []byte(`{"a": 1}`)
	h, _ := newHub(t, map[string][]byte{"model.gguf": large, "config.json": small, "below/b": small, "below/deep/c #?%.txt": small, "empty": {}})
	c := remote.New(t.Context(), remote.Options{})
	folder, name, err := c.Open("hf://test/model")
	require.NoError(t, err)
	require.Empty(t, name)
	names, err := folder.List(".")
	require.NoError(t, err)
	require.Equal(t, []string{"config.json", "empty", "model.gguf"}, names)
	names, err = folder.List("below")
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, names)
	require.Equal(t, "hf://test/model", folder.Path("."))
	require.Equal(t, "hf://test/model/below/b", folder.Path("below/b"))
	for name, want := range map[string][]byte{"model.gguf": large, "config.json": small, "below/b": small, "below/deep/c #?%.txt": small, "empty": {}} {
		f, err := folder.Open(name)
		require.NoError(t, err)
		require.False(t, f.IsLocal())
		require.EqualValues(t, len(want), f.Size())
		got, err := io.ReadAll(f)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), name)
		require.NoError(t, f.Close())
		require.Contains(t, f.Version(), "commit ")
	}
	for _, absent := range []string{"absent", "below", "../config.json", "/etc/passwd", ""} {
		_, err := folder.Open(absent)
		require.ErrorIs(t, err, fs.ErrNotExist, absent)
	}
	below, name, err := c.Open("hf://test/model/below")
	require.NoError(t, err)
	require.Empty(t, name)
	names, err = below.List(".")
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, names)
	_, _, err = c.Open("hf://test/model/absent.gguf")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "there are model.gguf")
	require.Empty(t, h.Leaks())
	for _, address := range []string{"ftp://x/y", "https://", "https://host/", "s3://", "hf://", "http://%zz"} {
		_, _, err := c.Open(address)
		require.ErrorIs(t, err, remote.ErrAddress, address)
	}
}

// TestReadAt: many read anywhere at once, and get what is there. What is read in order is asked
// for once.
func TestReadAt(t *testing.T) {
	want := random(9<<20+77, 2)
	h, _ := newHub(t, map[string][]byte{"model.gguf": want})
	c := remote.New(t.Context(), remote.Options{})
	f := opened(t, c, "hf://test/model/model.gguf")
	before := h.Sent()
	_, err := io.Copy(io.Discard, io.NewSectionReader(f, 0, f.Size()))
	require.NoError(t, err)
	require.LessOrEqual(t, h.Sent()-before, int64(len(want)))

	var group errgroup.Group
	for g := range 8 {
		group.Go(func() error {
			r := rand.New(rand.NewPCG(uint64(g), 0))
			for range 200 {
				off := r.Int64N(int64(len(want)) + 10)
				p := make([]byte, r.IntN(100_000))
				n, err := f.ReadAt(p, off)
				end := min(int64(len(want)), off+int64(len(p)))
				wantN := max(0, end-off)
				if int64(n) != wantN || (n < len(p)) != errors.Is(err, io.EOF) || n > 0 && !bytes.Equal(p[:n], want[off:end]) {
					return fmt.Errorf("%d bytes at %d: %d, %w", len(p), off, n, err)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	_, err = f.ReadAt(make([]byte, 1), -1)
	require.Error(t, err)
}

// TestSections: parts that are read each by itself, in any order, are sent once, and in large
// pieces: nothing is read ahead from one into another that is read much later.
func TestSections(t *testing.T) {
	const size, sections = 3 << 20, 12
	want := random(size*sections, 14)
	h, _ := newHub(t, map[string][]byte{"model.safetensors": want})
	c := remote.New(t.Context(), remote.Options{})
	f := opened(t, c, "hf://test/model/model.safetensors")
	var starts []int64
	for i := range sections {
		starts = append(starts, int64(i*size))
	}
	f.Sections(starts)
	sent, requests := h.Sent(), h.Requests()
	buf := make([]byte, 70_000)
	for _, i := range []int{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11} {
		for off := i * size; off < (i+1)*size; off += len(buf) {
			some := buf[:min(len(buf), (i+1)*size-off)]
			_, err := f.ReadAt(some, int64(off))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want[off:off+len(some)], some))
		}
	}
	require.LessOrEqual(t, h.Sent()-sent, int64(len(want)+100_000))
	require.Less(t, h.Requests()-requests, int64(6*sections))
}

// TestHeadersAlone: of a large file only what is looked at is sent, and not much more.
func TestHeadersAlone(t *testing.T) {
	h, _ := newHub(t, map[string][]byte{"model.gguf": random(20<<20, 3)})
	c := remote.New(t.Context(), remote.Options{})
	f := opened(t, c, "hf://test/model/model.gguf")
	before := h.Sent()
	const header = 700_000
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.NewSectionReader(f, 0, header), make([]byte, 4096))
	require.NoError(t, err)
	time.Sleep(20 * time.Millisecond) // what is read ahead comes
	require.Less(t, h.Sent()-before, int64(header*5/4+3*remote.PageBytes))
}

// TestMemory: a file larger than what is kept in memory is read, also in any order.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 150 MB")
	}
	const size = remote.Memory + 50<<20
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(counting{}, 0, size))
	}))
	defer server.Close()
	c := remote.New(t.Context(), remote.Options{})
	f := opened(t, c, server.URL+"/m.gguf")
	buf := make([]byte, 1<<20)
	for off := int64(0); off < size; off += int64(len(buf)) {
		n, _ := f.ReadAt(buf, off)
		require.Equal(t, byte(off>>20), buf[0])
		require.Equal(t, byte(off>>20), buf[n-1])
		require.LessOrEqual(t, c.Pages(), remote.Memory/remote.PageBytes)
	}
}

// counting has in each MiB its number.
type counting struct{}

func (counting) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		p[i] = byte((off + int64(i)) >> 20)
	}
	return len(p), nil
}

// TestTrouble: a server that fails as often as it answers, with links that are good for one
// request, gives the same bytes.
func TestTrouble(t *testing.T) {
	want := random(3<<20, 4)
	h, _ := newHub(t, map[string][]byte{"model.gguf": want, "config.json": []byte("{}")})
	h.Trouble, h.LinkUses = 40, 1
	c := remote.New(t.Context(), remote.Options{})
	got, err := read(t, c, "hf://test/model/model.gguf")
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.Greater(t, h.Requests(), int64(3))
	h.Served = func(_ string, w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusBadGateway)
		return true
	}
	_, err = read(t, c, "hf://test/model/config.json")
	require.ErrorContains(t, err, "hf://test/model/config.json")
	require.ErrorContains(t, err, "after 10 tries")
}

// TestChanged: a file that becomes another while it is read is an error, whoever has it.
func TestChanged(t *testing.T) {
	h, dir := newHub(t, map[string][]byte{"model.gguf": random(9<<20, 5)})
	path := filepath.Join(dir, "model.gguf")
	c := remote.New(t.Context(), remote.Options{})
	f := opened(t, c, "hf://test/model/model.gguf")
	buf := make([]byte, 100)
	_, err := f.ReadAt(buf, 0)
	require.NoError(t, err)
	require.NoError(t, f.Unchanged())
	require.NoError(t, os.WriteFile(path, random(9<<20, 6), 0o666))
	_, err = f.ReadAt(buf, 8<<20)
	require.ErrorIs(t, err, files.ErrChanged)
	require.ErrorContains(t, err, "hf://test/model/model.gguf")
	require.ErrorIs(t, f.Unchanged(), files.ErrChanged)
	_, err = f.ReadAt(buf, 5<<20)
	require.ErrorIs(t, err, files.ErrChanged, "it stays changed")
	require.Empty(t, h.Leaks())

	for what, change := range map[string]func(w http.ResponseWriter) (size int64){
		"ETag":          func(w http.ResponseWriter) int64 { w.Header().Set("ETag", `"2"`); return 9 << 20 },
		"Last-Modified": func(w http.ResponseWriter) int64 { w.Header().Set("Last-Modified", "x"); return 9 << 20 },
		"size":          func(w http.ResponseWriter) int64 { w.Header().Set("ETag", `"1"`); return 9<<20 + 1 },
		"shorter":       func(w http.ResponseWriter) int64 { w.Header().Set("ETag", `"1"`); return 1 << 20 },
	} {
		requests := 0
		var mu sync.Mutex
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			requests++
			first := requests == 1
			mu.Unlock()
			size := int64(9 << 20)
			if !first {
				size = change(w)
			} else if what != "Last-Modified" {
				w.Header().Set("ETag", `"1"`)
			}
			http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(counting{}, 0, size))
		}))
		f := opened(t, remote.New(t.Context(), remote.Options{}), server.URL+"/m.gguf")
		_, err = f.ReadAt(buf, 8<<20)
		if what == "Last-Modified" { // nothing told the first one apart
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, files.ErrChanged, what)
		}
		server.Close()
	}
}

// TestToken: the token goes to the hub alone, from wherever it comes.
func TestToken(t *testing.T) {
	h, _ := newHub(t, map[string][]byte{"model.gguf": random(200_000, 7), "config.json": []byte("{}")})
	look := func() error {
		c := remote.New(t.Context(), remote.Options{})
		_, err := read(t, c, "hf://private/model/model.gguf")
		return errors.Join(err, func() error { _, err := read(t, c, "hf://private/model/config.json"); return err }())
	}
	err := look()
	require.ErrorIs(t, err, remote.ErrAccess)
	require.ErrorContains(t, err, "HF_TOKEN")
	home := os.Getenv("HF_HOME")
	require.NoError(t, os.WriteFile(filepath.Join(home, "token"), []byte("hf_secretOfTheTest\n"), 0o600))
	require.NoError(t, look(), "the hub's own file")
	require.NoError(t, os.Rename(filepath.Join(home, "token"), filepath.Join(home, "other")))
	t.Setenv("HF_TOKEN_PATH", filepath.Join(home, "other"))
	require.NoError(t, look(), "a file that is named")
	t.Setenv("HF_TOKEN", "hf_wrong")
	err = look()
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotContains(t, err.Error(), "hf_wrong")
	t.Setenv("HF_TOKEN", "hf_secretOfTheTest")
	require.NoError(t, look())
	require.Empty(t, h.Leaks())

	// A hub that says it back, in all ways that it can.
	h.Served = func(_ string, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("X-Error-Message", "you sent "+r.Header.Get("Authorization"))
		w.Header().Set("X-Error-Code", "GatedRepo")
		w.WriteHeader(http.StatusForbidden)
		return true
	}
	err = look()
	require.ErrorIs(t, err, remote.ErrAccess)
	require.ErrorContains(t, err, "gated")
	require.NotContains(t, err.Error(), "hf_secret")

	// Other servers are not the hub.
	var seen []string
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("content"))
	}))
	defer other.Close()
	_, err = read(t, remote.New(t.Context(), remote.Options{}), other.URL+"/org/name/m.gguf?X-Amz-Signature=secret")
	require.NoError(t, err)
	_, err = read(t, remote.New(t.Context(), remote.Options{}), strings.Replace(other.URL, "http://", "http://user:password@", 1)+"/m.gguf")
	require.NoError(t, err)
	redirect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/m.gguf" { // first to itself, with the password, then elsewhere, without
			http.Redirect(w, r, "/n.gguf", http.StatusFound)
			return
		}
		seen = append(seen, r.Header.Get("Authorization"))
		http.Redirect(w, r, strings.Replace(other.URL, "http://", "http://eve:eve@", 1), http.StatusFound)
	}))
	defer redirect.Close()
	require.Equal(t, "", seen[0])
	last := seen[len(seen)-1]
	seen = nil
	_, err = read(t, remote.New(t.Context(), remote.Options{}), strings.Replace(redirect.URL, "http://", "http://user:password@", 1)+"/m.gguf")
	require.NoError(t, err)
	require.Equal(t, []string{last, ""}, seen)
	seen = []string{last}
	require.True(t, strings.HasPrefix(seen[len(seen)-1], "Basic "))
}

// TestHostile: servers that lie, do not stop or do not go on end in an error, soon and with little
// read.
func TestHostile(t *testing.T) {
	undo := remote.SetIdle(30 * time.Millisecond)
	endless := func(w http.ResponseWriter) {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}
	for name, tt := range map[string]struct {
		serve http.HandlerFunc
		want  string
	}{
		"no ranges": {func(w http.ResponseWriter, _ *http.Request) { endless(w) }, "only whole, not in parts"},
		"another part": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 5-10/100")
			w.WriteHeader(http.StatusPartialContent)
		}, "an answer with bytes 5 to 10 of 100"},
		"no part": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPartialContent) }, "does not say which"},
		"less than it says": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.Header().Set("Content-Length", "4")
			w.WriteHeader(http.StatusPartialContent)
		}, "an answer of 4 bytes, which should have 10, after 6 tries"},
		"nothing comes": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.WriteHeader(http.StatusPartialContent)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "after 6 tries"},
		"no answer": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "after 6 tries"},
		"a drop at a time": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-16383/16384")
			w.WriteHeader(http.StatusPartialContent)
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte{1})
				w.(http.Flusher).Flush()
				time.Sleep(5 * time.Millisecond)
			}
		}, "after 6 tries"},
		"a redirect without end": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.URL.String())
			w.WriteHeader(http.StatusFound)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "and there is no end"},
		"redirects in a circle": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String()+"x", http.StatusFound)
		}, "and there is no end"},
		"redirect to a file": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, "to what is no address"},
		"not there":         {http.NotFound, "file does not exist"},
		"an unknown answer": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "418"},
		"always too many":   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) }, "429 (Too Many Requests), after 6 tries"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tt.serve)
			defer server.Close()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			start := time.Now()
			_, err := read(t, remote.New(ctx, remote.Options{}), server.URL+"/m.gguf?secret")
			require.ErrorContains(t, err, tt.want)
			require.NotContains(t, err.Error(), "secret")
			require.Less(t, time.Since(start), 5*time.Second)
		})
	}
	undo()
	// The hub's list.
	h, _ := newHub(t, map[string][]byte{"a": nil})
	commit := strings.Repeat("0", 40)
	for body, want := range map[string]string{
		`{"sha": "` + commit + `", "siblings": [{"rfilename": "../../x"}]}`:                                               "leaves the folder",
		`{"sha": "` + commit + `", "siblings": [{"rfilename": "/etc/x"}]}`:                                                "leaves the folder",
		`{"sha": "` + commit + `", "siblings": [{"rfilename": "a\\b"}]}`:                                                  "leaves the folder",
		`{"sha": "` + commit + `", "siblings": [{"rfilename": "a", "size": -1}]}`:                                         "with -1 bytes",
		`{"sha": "../..", "siblings": []}`:                                                                                "its commit is",
		`{"sha": "` + commit + `", "siblings": [` + strings.Repeat(`{"rfilename":"a"},`, 100_001) + `{"rfilename":"a"}]}`: "lists 100002 files",
		`<html>`: "the hub's list of its files",
	} {
		h.Served = func(_ string, w http.ResponseWriter, _ *http.Request) bool {
			_, _ = io.WriteString(w, body)
			return true
		}
		_, _, err := remote.New(t.Context(), remote.Options{}).Open("hf://test/model")
		require.ErrorContains(t, err, want)
	}
	h.Served = func(_ string, w http.ResponseWriter, _ *http.Request) bool { endless(w); return true }
	_, _, err := remote.New(t.Context(), remote.Options{}).Open("hf://test/model")
	require.ErrorContains(t, err, "larger than")
}

// TestDowngrade: from https no redirect leads to http.
func TestDowngrade(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer plain.Close()
	safe := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/x?secret", http.StatusFound)
	}))
	defer safe.Close()
	c := remote.New(t.Context(), remote.Options{})
	c.Trust()
	_, err := read(t, c, safe.URL+"/m.gguf")
	require.ErrorContains(t, err, "which anybody could read and change")
	require.NotContains(t, err.Error(), "secret")
}

// TestCancel: the end of the context ends reading at once.
func TestCancel(t *testing.T) {
	h, _ := newHub(t, map[string][]byte{"model.gguf": random(1<<20, 8)})
	asked := make(chan struct{}, 100)
	h.Served = func(host string, _ http.ResponseWriter, r *http.Request) bool {
		if host == "hub" {
			return false
		}
		asked <- struct{}{}
		<-r.Context().Done()
		return true
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := remote.New(ctx, remote.Options{})
	done := make(chan error)
	go func() {
		_, err := read(t, c, "hf://test/model/model.gguf")
		done <- err
	}()
	<-asked
	start := time.Now()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Less(t, time.Since(start), time.Second)
	_, err := read(t, c, "hf://test/model/model.gguf")
	require.ErrorIs(t, err, context.Canceled)
}

// TestOpenedOnce: whoever wants a model or a file at the same time waits for one answer.
func TestOpenedOnce(t *testing.T) {
	h, _ := newHub(t, map[string][]byte{"model.gguf": random(1000, 3)})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(10 * time.Millisecond)
		http.Redirect(w, r, h.URL+"/test/model/resolve/main/model.gguf", http.StatusFound)
	}))
	defer server.Close()
	for address, most := range map[string]int64{"hf://test/model/model.gguf": 1, server.URL + "/model.gguf": 1} {
		before := h.Requests()
		c := remote.New(t.Context(), remote.Options{})
		var all errgroup.Group
		for range 16 {
			all.Go(func() error {
				folder, name, err := c.Open(address)
				if err == nil {
					_, err = folder.Open(name)
				}
				return err
			})
		}
		require.NoError(t, all.Wait())
		require.LessOrEqual(t, h.Requests()-before, most, address)
	}
}

// TestCache: what is read is kept where the hub's tools look for it, and is looked for there.
func TestCache(t *testing.T) {
	large, small := random(1<<20+5, 9), []byte(`{"a": 1}`)
	h, dir := newHub(t, map[string][]byte{"model.gguf": large, "below/config.json": small, "other.gguf": random(1<<20, 10)})
	cache := filepath.Join(os.Getenv("HF_HOME"), "hub", "models--test--model")
	_, err := read(t, remote.New(t.Context(), remote.Options{}), "hf://test/model/model.gguf")
	require.NoError(t, err)
	require.NoDirExists(t, cache, "nothing is kept unless it is asked for")
	keep := remote.Options{Keep: true}
	c := remote.New(t.Context(), keep)
	for name, want := range map[string][]byte{"model.gguf": large, "below/config.json": small} {
		got, err := read(t, c, "hf://test/model/"+name)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
		path := filepath.Join(cache, "snapshots", h.Commit(dir), filepath.FromSlash(name))
		got, err = os.ReadFile(path)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
		link, err := os.Readlink(path)
		require.NoError(t, err)
		require.Contains(t, link, filepath.Join("..", "blobs"))
		require.False(t, filepath.IsAbs(link))
	}
	ref, err := os.ReadFile(filepath.Join(cache, "refs", "main"))
	require.NoError(t, err)
	require.Equal(t, h.Commit(dir), string(ref))

	// A part is kept, too, and read by the next run, though no other tool may take it for a file.
	f := opened(t, c, "hf://test/model/other.gguf")
	first := make([]byte, 100_000)
	_, err = f.ReadAt(first, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	blobs, err := filepath.Glob(filepath.Join(cache, "blobs", "*.ggufkit*"))
	require.NoError(t, err)
	require.Len(t, blobs, 2)

	// The hub is asked for nothing but the list, or not at all.
	before := h.Sent()
	got, err := read(t, remote.New(t.Context(), remote.Options{}), "hf://test/model/model.gguf")
	require.NoError(t, err)
	require.True(t, bytes.Equal(large, got))
	require.Less(t, h.Sent()-before, int64(10_000))
	t.Setenv("HF_HUB_OFFLINE", "1")
	requests := h.Requests()
	got, err = read(t, remote.New(t.Context(), remote.Options{}), "hf://test/model/model.gguf")
	require.NoError(t, err)
	require.True(t, bytes.Equal(large, got))
	require.Equal(t, requests, h.Requests())
	_, err = read(t, remote.New(t.Context(), remote.Options{}), "hf://test/model/other.gguf")
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = read(t, remote.New(t.Context(), remote.Options{}), "hf://test/absent/m.gguf")
	require.ErrorContains(t, err, "nothing of it is in the cache")
	t.Setenv("HF_HUB_OFFLINE", "")
	h.Close()
	var notes []string
	got, err = read(t, remote.New(t.Context(), remote.Options{Note: func(n string) { notes = append(notes, n) }}), "hf://test/model/model.gguf")
	require.NoError(t, err)
	require.True(t, bytes.Equal(large, got))
	require.Contains(t, notes[1], "cannot be reached")
}

// TestCacheContinues: what an earlier run has kept of a file is not asked for again, and what came
// is held against the hub's hash.
func TestCacheContinues(t *testing.T) {
	want := random(4<<20, 11)
	h, dir := newHub(t, map[string][]byte{"model.gguf": want})
	keep := remote.Options{Keep: true}
	open := func() *files.File {
		return opened(t, remote.New(t.Context(), keep), "hf://test/model/model.gguf")
	}
	f := open()
	_, err := f.ReadAt(make([]byte, 1<<20), 1<<20)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	remote.EndRun(f)

	before := h.Sent()
	f = open()
	got, err := io.ReadAll(f)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
	require.LessOrEqual(t, h.Sent()-before, int64(len(want)-1<<20+10_000))
	require.NoError(t, f.Close())
	path := filepath.Join(os.Getenv("HF_HOME"), "hub", "models--test--model", "snapshots", h.Commit(dir), "model.gguf")
	got, err = os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))

	// What a cache has of a file is not what the hub's has.
	require.NoError(t, os.RemoveAll(filepath.Join(os.Getenv("HF_HOME"), "hub")))
	f = open()
	_, err = f.ReadAt(make([]byte, 1<<20), 1<<20)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	remote.EndRun(f)
	parts, err := filepath.Glob(filepath.Join(os.Getenv("HF_HOME"), "hub", "models--test--model", "blobs", "*.ggufkit"))
	require.NoError(t, err)
	require.Len(t, parts, 1)
	damage := func(off int64, to []byte) {
		data, err := os.ReadFile(parts[0])
		require.NoError(t, err)
		copy(data[off:], to)
		require.NoError(t, os.WriteFile(parts[0], data, 0o666))
	}
	damage(1<<20, []byte("bytes that a crash has lost"))
	f = open()
	got, err = io.ReadAll(f)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got), "they are asked for again")
	remote.EndRun(f)
	damage(0, make([]byte, remote.PageBytes))
	sums, err := os.OpenFile(parts[0]+"-parts", os.O_RDWR, 0)
	require.NoError(t, err)
	sum := crc32.Checksum(make([]byte, remote.PageBytes), crc32.MakeTable(crc32.Castagnoli))
	_, err = sums.WriteAt(binary.LittleEndian.AppendUint32(nil, sum), 0)
	require.NoError(t, err)
	require.NoError(t, sums.Close())
	f = open()
	_, err = io.Copy(io.Discard, f)
	require.NoError(t, err)
	require.ErrorIs(t, f.Close(), files.ErrChanged)
	require.NoFileExists(t, parts[0])
	require.NoFileExists(t, parts[0]+"-parts")
}

// TestCacheIsShared: several processes that keep what they read fetch each part of a file once, whatever they read of it, and one of them
// gives it its name. (Open files stand for processes, since locks are theirs.)
func TestCacheIsShared(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there are no locks of parts of files")
	}
	want := random(6<<20+77, 12)
	h, dir := newHub(t, map[string][]byte{"model.gguf": want})
	before := h.Sent()
	var processes errgroup.Group
	for i := range 4 {
		f := opened(t, remote.New(t.Context(), remote.Options{Keep: true}), "hf://test/model/model.gguf")
		processes.Go(func() error {
			order := rand.New(rand.NewPCG(uint64(i), 1)).Perm(12)
			buf := make([]byte, 1<<19+100)
			for _, part := range order {
				off := int64(part) << 19
				n, err := f.ReadAt(buf, off)
				if err != nil && !errors.Is(err, io.EOF) {
					return err
				}
				if !bytes.Equal(buf[:n], want[off:off+int64(n)]) {
					return fmt.Errorf("process %d, part %d: other bytes", i, part)
				}
			}
			return f.Close()
		})
	}
	require.NoError(t, processes.Wait())
	require.LessOrEqual(t, h.Sent()-before, int64(len(want)+10_000))
	blobs, err := filepath.Glob(filepath.Join(os.Getenv("HF_HOME"), "hub", "models--test--model", "blobs", "*"))
	require.NoError(t, err)
	require.Len(t, blobs, 1)
	got, err := os.ReadFile(filepath.Join(os.Getenv("HF_HOME"), "hub", "models--test--model", "snapshots", h.Commit(dir), "model.gguf"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
}

// TestCacheOfOneThatDied: what a process was about to fetch is fetched by others when it is dead.
func TestCacheOfOneThatDied(t *testing.T) {
	want := random(1<<20, 12)
	h, _ := newHub(t, map[string][]byte{"model.gguf": want})
	blocked := make(chan struct{}, 100)
	h.Change(func() {
		h.Served = func(host string, _ http.ResponseWriter, r *http.Request) bool {
			if host == "hub" {
				return false
			}
			blocked <- struct{}{}
			<-r.Context().Done()
			return true
		}
	})
	ctx, die := context.WithCancel(t.Context())
	dying := opened(t, remote.New(ctx, remote.Options{Keep: true}), "hf://test/model/model.gguf")
	died := make(chan error)
	go func() {
		_, err := dying.ReadAt(make([]byte, 1<<20), 0)
		died <- err
	}()
	<-blocked
	h.Change(func() { h.Served = nil })
	f := opened(t, remote.New(t.Context(), remote.Options{Keep: true}), "hf://test/model/model.gguf")
	done := make(chan error)
	go func() {
		got, err := io.ReadAll(f)
		if err == nil && !bytes.Equal(want, got) {
			err = errors.New("other bytes")
		}
		done <- err
	}()
	select {
	case err := <-done:
		require.NoError(t, err)
		require.Fail(t, "the other one was still at it")
	case <-time.After(50 * time.Millisecond):
	}
	die()
	require.ErrorIs(t, <-died, context.Canceled)
	require.NoError(t, <-done)
}

func TestEmptyAndOdd(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.URL.Path == "/whole/m.gguf" { // a server that knows no ranges, and a file that fits in one
			w.Header().Set("Content-Length", strconv.Itoa(7))
			_, _ = io.WriteString(w, "content")
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(""))
	}))
	defer server.Close()
	c := remote.New(t.Context(), remote.Options{})
	got, err := read(t, c, server.URL+"/m.gguf")
	require.NoError(t, err)
	require.Empty(t, got)
	got, err = read(t, c, server.URL+"/whole/m.gguf")
	require.NoError(t, err)
	require.Equal(t, "content", string(got))
	require.Equal(t, 2, requests)
	folder, _, err := c.Open(server.URL + "/m.gguf")
	require.NoError(t, err)
	_, err = folder.List(".")
	require.ErrorIs(t, err, errors.ErrUnsupported)
}
