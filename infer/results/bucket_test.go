package results

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/ggufkit/ggufkit/convert/remote"
)

// store is a server that speaks S3's language, with a bucket, as a world.
type store struct {
	backend *s3mem.Backend

	mu    sync.Mutex
	cut   func(name string, data []byte) // what happens to what is put next, whose client is cut off
	asked map[string]int                 // requests, by methods
}

const kept = "a/kept/"

func newStore(t *testing.T) *store {
	s := &store{backend: s3mem.New(), asked: make(map[string]int)}
	require.NoError(t, s.backend.CreateBucket("bucket"))
	answers := gofakes3.New(s.backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked[r.Method]++
		cut := s.cut
		if r.Method == http.MethodPut {
			s.cut = nil
		}
		s.mu.Unlock()
		if cut != nil && r.Method == http.MethodPut {
			data, _ := io.ReadAll(r.Body)
			cut(strings.TrimPrefix(r.URL.Path, "/bucket/"+kept), data)
			panic(http.ErrAbortHandler)
		}
		answers.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
	} {
		t.Setenv(name, value)
	}
	return s
}

func (s *store) process(t *testing.T) (Storage, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	storage, err := Locate("s3://bucket/"+kept, func() *remote.Client { return remote.New(ctx, remote.Options{}) })
	require.NoError(t, err)
	return storage, cancel
}

func (s *store) killed(kill context.CancelFunc, left func([]byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = func(name string, data []byte) {
		if data = left(data); len(data) > 0 {
			_ = s.write(name, data)
		}
		kill()
	}
}

func (s *store) names(t *testing.T) (names []string) {
	list, err := s.backend.ListBucket("bucket", &gofakes3.Prefix{HasPrefix: true, Prefix: kept}, gofakes3.ListBucketPage{MaxKeys: 1 << 20})
	require.NoError(t, err)
	for _, o := range list.Contents {
		names = append(names, strings.TrimPrefix(o.Key, kept))
	}
	return names
}

func (s *store) get(t *testing.T, name string) []byte {
	o, err := s.backend.GetObject("bucket", kept+name, nil)
	require.NoError(t, err)
	data, err := io.ReadAll(o.Contents)
	require.NoError(t, err)
	return data
}

func (s *store) put(t *testing.T, name string, data []byte) { require.NoError(t, s.write(name, data)) }

func (s *store) write(name string, data []byte) error {
	_, err := s.backend.PutObject("bucket", kept+name, map[string]string{"Last-Modified": time.Now().UTC().Format(http.TimeFormat)}, bytes.NewReader(data), int64(len(data)), nil)
	return err
}

func (s *store) remove(t *testing.T, name string) {
	_, err := s.backend.DeleteObject("bucket", kept+name)
	require.NoError(t, err)
}

// An object is there or not, but the store may lose it, or bits of it.
func TestScaleOfStore(t *testing.T) { testScale(t, newStore(t), 1_000, 50) }

// There are few objects, however many units are kept one by one; and what is written meanwhile is read.
func TestSegments(t *testing.T) {
	s := newStore(t)
	storage, _ := s.process(t)
	p := &Place{Storage: storage}
	writer, err := p.Open(t.Context(), "test", 500)
	require.NoError(t, err)
	cost := Cost{[]time.Duration{time.Second}, 5}
	keep := func(units ...int) {
		for _, n := range units {
			require.NoError(t, writer.Keep(Record{n, dataOf(n), cost}))
		}
	}
	for n := range 63 {
		keep(n)
	}
	s.put(t, "something else", []byte("of others"))
	storage, _ = s.process(t)
	reader, err := (&Place{Storage: storage}).Open(t.Context(), "test", 500)
	require.NoError(t, err)
	require.Len(t, s.names(t), 64)
	keep(63) // so that they are merged
	require.Len(t, s.names(t), 2)
	for n := range 63 {
		data, _, err := reader.Get(n)
		require.NoError(t, err)
		require.Equal(t, dataOf(n), data)
	}
	for n := 64; n < 500; n++ {
		keep(n)
		require.Less(t, len(s.names(t)), 1+500/mergedSegments+mergedSegments)
	}
	require.NoError(t, writer.Close())
	require.Len(t, s.names(t), 1+500/mergedSegments+1)
	s.asked = make(map[string]int)
	storage, _ = s.process(t)
	complete(t, &Place{Storage: storage}, 500)
	require.Less(t, s.asked[http.MethodGet], 40, "each object is read once")
	require.Zero(t, s.asked[http.MethodPut])

	// What is merged and not removed does no harm, and what is large is not sent twice.
	big := Record{0, make([]byte, mergedBytes), cost}
	storage, _ = s.process(t)
	two := &Place{Storage: storage}
	writer, err = two.Open(t.Context(), "big", 3)
	require.NoError(t, err)
	keep(1)
	first := s.names(t)
	keep(2)
	require.NoError(t, writer.Keep(big))
	require.NoError(t, writer.Close())
	require.Len(t, slices.DeleteFunc(s.names(t), func(name string) bool { return !strings.HasPrefix(name, "big") }), 2)
	i := slices.IndexFunc(first, func(name string) bool { return strings.HasPrefix(name, "big") })
	s.put(t, first[i], []byte("what another segment has"))
	storage, _ = s.process(t)
	writer, err = (&Place{Storage: storage}).Open(t.Context(), "big", 3)
	require.NoError(t, err)
	require.NoError(t, writer.Finish())
	data, _, err := writer.Get(0)
	require.NoError(t, err)
	require.Equal(t, big.Data, data)
}

// What is damaged, lost or of another size is noticed, and nothing else is lost by it.
func TestDamagedSegments(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, s *store, object string){
		"lost":    func(t *testing.T, s *store, object string) { s.remove(t, object) },
		"cut off": func(t *testing.T, s *store, object string) { s.put(t, object, s.get(t, object)[:20]) },
		"longer": func(t *testing.T, s *store, object string) {
			s.put(t, object, append([]byte("x"), s.get(t, object)...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			storage, _ := s.process(t)
			writer, err := (&Place{Storage: storage}).Open(t.Context(), "test", 10)
			require.NoError(t, err)
			for n := range 10 {
				require.NoError(t, writer.Keep(Record{n, dataOf(n), Cost{[]time.Duration{time.Second}, 5}}))
			}
			names := s.names(t)
			slices.SortFunc(names, func(a, b string) int { // in the order of their bytes
				_, x, _ := parseSegment(a)
				_, y, _ := parseSegment(b)
				return int(x.from - y.from)
			})
			damage(t, s, names[4])
			var notes []string
			storage, _ = s.process(t)
			p := &Place{Storage: storage, Note: func(note string) { notes = append(notes, note) }}
			require.Equal(t, 1, do(t, p, 10))
			require.Contains(t, strings.Join(notes, "\n"), "bytes are of no whole record")
			complete(t, p, 10)
		})
	}
}

// A store that is slow to answer is asked again; one without the bucket is not.
func TestTroubleOfStore(t *testing.T) {
	s := newStore(t)
	storage, _ := s.process(t)
	writer, err := (&Place{Storage: storage}).Open(t.Context(), "test", 1)
	require.NoError(t, err)
	s.cut = func(string, []byte) {}
	require.NoError(t, writer.Keep(Record{0, dataOf(0), Cost{}}))
	require.Equal(t, 2, s.asked[http.MethodPut])
	for _, address := range []string{"s3://nobucket/kept", "s3://"} {
		_, err := Locate(address, func() *remote.Client { return remote.New(t.Context(), remote.Options{}) })
		require.Error(t, err)
		require.ErrorContains(t, err, address)
	}
}
