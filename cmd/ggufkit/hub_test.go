package main

import (
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ggufkit/ggufkit/convert/remote/hubtest"
)

// hubs are the servers of scripts, which the command hub makes and asks:
//
//	hub start              the program's hub is a server of the script's own
//	hub add NAME DIR       it has a model, whose files are those of a directory
//	hub trouble PERCENT    so many answers fail
//	hub links USES         links to files are good for so many requests
//	hub sent LEAST MOST    it has sent so many bytes of files since the last time
//	hub block              large files are asked for and do not come
//	hub wait               one of these has been asked for
//	hub stop               nobody is there any more
var hubs sync.Map // of *scriptHub, by work directory

type scriptHub struct {
	*hubtest.Server
	sent    int64 // when it was asked the last time
	blocked chan struct{}
}

func hub(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("hub WHAT ...")
	}
	if args[0] == "start" {
		h := &scriptHub{Server: hubtest.New(), blocked: make(chan struct{}, 1)}
		h.Token = "hf_secretOfTheScript"
		hubs.Store(ts.Getenv("WORK"), h)
		ts.Defer(h.Close)
		ts.Setenv("HF_ENDPOINT", h.URL)
		ts.Setenv("HF_HOME", ts.MkAbs("hf-home"))
		return
	}
	value, ok := hubs.Load(ts.Getenv("WORK"))
	if !ok {
		ts.Fatalf("there is no hub yet")
	}
	h := value.(*scriptHub)
	number := func(arg string) int {
		n, err := strconv.Atoi(arg)
		ts.Check(err)
		return n
	}
	switch args[0] {
	case "add":
		dir, err := filepath.EvalSymlinks(ts.MkAbs(args[2]))
		ts.Check(err)
		h.Add(args[1], dir)
	case "trouble":
		percent := number(args[1])
		h.Change(func() { h.Trouble = percent })
	case "links":
		uses := number(args[1])
		h.Change(func() { h.LinkUses = uses })
	case "sent":
		sent := h.Sent() - h.sent
		h.sent += sent
		if least, most := int64(number(args[1])), int64(number(args[2])); sent < least || sent > most {
			ts.Fatalf("it has sent %d bytes, not %d to %d", sent, least, most)
		}
	case "block":
		block := func(host string, _ http.ResponseWriter, r *http.Request) bool {
			if host == "hub" {
				return false
			}
			select {
			case h.blocked <- struct{}{}:
			default:
			}
			<-r.Context().Done()
			return true
		}
		h.Change(func() { h.Served = block })
	case "wait":
		select {
		case <-h.blocked:
		case <-time.After(time.Minute):
			ts.Fatalf("nobody asks")
		}
	case "stop":
		h.Close()
	default:
		ts.Fatalf("hub %s", args[0])
	}
	if leaks := h.Leaks(); len(leaks) > 0 {
		ts.Fatalf("the other host was sent %q", leaks)
	}
}
