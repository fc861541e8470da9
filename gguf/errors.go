package gguf

import "errors"

// Errors that callers can test for. What is returned wraps one of them and
// says which file, field or tensor, and where.
var (
	// ErrNotGGUF means that the file does not start like a GGUF file.
	ErrNotGGUF = errors.New("not a GGUF file")
	// ErrCorrupt means that the file contradicts itself or ends early.
	ErrCorrupt = errors.New("corrupt file")
	// ErrUnsupported means that the file is of a version or uses a type that
	// this package does not know.
	ErrUnsupported = errors.New("unsupported")
	// ErrNoKey means that the metadata lacks a key that was asked for.
	ErrNoKey = errors.New("no such metadata key")
	// ErrInterrupted means that the metadata of a file are being changed in place, or that
	// the run that did it was killed: see Patch.
	ErrInterrupted = errors.New("a change of its metadata was interrupted")
)
