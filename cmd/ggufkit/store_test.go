package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/rogpeppe/go-internal/testscript"
)

// stores are the servers of scripts that speak S3's language, which the command store makes and asks:
//
//	store start BUCKET PREFIX DIR    it has a bucket with the files of a directory
//	store hold N                     of what is put there from now on only the first N arrive
//	store wait                       something has not arrived
//	store sent LEAST MOST            it has sent so many bytes since the last time
//	store release                    from now on everything arrives
var stores sync.Map // of *scriptStore, by work directory

type scriptStore struct {
	room atomic.Int64  // how much arrives
	held chan struct{} // has something once something has not arrived
	sent atomic.Int64  // since it was asked the last time
}

// sending counts what is sent.
type sending struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (s sending) Write(p []byte) (int, error) {
	s.sent.Add(int64(len(p)))
	return s.ResponseWriter.Write(p)
}

// allOf is more than arrives.
const allOf = 1 << 40

func store(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("store WHAT ...")
	}
	if args[0] == "start" {
		startStore(ts, args[1], args[2], ts.MkAbs(args[3]))
		return
	}
	value, ok := stores.Load(ts.Getenv("WORK"))
	if !ok {
		ts.Fatalf("there is no store yet")
	}
	s := value.(*scriptStore)
	number := func(arg string) int64 {
		n, err := strconv.ParseInt(arg, 10, 64)
		ts.Check(err)
		return n
	}
	switch args[0] {
	case "hold":
		s.room.Store(number(args[1]))
	case "sent":
		if sent := s.sent.Swap(0); sent < number(args[1]) || sent > number(args[2]) {
			ts.Fatalf("it has sent %d bytes, not %s to %s", sent, args[1], args[2])
		}
	case "wait":
		select {
		case <-s.held:
		case <-time.After(time.Minute):
			ts.Fatalf("everything has arrived")
		}
	case "release":
		s.room.Store(allOf)
	default:
		ts.Fatalf("store %s", args[0])
	}
}

func startStore(ts *testscript.TestScript, bucket, prefix, dir string) {
	backend := s3mem.New()
	s := &scriptStore{held: make(chan struct{}, 1)}
	s.room.Store(allOf)
	answers := gofakes3.New(backend).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && s.room.Add(-1) < 0 {
			select {
			case s.held <- struct{}{}:
			default:
			}
			panic(http.ErrAbortHandler)
		}
		answers.ServeHTTP(sending{w, &s.sent}, r)
	}))
	ts.Defer(server.Close)
	stores.Store(ts.Getenv("WORK"), s)
	ts.Check(backend.CreateBucket(bucket))
	entries, err := os.ReadDir(dir)
	ts.Check(err)
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		ts.Check(err)
		info, err := f.Stat()
		ts.Check(err)
		_, err = backend.PutObject(bucket, prefix+e.Name(), map[string]string{"Last-Modified": info.ModTime().UTC().Format(http.TimeFormat)}, f, info.Size(), nil)
		ts.Check(err)
		ts.Check(f.Close())
	}
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secretOfTheStore", "AWS_REGION": "us-east-1",
	} {
		ts.Setenv(name, value)
	}
}
