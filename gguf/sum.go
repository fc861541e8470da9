package gguf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"sync"

	"github.com/ggufkit/ggufkit/gguf/files"
)

// sum hashes a file while it is written, so that it need not be read again. Pieces come from many threads,
// nearly in order: those that come early are kept until those before them are there. If there are too many, the file is read
// in the end.
type sum struct {
	mu    sync.Mutex
	hash  hash.Hash
	at    int64 // so many bytes are hashed
	early map[int64][]byte
	held  int64 // bytes in early
	most  int64 // that may be held; early is nil when there were more
}

func newSum(most int64) *sum {
	return &sum{hash: sha256.New(), early: make(map[int64][]byte), most: most}
}

// add takes a piece of the file.
func (s *sum) add(data []byte, offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.early == nil || len(data) == 0:
		return
	case offset != s.at:
		if s.held += int64(len(data)); s.held > s.most {
			s.early = nil
			return
		}
		s.early[offset] = bytes.Clone(data)
		return
	}
	for ok := true; ok; data, ok = s.early[s.at] {
		if offset < s.at {
			delete(s.early, s.at)
			s.held -= int64(len(data))
		}
		s.hash.Write(data)
		s.at += int64(len(data))
	}
}

// of returns the SHA-256 of the file, which has so many bytes, in hexadecimal.
func (s *sum) of(ctx context.Context, file io.ReaderAt, size int64) (string, error) {
	if s.early == nil || s.at != size {
		return files.SHA256Of(ctx, io.NewSectionReader(file, 0, size))
	}
	return hex.EncodeToString(s.hash.Sum(nil)), nil
}
