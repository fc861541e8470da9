package remote_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/remote"
)

func TestAddresses(t *testing.T) {
	for address, want := range map[string][3]string{
		"org/name":                          {"org/name", "main", ""},
		"gpt2":                              {"gpt2", "main", ""},
		"org/name/":                         {"org/name", "main", ""},
		"org/name/file.gguf":                {"org/name", "main", "file.gguf"},
		"org/name/a/b.gguf":                 {"org/name", "main", "a/b.gguf"},
		"org/name@v1.0":                     {"org/name", "v1.0", ""},
		"org/name@v1.0/a/b.gguf":            {"org/name", "v1.0", "a/b.gguf"},
		"org/name@refs/pr/7/b.gguf":         {"org/name", "refs/pr/7", "b.gguf"},
		"org/name@refs/pr/7":                {"org/name", "refs/pr/7", ""},
		"org/name@refs%2Fpr%2F7/b.gguf":     {"org/name", "refs/pr/7", "b.gguf"},
		"TheBloke/Beyonder-4x7B-v2-GGUF@ab": {"TheBloke/Beyonder-4x7B-v2-GGUF", "ab", ""},
	} {
		id, revision, file, err := remote.ParseHub(address)
		require.NoError(t, err, address)
		require.Equal(t, want, [3]string{id, revision, file}, address)
		got, ok := remote.HubID("hf://" + address)
		require.True(t, ok)
		require.Equal(t, id, got)
	}
	for _, address := range []string{
		"", "/", "/name", "../name", "org/..", "org/name/../../etc/passwd", "org/name//x", "org/name/./x", `org/name/a\b`, "org/name@", "org/name@../x",
		"org/name@a b", "org/name@%zz", "org/name/a\x00b", "o rg/name", "org/name?x", strings.Repeat("a", 97), "org/" + strings.Repeat("a", 200),
	} {
		_, _, _, err := remote.ParseHub(address)
		require.ErrorIs(t, err, remote.ErrAddress, address)
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"mlabonne/Beyonder-4x7B-v2", "a/b.c"} {
		require.True(t, remote.IsHubName(name), name)
	}
	for _, name := range []string{"models/model.gguf", "a/recipe.yaml", "a", "a/b/c", "./a", "../a", "a/..", "/a", "a/.b", "", "a/b c", "a/model.safetensors"} {
		require.False(t, remote.IsHubName(name), name)
	}
	for _, name := range []string{"hf://a/b", "HF://a/b", "https://h/f.gguf", "http://h/f.gguf", "s3://b/k"} {
		require.True(t, remote.IsAddress(name), name)
	}
	for _, name := range []string{"hf:/a/b", "a/b", "ftp://h/f", "", "hf"} {
		require.False(t, remote.IsAddress(name), name)
	}
}

// TestPlain: what may be secret in an address is not shown.
func TestPlain(t *testing.T) {
	for address, want := range map[string]string{
		"https://user:secret@host/a.gguf?X-Amz-Signature=secret#secret": "https://host/a.gguf",
		"https://secret@host/a.gguf":                                    "https://host/a.gguf",
		"https://us%zz:secret@host/%zz?secret":                          "https://host/%zz",
		"s3://bucket/key?secret":                                        "s3://bucket/key",
		"hf://org/name@v1/a.gguf":                                       "hf://org/name@v1/a.gguf",
		"models/what?.gguf":                                             "models/what?.gguf",
	} {
		require.Equal(t, want, remote.Plain(address))
	}
}

func TestName(t *testing.T) {
	for address, want := range map[string]string{
		"hf://org/name": "name", "hf://org/name@v1": "name", "hf://org/name@refs/pr/1": "name", "hf://org/name@refs/pr/1/below/sub": "sub", "hf://org/name/sub": "sub",
		"hf://gpt2": "gpt2", "s3://bucket/models/base": "base", "https://host/a/m.gguf?x/y": "m.gguf",
	} {
		require.Equal(t, want, remote.Name(address), address)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "x": 0, "120": 2 * time.Minute, " 7 ": 7 * time.Second, "0": time.Millisecond, "-5": time.Millisecond, "99999999999999999999": 0,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second, "Fri, 02 Jan 2026 03:04:00 GMT": time.Millisecond,
	} {
		require.Equal(t, want, remote.RetryAfter(value, now), value)
	}
}

func TestCheckPart(t *testing.T) {
	for _, tt := range []struct {
		status           int
		header           string
		length, from, to int64
		size             int64 // -1 for an error
	}{
		{206, "bytes 0-9/100", 10, 0, 10, 100},
		{206, "bytes 90-99/100", 10, 90, 200, 100},
		{206, "bytes 0-9/100", -1, 0, 10, 100},
		{200, "", 7, 0, 10, 7},
		{416, "bytes */0", 0, 0, 10, 0},
		{206, "bytes 0-9/100", 11, 0, 10, -1},
		{206, "bytes 0-9/*", 10, 0, 10, -1},
		{206, "bytes 1-10/100", 10, 0, 10, -1},
		{206, "bytes 0-8/100", 9, 0, 10, -1},
		{206, "bytes 0-9/9", 10, 0, 10, -1},
		{206, "bytes 0-9/99999999999999999999", 10, 0, 10, -1},
		{206, "bytes 9-0/100", 10, 9, 10, -1},
		{206, "", 10, 0, 10, -1},
		{200, "", 100, 0, 10, -1},
		{200, "", -1, 0, 10, -1},
		{200, "", 10, 5, 15, -1},
	} {
		size, err := remote.CheckPart(tt.status, tt.header, tt.length, tt.from, tt.to)
		if tt.size < 0 {
			require.Error(t, err, tt)
		} else {
			require.NoError(t, err, tt)
			require.Equal(t, tt.size, size, tt)
		}
	}
}

// FuzzAddress: whatever an address is, it is refused or names nothing outside of a model.
func FuzzAddress(f *testing.F) {
	for _, address := range []string{"org/name", "org/name@refs/pr/1/a.gguf", "a@b%2Fc/d", "gpt2", "../..", "o/n/%2e%2e/x", "o/n@/x"} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		remote.Plain("https://" + address)
		remote.Plain("hf://" + address)
		id, revision, file, err := remote.ParseHub(address)
		if err != nil {
			require.ErrorIs(t, err, remote.ErrAddress)
			return
		}
		for _, part := range []string{id, revision} {
			require.True(t, filepath.IsLocal(filepath.FromSlash(part)), part)
		}
		require.True(t, file == "" || remote.ValidName(file), file)
	})
}

// FuzzListing: whatever a hub says of a model, its files have names that stay in the folder, and
// sizes that there can be.
func FuzzListing(f *testing.F) {
	f.Add([]byte(`{"sha": "0123456789012345678901234567890123456789", "siblings": [{"rfilename": "a/b.json", "size": 3, "blobId": "x"}, {"rfilename": "m", "lfs": {"sha256": "y", "size": 9}}]}`))
	f.Add([]byte(`{"sha": "0123456789012345678901234567890123456789", "siblings": [{"rfilename": "../x"}]}`))
	f.Add([]byte(`{"sha": "main"}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		sizes, err := remote.ParseListing(data)
		if err != nil {
			return
		}
		for name, size := range sizes {
			require.True(t, filepath.IsLocal(filepath.FromSlash(name)) && size >= -1, name)
		}
	})
}

// FuzzAnswers: whatever a server says that a part is, it is the one that was asked for, or there is an error; and it is not waited
// for longer than it says.
func FuzzAnswers(f *testing.F) {
	f.Add(206, "bytes 10-19/100", int64(10), int64(10), int64(20), "120")
	f.Add(206, "bytes 10-19/*", int64(-1), int64(10), int64(20), "Wed, 21 Oct 2099 07:28:00 GMT")
	f.Add(200, "", int64(5), int64(0), int64(20), "-1")
	f.Add(416, "bytes */0", int64(0), int64(0), int64(20), "Mon, 01 Jan 0001 00:00:00 GMT")
	f.Add(206, "bytes 0-18446744073709551615/18446744073709551616", int64(0), int64(0), int64(20), "9223372036854775807")
	f.Fuzz(func(t *testing.T, status int, contentRange string, length, from, to int64, after string) {
		require.GreaterOrEqual(t, remote.RetryAfter(after, time.Unix(1e9, 0)), time.Duration(0))
		if from < 0 || to <= from || status < 200 || status > 599 {
			return
		}
		size, err := remote.CheckPart(status, contentRange, length, from, to)
		if err == nil && size > 0 {
			require.Greater(t, size, from)
		}
	})
}
